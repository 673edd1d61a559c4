"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["MARKER", "mark_written", "write_whole", "written_here"]

MARKER = ".vlmad-output"
"""A file that names, one a line, what vlmad wrote into its folder."""


def write_whole(path: Path, data: bytes, *, sync: bool = False) -> None:
    """Write beside and rename, so that a reader, or a restart, never meets half a file.

    Args:
        path: Replaced if it is there.
        data: All of it.
        sync: Wait until the disk has it, so that it survives a power cut too.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")  # several processes may write the same file at once
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


def mark_written(folder: Path, *names: str) -> None:
    """Note which files and folders inside ``folder`` vlmad writes: no search takes them for images of the user."""
    known = written_here(folder)
    if not known.issuperset(names):
        write_whole(folder / MARKER, "".join(f"{name}\n" for name in sorted({*known, *names})).encode())


def written_here(folder: Path) -> frozenset[str]:
    """What vlmad wrote directly into a folder, by the names that :func:`mark_written` noted."""
    path = folder / MARKER
    try:
        if not path.is_file():  # a pipe would wait for ever
            return frozenset()
        return frozenset(path.read_text(encoding="utf-8", errors="replace").splitlines())
    except OSError:
        return frozenset()
