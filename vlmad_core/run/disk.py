"""Names that are safe, disks that are full, and one process a folder."""

from __future__ import annotations

import errno
import hashlib
import re
from pathlib import Path
from typing import Any

from vlmad_core.errors import ConfigError

__all__ = ["FULL", "file_name", "lock"]

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What a system says when there is no room for what is written."""


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
