# Copied from vlmad_core/files.py by plugins/vlmad-edge/build/shared.py; edit that file.
"""Files that survive whatever interrupts: written whole, JSON lines, folders for one process with a record. Torch-free.

Everything that vlmad leaves on a disk goes through here: results, rows of a benchmark, states of a training, records of
what a folder was made with.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Generic, Self, TypeVar

from vlmad_edge.shared.errors import ConfigError

__all__ = [
    "FULL",
    "MARKER",
    "JsonLines",
    "LockedFolder",
    "differences",
    "folder_lock",
    "lock",
    "mark_written",
    "read_json_lines",
    "read_record",
    "refuse_special",
    "write_record",
    "write_whole",
    "written_here",
]

T = TypeVar("T")

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Error numbers of the system when there is no room for what is written."""
MARKER = ".vlmad-output"
"""A file that names, one a line, what vlmad wrote into its folder."""


def write_whole(path: Path, data: bytes, *, sync: bool = False) -> None:
    """Write beside and rename, so that a reader, or a restart, never meets half a file.

    Args:
        path: Replaced if it is there.
        data: All of it.
        sync: Wait until the disk has it, so that it survives a power cut too.
    """
    # Several processes and threads may write the same file at once, and each needs a part of its own.
    part = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def refuse_special(path: Path) -> Path:
    """The path, unless a pipe, a socket or a device stands there: reading one may never end.

    Raises:
        ConfigError: One does.
    """
    with suppress(OSError):
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise ConfigError(f"{path}: is not a regular file, so it is neither read nor written to.")
    return path


def lock(file: Any, folder: Path) -> None:
    """Keep other processes away from a folder until ``file`` is closed, where the system can do that.

    Raises:
        ConfigError: Another process is at work there.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ConfigError(f"{folder}: another run is writing here; wait for it, or use another --out.") from error
    except OSError:  # a file system without locks, such as some network shares
        return


@contextmanager
def folder_lock(folder: Path) -> Iterator[bool]:
    """Let one process at a time write in a folder, where the system has locks; the others wait.

    Gives whether there is a lock: where there is none, another process may be writing all the same.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield False
        return
    descriptor, locked = os.open(folder, os.O_RDONLY), False
    try:
        with suppress(OSError):  # a file system without locks, such as some network shares
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            locked = True
        yield locked
    finally:
        os.close(descriptor)


