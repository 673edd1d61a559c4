"""Names that are safe, disks that are full, and one process a folder."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

from vlmad_core.errors import ConfigError
from vlmad_core.files import FULL, lock, written_here

__all__ = ["FULL", "file_name", "lock", "refuse_foreign"]


def file_name(path: str) -> str:
    """A name without suffix for what belongs to an image: folder and file as far as they are safe, and a hash.

    The hash makes it unique whatever other images there are, so a name stays the same when a run is continued.

    >>> file_name("cells/good/007.png")
    'good-007-c695dc449b'
    """
    source = Path(path)
    words = re.sub(r"[^\w.-]+", "_", "-".join(part for part in (source.parent.name, source.stem) if part))
    digest = hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()[:10]
    return f"{words[-48:].lstrip('.-') or 'image'}-{digest}"


def refuse_foreign(folder: Path, names: Iterable[str]) -> None:
    """Refuse a folder that holds files of somebody else under the names that vlmad writes.

    Raises:
        ConfigError: One of ``names`` is there, and neither vlmad's marker nor its contents say that vlmad wrote it.
    """
    known = written_here(folder)
    if _looks_own(folder / "run.json") and (folder / "run.json").is_file():
        return  # a folder of a run whose marker was lost
    for name in names:
        path = folder / name
        if name not in known and os.path.lexists(path) and not _looks_own(path):
            raise ConfigError(f"{path}: is there and was not written by vlmad; use another --out, or move it away.")


def _looks_own(path: Path) -> bool:
    """By the contents, for a folder whose marker was lost; an empty file or folder is nobody's."""
    starts = {"results.jsonl": b'{"path": ', "results.csv": b"path,score,", "run.json": b'{\n  "format": '}
    try:
        if path.is_dir():
            return not any(path.iterdir())
        head = path.read_bytes()[:4096] if path.is_file() else b"?"
    except OSError:
        return False
    return not head.strip() or (path.name in starts and head.startswith(starts[path.name]))
