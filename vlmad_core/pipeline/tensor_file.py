"""Files of tensors that are named by their content, and what is left of them after a process was killed. Torch-free."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

__all__ = ["hashed_name", "remove_orphans"]

_DIGITS = 12


def hashed_name(prefix: str, data: bytes) -> tuple[str, str]:
    """Name of a file of tensors, ``PREFIX-<12 digits>.safetensors``, and the SHA-256 whose first digits it has."""
    digest = hashlib.sha256(data).hexdigest()
    return f"{prefix}-{digest[:_DIGITS]}.safetensors", digest


def remove_orphans(folder: Path, prefix: str, keep: Collection[str]) -> None:
    """Remove tensors that no record names, and parts of them: what a killed process left behind.

    Only files that vlmad wrote: their name is made of the hash of their content, see :func:`hashed_name`.

    Args:
        folder: In which no other process writes meanwhile.
        prefix: Of the names.
        keep: Names of files that are in use.
    """
    own = re.compile(rf"{re.escape(prefix)}-([0-9a-f]{{{_DIGITS}}})\.safetensors((?:\.\d+){{1,2}}\.part)?")
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = own.fullmatch(entry.name)
            if found is None or entry.name in keep or not entry.is_file(follow_symlinks=False):
                continue
            with suppress(OSError):
                path = folder / entry.name
                with path.open("rb") as file:
                    is_own = bool(found[2]) or hashlib.file_digest(file, "sha256").hexdigest().startswith(found[1])
                if is_own:
                    path.unlink()
