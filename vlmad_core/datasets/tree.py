"""Looking through folders: what every reader needs, sorted, without hidden files. Free of torch and PIL."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

__all__ = ["SUFFIXES", "aside", "folders_in", "images_in", "masks_by_stem", "named"]

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".jp2", ".png", ".pgm", ".ppm", ".tif", ".tiff", ".webp"})
"""The endings of :mod:`vlmad_core.contracts.images`, which needs torch; a test holds the two equal."""


def folders_in(folder: Path) -> list[Path]:
    """Folders directly in it; none where there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.is_dir())


def images_in(folder: Path, *, deep: bool = False) -> list[Path]:
    """Image files in it, or in what is below it too; none where there is no such folder."""
    if not folder.is_dir():
        return []
    found = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    images = [path for path in found if path.suffix.lower() in SUFFIXES and path.is_file()]
    return images + ([p for below in folders_in(folder) for p in images_in(below, deep=True)] if deep else [])


def masks_by_stem(folder: Path, ending: str = "_mask") -> dict[str, tuple[Path, ...]]:
    """Masks of one folder by the stem of their image: ``000_mask.png``, ``000.png``, or a folder ``000`` of several."""
    found: dict[str, tuple[Path, ...]] = {p.stem.removesuffix(ending): (p,) for p in images_in(folder)}
    return found | {below.name: tuple(images_in(below)) for below in folders_in(folder)}


def named(folder: Path, names: Iterable[str]) -> list[Path]:
    """Folders directly in it that have one of these names, in any case, in the order of the names."""
    inside = folders_in(folder)
    return [path for name in names for path in inside if path.name.lower() == name.lower()]


def aside(key: str, share: float) -> bool:
    """Whether something is put aside, such as for training: a fixed share, by the hash of its name.

    >>> [aside(f"{i}.png", 0.5) for i in range(6)]
    [True, False, True, False, False, False]
    """
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) < share * 2**64
