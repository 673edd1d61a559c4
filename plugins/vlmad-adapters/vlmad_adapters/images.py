"""What `vlmad adapt` is given, as samples: normal images, defective ones, their masks, and generated ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vlmad_adapters.generate import KINDS
from vlmad_core.contracts import open_image
from vlmad_core.contracts.decode import as_converted
from vlmad_core.datasets import Sample, mask_of
from vlmad_core.datasets.content import hash_of
from vlmad_core.errors import ConfigError

__all__ = ["LEAST", "Given", "find_given", "generated"]

LEAST = 4
"""Normal images, at least; with fewer none can be held out and several be left."""


@dataclass(frozen=True)
class Given:
    """The images of a field.

    Args:
        normals: Normal images.
        defects: Defective images, with their masks where there are some.
    """

    normals: tuple[Sample, ...]
    defects: tuple[Sample, ...]

    @property
    def has_masks(self) -> bool:
        """Whether every defective image has a mask."""
        return all(sample.masks for sample in self.defects)

    @property
    def hashes(self) -> dict[str, list[str]]:
        """SHA-256 of each image and mask, by what it is."""
        masks = [mask for sample in self.defects for mask in sample.masks]
        return {
            "normals": [hash_of(sample.image) for sample in self.normals],
            "defects": [hash_of(sample.image) for sample in self.defects],
            "masks": [hash_of(mask) for mask in masks],
        }


def find_given(
    normals: Sequence[Path], defects: Sequence[Path], masks: Sequence[Path], *, class_name: str | None
) -> Given:
    """Samples from files.

    Args:
        normals: Normal images.
        defects: Defective images.
        masks: Named as their image: ``nut7.png`` or ``nut7_mask.png`` for ``nut7.jpg``.
        class_name: What the images show.

    Raises:
        ConfigError: Too few normal images, an image that is given as both or twice, or a mask without an image
            or without a marked pixel.
        ImageError: A mask that cannot be read.
    """
    if len(normals) < LEAST:
        raise ConfigError(
            f"{len(normals)} normal images; adapting needs at least {LEAST}, so that some can be held out. With fewer, "
            "`vlmad fit` makes a detector that needs no training."
        )
    by_stem: dict[str, list[Path]] = {}
    for mask in masks:
        by_stem.setdefault(mask.stem.removesuffix("_mask"), []).append(mask)
    names = {path.stem for path in defects}
    without = [str(mask) for stem, found in by_stem.items() if stem not in names for mask in found]
    if without:
        raise ConfigError(f"{without[0]}: is a mask without a defective image; name both alike.")
    stems = [path.stem for path in defects if path.stem in by_stem]
    twice = next((stem for stem in stems if stems.count(stem) > 1), None)
    if twice is not None:
        raise ConfigError(f"mask '{twice}' belongs to several defective images of that name; give each its own name.")
    category = class_name or "object"
    given = Given(
        tuple(Sample(path, False, category, "train", "good") for path in normals),
        tuple(Sample(path, True, category, "train", "defect", tuple(by_stem.get(path.stem, ()))) for path in defects),
    )
    for sample in given.defects:
        if sample.masks and not mask_of(sample).any():
            raise ConfigError(
                f"{sample.masks[0]}: marks no pixel, and its image is defective; correct it, or leave it out."
            )
    known: dict[str, Path] = {}
    for path in (*normals, *defects):
        first = known.setdefault(hash_of(path), path)
        if first is not path:
            raise ConfigError(
                f"{path}: has the content of {first}; an image that is held out must not be learned from, so give each "
                "once."
            )
    return given


def generated(normals: Sequence[Sample], kind: str, *, seed: int, bits: int | str | None = None) -> list[Sample]:
    """One generated defect for each normal image.

    Args:
        normals: Whose images are changed.
        kind: Name of a generator.
        seed: Decides the defects.
        bits: Of the values in 16-bit grey files.
    """
    found = []
    for number, sample in enumerate(normals):
        image, mask = KINDS[kind](open_image(sample.image, bits=bits), seed + number)
        found.append(Sample(as_converted(image), True, sample.category, "train", kind, (mask,)))
    return found
