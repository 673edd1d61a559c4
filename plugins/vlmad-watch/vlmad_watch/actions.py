"""What is done with a file after its verdict: move it to a folder of that verdict, or put a note beside it."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import Path

from vlmad_core.files import write_whole
from vlmad_watch.arrival import stamp_of
from vlmad_watch.journal import FileRow

__all__ = ["NOTE", "Action", "Move", "keep", "mark"]

NOTE = ".vlmad.json"
"""What `mark` adds to the name of an image."""

Action = Callable[[FileRow], "Path | None"]
"""Deals with a file that was written down, and gives its place afterwards; it may be called again after a crash."""


def keep(row: FileRow) -> Path | None:
    """Leave the file as it is."""
    return row.path


def mark(row: FileRow) -> Path | None:
    """Write the verdict beside the file, as ``NAME.vlmad.json``."""
    if stamp_of(row.path) == (row.size, row.mtime_ns):
        note = {"verdict": row.scored.verdict, "score": row.scored.score, "sha256": row.scored.sha256}
        text = json.dumps({**note, **row.scored.result}, indent=1) + "\n"
        write_whole(row.path.with_name(row.path.name + NOTE), text.encode())
    return row.path


@dataclass(frozen=True)
class Move:
    """Move the file to ``folder/VERDICT/NAME``; a file of that name with other content is never replaced.

    Args:
        folder: Made if needed.
    """

    folder: Path

    def __call__(self, row: FileRow) -> Path | None:
        """Move it. None: it is gone. A file that has changed since stays where it is, for its new verdict."""
        stamp = stamp_of(row.path)
        if stamp is None:
            return next((place for place in self._taken(row) if _holds(place, row.scored.sha256)), None)
        if stamp != (row.size, row.mtime_ns):
            return row.path
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.folder.stat().st_dev != row.path.stat().st_dev:
            for place in self._taken(row):
                if _holds(place, row.scored.sha256):  # copied to the other disk before a crash, and not removed here
                    row.path.unlink()
                    return place
        target = next(place for place in self._names(row) if not place.exists())
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            row.path.rename(target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            _move_across(row.path, target)
        return target

    def _names(self, row: FileRow) -> Iterator[Path]:
        """Where the file may go, the first choice first: names are not unique in all subfolders and for all time."""
        place = self.folder / row.scored.verdict.replace(" ", "-") / row.path.name
        yield place
        for number in count(1):
            more = "" if number == 1 else f"-{number}"
            yield place.with_name(f"{place.stem}-{row.scored.sha256[:12]}{more}{place.suffix}")

    def _taken(self, row: FileRow) -> Iterator[Path]:
        return takewhile(Path.exists, self._names(row))


def _holds(path: Path, sha256: str) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256


def _move_across(source: Path, target: Path) -> None:
    """To another disk: copy beside the target, have it on the disk, rename, remove."""
    part = target.with_name(f".{target.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        shutil.copy2(source, part)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    source.unlink()
