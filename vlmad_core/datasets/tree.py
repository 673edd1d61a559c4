"""Search of folders: what every reader needs, sorted, without hidden files. Free of torch and PIL."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from vlmad_core.contracts.find import SUFFIXES, search_folder

__all__ = [
    "LOSSY",
    "MASK_ENDINGS",
    "MASK_FOLDERS",
    "SUFFIXES",
    "aside",
    "child",
    "folders_in",
    "images_in",
    "masks_by_stem",
    "named",
    "pair_masks",
    "without_masks",
]

MASK_FOLDERS = ("ground_truth", "groundtruth", "gt", "masks", "mask")
"""What folders of masks are called, in any case."""

LOSSY = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".webp", ".avif"})
"""Endings of files that may be stored with losses: a mask has grey values beside its edges then."""

MASK_ENDINGS = ("_mask", "-mask", "_gt", "_label", "_seg")
"""What stands behind the stem of an image in the name of its mask."""


def folders_in(folder: Path) -> list[Path]:
    """Folders directly in it; none where there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.is_dir())


def images_in(folder: Path, *, deep: bool = False) -> list[Path]:
    """Image files in it, or in what is below it too, each once; none where there is no such folder."""
    if not folder.is_dir():
        return []
    if deep:
        here, below = images_in(folder), search_folder(folder).images
        return here + [path for path in below if path.parent != folder]
    found = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    return [path for path in found if path.suffix.lower() in SUFFIXES and path.is_file()]


def masks_by_stem(folder: Path, ending: str = "_mask") -> dict[str, tuple[Path, ...]]:
    """Masks of one folder by the stem of their image: ``000_mask.png``, ``000.png``, or a folder ``000`` of several."""
    found: dict[str, tuple[Path, ...]] = {p.stem.removesuffix(ending): (p,) for p in images_in(folder)}
    return found | {below.name: tuple(images_in(below)) for below in folders_in(folder)}


def pair_masks(
    images: Sequence[Path], folders: Iterable[Path], endings: Sequence[str] = MASK_ENDINGS
) -> tuple[dict[Path, tuple[Path, ...]], list[str]]:
    """Which masks belong to which images: by the stem of the image, alone or with an ending, or a folder of that name.

    Where several images, or several masks, have one stem, a mask goes to the image with its own suffix alone, so that
    ``0.jpg`` never gets the mask of ``0.png``. Letters count in their case first, and in any case where that is clear.

    Args:
        images: Of one folder.
        folders: Where masks are looked for; the first folder that has any for an image is taken.
        endings: Of the stems of masks.

    Returns:
        Masks by image, and a sentence for each image whose mask is not clear.
    """
    pairs: dict[Path, tuple[Path, ...]] = {}
    problems: list[str] = []
    for folder in folders:
        files: dict[str, list[Path]] = {}
        for path in images_in(folder):
            files.setdefault(_stem(path, endings), []).append(path)
        below = {path.name: path for path in folders_in(folder)}
        for image in images:
            if image in pairs:
                continue
            if image.stem in below and (inside := images_in(below[image.stem])):
                pairs[image] = tuple(inside)
                continue
            masks = files.get(image.stem) or _in_any_case(files, image.stem)
            if not masks:
                continue
            rivals = [other for other in images if other.stem.lower() == image.stem.lower()]
            if len(rivals) > 1 or len(masks) > 1:
                own = [mask for mask in masks if mask.suffix.lower() == image.suffix.lower()]
                if len(own) != 1:
                    names = ", ".join(path.name for path in masks)
                    problems.append(
                        f"{image}: shares its stem, so it is not clear whether {names} is its mask; it has none. "
                        "Rename it."
                    )
                    continue
                masks = own
            pairs[image] = tuple(masks)
    return pairs, problems


def _stem(path: Path, endings: Sequence[str]) -> str:
    ending = next((e for e in endings if path.stem.lower().endswith(e) and len(path.stem) > len(e)), "")
    return path.stem[: len(path.stem) - len(ending)]


def _in_any_case(files: dict[str, list[Path]], stem: str) -> list[Path]:
    found = [masks for name, masks in files.items() if name.lower() == stem.lower()]
    return found[0] if len(found) == 1 else []


def without_masks(images: Sequence[Path], endings: Sequence[str] = MASK_ENDINGS) -> tuple[list[Path], dict[Path, Path]]:
    """Images of a folder, and the masks that lie among them: ``0_mask.png`` beside ``0.png``, by their image."""
    by_stem = {image.stem: image for image in images}
    masks: dict[Path, Path] = {}
    for path in images:
        stem = _stem(path, endings)
        if stem != path.stem and stem in by_stem:
            masks[by_stem[stem]] = path
    taken = set(masks.values())
    return [image for image in images if image not in taken], masks


def child(folder: Path, name: str) -> Path | None:
    """The folder of this name in another one, in any case where the exact one is not there and one alone fits."""
    if (folder / name).is_dir():
        return folder / name
    found = named(folder, [name])
    return found[0] if len(found) == 1 else None


def named(folder: Path, names: Iterable[str]) -> list[Path]:
    """Folders directly in it that have one of these names, in any case, in the order of the names."""
    inside = folders_in(folder)
    return [path for name in names for path in inside if path.name.lower() == name.lower()]


def aside(key: str, share: float) -> bool:
    """Whether something is put aside, such as for training: a fixed share, by the hash of its name.

    >>> [aside(f"{i}.png", 0.5) for i in range(6)]
    [True, False, True, False, False, False]
    """
    return int.from_bytes(hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()[:8]) < share * 2**64
