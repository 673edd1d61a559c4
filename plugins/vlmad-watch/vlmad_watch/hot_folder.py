"""A hot folder: each content is scored once, whatever stops the program; see ``journal`` for the order of the steps."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vlmad_core.errors import ConfigError
from vlmad_core.files import LockedFolder
from vlmad_watch.actions import Action, keep
from vlmad_watch.arrival import Arrivals, Stamp, is_open_for_writing, scan, stamp_of
from vlmad_watch.journal import Entry, FileRow, Journal, Scored

__all__ = ["FolderOptions", "Score", "watch_folder"]

Score = Callable[[Sequence[Path]], Sequence[Scored]]
"""Scores files and says which content it read; a file that cannot be decoded has the verdict ``error``."""


@dataclass(frozen=True)
class FolderOptions:
    """How a folder is watched.

    Attributes:
        settle: Seconds without a change after which a file counts as whole, if nobody has it open for writing. Where
            the system cannot tell that, as on network shares, longer than the longest pause of a writer.
        give_up: Seconds without a change after which a file that cannot be decoded is an ``error``; until then it may
            be half written.
        poll: Seconds between two looks at the folder.
        batch_size: Files scored at a time.
        idle: Stop after so many seconds in which nothing arrived and nothing waits; None: never.
    """

    settle: float = 1.0
    give_up: float = 30.0
    poll: float = 0.25
    batch_size: int = 8
    idle: float | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigError: A number is out of range.
        """
        if self.settle < 0 or self.poll <= 0 or self.batch_size < 1 or self.give_up < self.settle:
            raise ConfigError(
                f"settle ({self.settle}) must be at least 0, poll ({self.poll}) and batch_size ({self.batch_size}) "
                f"above 0, and give_up ({self.give_up}) at least settle."
            )


def watch_folder(
    folder: Path,
    state: Path,
    score: Score,
    *,
    suffixes: frozenset[str],
    action: Action = keep,
    left_out: Sequence[Path] = (),
    options: FolderOptions | None = None,
    about: str = "",
    tell: Callable[[FileRow], None] | None = None,
    is_stopped: Callable[[], bool] = lambda: False,
) -> dict[str, int]:
    """Score files as they arrive until stopped.

    Args:
        folder: Searched to the bottom at each look.
        state: Folder of the journal; one process at a time.
        score: The detector.
        suffixes: Lower-case endings of images, with their dot.
        action: What is done with each file after its verdict is safe.
        left_out: Folders below ``folder`` that are not searched.
        options: Times and sizes.
        about: What decides the verdicts; a journal of another detector is refused.
        tell: Called with each file once it is dealt with.
        is_stopped: Asked between batches.

    Returns:
        Contents by verdict, of all time.

    Raises:
        ConfigError: The folder is not there, another process watches it, or the journal is another detector's.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: is not a folder that can be watched.")
    options = options or FolderOptions()
    with LockedFolder(state), Journal(state / "journal.sqlite", about) as journal:
        work = _Work(journal, score, action, options, tell)
        for row in journal.unfinished():
            work.deal_with(row)
        arrivals, last = Arrivals(options.settle), time.monotonic()
        while not is_stopped():
            now = time.monotonic()
            there = scan(folder, suffixes, [state, *left_out])
            whole = arrivals.update(work.waiting(there), now)
            for start in range(0, len(whole), options.batch_size):
                if is_stopped():
                    break
                work.batch({path: there[path] for path in whole[start : start + options.batch_size]}, arrivals, now)
            if whole or arrivals.n_waiting:
                last = time.monotonic()
            elif options.idle is not None and time.monotonic() - last >= options.idle:
                break
            if not whole:
                time.sleep(options.poll)
        return journal.counts()


class _Work:
    """One batch at a time: hash, score what is new, write down, act, note that it is done."""

    def __init__(
        self,
        journal: Journal,
        score: Score,
        action: Action,
        options: FolderOptions,
        tell: Callable[[FileRow], None] | None,
    ) -> None:
        self._journal, self._score, self._action, self._options, self._tell = journal, score, action, options, tell
        self._known: dict[Path, Stamp] = {}

    def waiting(self, there: Mapping[Path, Stamp]) -> dict[Path, Stamp]:
        """Files that are not written down yet; what is gone is forgotten."""
        self._known = {path: stamp for path, stamp in self._known.items() if there.get(path) == stamp}
        found = {}
        for path, stamp in there.items():
            if self._known.get(path) == stamp:
                continue
            if self._journal.is_known(path, *stamp):
                self._known[path] = stamp
            else:
                found[path] = stamp
        return found

    def batch(self, files: Mapping[Path, Stamp], arrivals: Arrivals, now: float) -> None:
        """Score files that are whole; those that change meanwhile, or cannot be decoded yet, stay for a later look."""
        closed = [path for path in files if not is_open_for_writing(path)]
        hashes = {path: digest for path in closed if (digest := _hash_of(path)) is not None}
        verdicts = {digest: scored for digest in set(hashes.values()) if (scored := self._journal.scored(digest))}
        new = {digest: path for path, digest in reversed(hashes.items()) if digest not in verdicts}
        for path, scored in zip(new.values(), self._score(list(new.values())) if new else [], strict=True):
            may_grow = scored.verdict == "error" and arrivals.quiet_for(path, now) < self._options.give_up
            if not may_grow:
                verdicts[scored.sha256 or hashes[path]] = scored
        entries = [
            Entry(path, *files[path], verdicts[digest])
            for path, digest in hashes.items()
            if digest in verdicts and stamp_of(path) == files[path]
        ]
        for row in self._journal.add(entries) if entries else []:
            self.deal_with(row)

    def deal_with(self, row: FileRow) -> None:
        """Act on a file that is written down."""
        self._journal.finish(row.number, self._action(row))
        if self._tell is not None:
            self._tell(row)


def _hash_of(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:  # gone, or not readable yet
        return None