class LockedFolder:
    """A folder that one process writes to at a time.

    Args:
        path: Made if needed.

    Raises:
        ConfigError: It is a file, cannot be written to, or another process is writing there.
    """

    def __init__(self, path: Path) -> None:
        if path.exists() and not path.is_dir():
            raise ConfigError(f"{path}: is a file; --out must name a folder.")
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._file = (path / ".lock").open("w")
        except OSError as error:
            if error.errno in FULL:
                raise
            raise ConfigError(f"{path}: cannot be written to ({error.strerror}); choose another --out.") from error
        try:
            lock(self._file, path)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let other processes write."""
        self._file.close()


# -- a record of the settings that a folder was made with


def read_record(path: Path, *, format: int | None = None, advice: str = "use another --out.") -> dict[str, Any] | None:
    """A JSON record that :func:`write_record` wrote, or None where there is none.

    Args:
        path: The file.
        format: The number that its field ``format`` must have; None: none is asked for.
        advice: What to do where it cannot be read; the end of the error.

    Raises:
        ConfigError: It cannot be read, or is not such a record.
    """
    try:
        record = json.loads(refuse_special(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as JSON ({error}); {advice}") from error
    fits = isinstance(record, dict) and isinstance(record.get("settings"), dict)
    if not fits or (format is not None and record.get("format") != format):
        raise ConfigError(f"{path}: is not a record of this vlmad; {advice}")
    return dict(record)


def write_record(path: Path, record: Mapping[str, Any], *, sync: bool = False) -> None:
    """A record as JSON, in one step; its field ``settings`` is what :func:`differences` compares later."""
    write_whole(path, (json.dumps(record, indent=2) + "\n").encode(), sync=sync)


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """What differs between two nested settings, in words; empty where nothing does.

    >>> differences({"seed": 1}, {"seed": 2})
    'seed was 1 and is now 2'
    """
    then, now = dict(_flat(before)), dict(_flat(after))
    changed = [key for key in {**then, **now} if then.get(key) != now.get(key)]
    text = "; ".join(f"{key} was {_short(then.get(key))} and is now {_short(now.get(key))}" for key in changed[:4])
    return f"{text}; and {len(changed) - 4} more" if len(changed) > 4 else text


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for number, inner in enumerate(value):
            yield from _flat(inner, f"{path}.{number}")
    else:
        yield path, value


def _short(value: Any) -> str:
    text = json.dumps(value)
    return "not there" if value is None else text if len(text) <= 60 else text[:57] + "..."


# -- one JSON object a line


def read_json_lines(path: Path, parse: Callable[[bytes], T | None], what: str) -> Iterator[T]:
    """The items of a file, one a line; a last line that was cut short is passed over.

    Args:
        path: The file.
        parse: From a line to its item; None where it holds none.
        what: What a line holds, for the error, such as ``"a row"``.

    Raises:
        ConfigError: A whole line is no item.
        FileNotFoundError: There is no such file.
    """
    with refuse_special(path).open("rb") as file:
        for item, _ in _parsed(file, path, parse, what):
            yield item


class JsonLines(Generic[T]):
    """A file with one JSON object a line, open for adding; keep other processes away with :func:`lock`.

    Args:
        path: Made if needed; a last line that was cut short is removed.
        parse: From a line to its item; None where it holds none.
        dump: From an item to its line, without the line end.
        what: What a line holds, for the error, such as ``"a row"``.

    Attributes:
        items: Those that were in the file when it was opened.
        file: The open file, for :func:`lock`.

    Raises:
        ConfigError: A whole line is no item.
    """

    def __init__(self, path: Path, parse: Callable[[bytes], T | None], dump: Callable[[T], str], what: str) -> None:
        self.path, self._dump = path, dump
        self.items: list[T] = []
        self.file = refuse_special(path).open("ab", buffering=0)  # unbuffered, so that a line is one write
        try:
            end = 0
            with path.open("rb") as file:
                for item, line_end in _parsed(file, path, parse, what):
                    self.items.append(item)
                    end = line_end
            self.file.truncate(end)
        except BaseException:
            self.file.close()
            raise

    def append(self, item: T, *, sync: bool = True) -> None:
        """Add a line; all of it is in the file when this returns, or nothing of it.

        Args:
            item: Its content.
            sync: Wait until the disk has it.
        """
        line, end = self._line(item), self.file.seek(0, os.SEEK_END)
        try:
            if self.file.write(line) != len(line):
                raise OSError(errno.ENOSPC, "only a part of a line could be written")
            if sync:
                os.fsync(self.file.fileno())
        except OSError:
            self.file.truncate(end)
            raise

    def replace(self, items: Iterable[T]) -> None:
        """Put these in place of all lines, in one step."""
        self.file.close()
        write_whole(self.path, b"".join(map(self._line, items)), sync=True)
        self.file = self.path.open("ab", buffering=0)

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def _line(self, item: T) -> bytes:
        return self._dump(item).encode() + b"\n"


def _parsed(file: IO[bytes], path: Path, parse: Callable[[bytes], T | None], what: str) -> Iterator[tuple[T, int]]:
    """Items, each with the place where its line ends."""
    end = 0
    for number, line in enumerate(file, 1):
        if not line.endswith(b"\n"):
            return
        item = parse(line)
        if item is None:
            raise ConfigError(f"{path}: line {number} is not {what}; correct or remove the file, or use another --out.")
        end += len(line)
        yield item, end


def mark_written(folder: Path, *names: str) -> None:
    """Note which files and folders inside ``folder`` vlmad writes: no search takes them for images of the user."""
    known = written_here(folder)
    if not known.issuperset(names):
        write_whole(
            folder / MARKER, "".join(f"{name}\n" for name in sorted({*known, *names})).encode(errors="surrogateescape")
        )


def written_here(folder: Path) -> frozenset[str]:
    """What vlmad wrote directly into a folder, by the names that :func:`mark_written` noted."""
    path = folder / MARKER
    try:
        if not path.is_file():  # a pipe would wait for ever
            return frozenset()
        return frozenset(path.read_text(encoding="utf-8", errors="surrogateescape").splitlines())
    except OSError:
        return frozenset()
