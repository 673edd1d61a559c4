"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["write_whole"]


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
