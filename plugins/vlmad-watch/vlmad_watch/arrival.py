"""When is a file whole? When nobody has it open for writing and its size and time have not changed for a while.

A decoder has the last word, but not the only one: some formats can be decoded without their last bytes.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

__all__ = ["Arrivals", "Stamp", "is_open_for_writing", "scan", "stamp_of"]

_F_SETSIG = 10  # of Linux; the module fcntl does not name it

Stamp = tuple[int, int]
"""Size in bytes and time of the last change in nanoseconds."""


def stamp_of(path: Path) -> Stamp | None:
    """Of a regular file; None where there is none any more."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def is_open_for_writing(path: Path) -> bool:
    """Whether a process on this machine is writing the file; False where the system cannot tell.

    Linux grants a read lease only on a file that nobody has open for writing. It is given back at once. Files of other
    users, network shares and other systems cannot be asked: there only the time without a change counts.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return False
    if not hasattr(fcntl, "F_SETLEASE"):
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        # A writer that comes in this moment is announced by a signal, which must not be the one that ends a process.
        fcntl.fcntl(descriptor, _F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    finally:
        os.close(descriptor)
    return False


def scan(folder: Path, suffixes: frozenset[str], left_out: Sequence[Path] = ()) -> dict[Path, Stamp]:
    """Image files below a folder with their stamps; hidden ones, and temporary names of writers, are passed over.

    Args:
        folder: Searched to the bottom; links to folders are not followed, since they may lead anywhere.
        suffixes: Lower-case endings with their dot.
        left_out: Folders that are not searched, such as those that files are moved to.
    """
    barred = {os.path.realpath(path) for path in left_out}
    found: dict[Path, Stamp] = {}
    for path in _walk(folder, barred):
        if path.suffix.lower() in suffixes and (stamp := stamp_of(path)) is not None:
            found[path] = stamp
    return found


def _walk(folder: Path, barred: set[str]) -> Iterator[Path]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except FileNotFoundError:  # a folder that was removed meanwhile
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            if os.path.realpath(entry.path) not in barred:
                yield from _walk(Path(entry.path), barred)
        elif entry.is_file():
            yield Path(entry.path)


class Arrivals:
    """Keeps for each file since when it has not changed.

    Args:
        settle: Seconds without a change after which a file counts as whole.
    """

    def __init__(self, settle: float) -> None:
        self._settle = settle
        self._since: dict[Path, tuple[Stamp, float]] = {}

    def update(self, files: Mapping[Path, Stamp], now: float) -> list[Path]:
        """Take in a scan.

        Args:
            files: What is there, without files that are dealt with.
            now: Seconds of a clock that never goes back.

        Returns:
            The files that are whole, the one that has waited longest first. Empty files never are.
        """
        self._since = {
            path: before if (before := self._since.get(path)) is not None and before[0] == stamp else (stamp, now)
            for path, stamp in files.items()
        }
        whole = [
            (since, path) for path, (stamp, since) in self._since.items() if now - since >= self._settle and stamp[0]
        ]
        return [path for _, path in sorted(whole)]

    def quiet_for(self, path: Path, now: float) -> float:
        """Seconds for which a file has not changed."""
        found = self._since.get(path)
        return 0.0 if found is None else now - found[1]

    @property
    def n_waiting(self) -> int:
        """Files that are there and not dealt with."""
        return len(self._since)
