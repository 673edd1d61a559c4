"""Names that are safe, disks that are full, and one process a folder."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from vlmad_core.files import FULL, lock

__all__ = ["FULL", "file_name", "lock"]


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
