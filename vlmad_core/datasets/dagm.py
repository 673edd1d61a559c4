"""DAGM 2007: ten textures, half of the images for training; an image with a label picture is defective.

``Class1/{Train,Test}/0576.PNG`` with ``Class1/{Train,Test}/Label/0576_label.PNG``, an ellipse around the defect. The
older form of the competition (``Class1``, ``Class1_def``, ellipses in a text file) is not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from vlmad_core.datasets import published
from vlmad_core.datasets.base import Dataset, DatasetReader, LayoutMatch, Sample, Split
from vlmad_core.datasets.tree import folders_in, images_in, masks_by_stem
from vlmad_core.errors import ConfigError

__all__ = ["Dagm"]

_SPLITS: dict[str, Split] = {"Train": "train", "Test": "test"}


class Dagm(DatasetReader):
    """DAGM 2007: 16,100 images."""

    facts = published.DAGM
    tree: ClassVar[str] = "Class1/{Train,Test}/{0576.PNG, Label/0576_label.PNG}"

    def fits(self, root: Path) -> LayoutMatch:
        """By folders called ``Class1`` and so on with ``Train`` or ``Test``."""
        return LayoutMatch.KNOWN if _classes(root) else LayoutMatch.NO

    def read(self, root: Path) -> Dataset:
        """Classes in the order of their numbers; both splits hold defective images."""
        classes = _classes(root)
        if not classes:
            old = [folder for folder in folders_in(root) if folder.name.endswith("_def")]
            hint = f" {old[0]} is of the older form of the data set, which is not read." if old else ""
            raise ConfigError(f"{root}: no folder Class1 to Class10 with Train or Test in it.{hint}")
        problems: list[str] = []
        samples = [sample for folder in classes for sample in _class(folder, problems)]
        return Dataset("dagm", tuple(samples), root, self.facts, tuple(problems))


def _classes(root: Path) -> list[Path]:
    found = [folder for folder in folders_in(root) if folder.name[:5] == "Class" and folder.name[5:].isdecimal()]
    found = [folder for folder in found if any((folder / part).is_dir() for part in _SPLITS)]
    return sorted(found, key=lambda folder: int(folder.name[5:]))


def _class(folder: Path, problems: list[str]) -> Iterator[Sample]:
    for part, split in _SPLITS.items():
        place = folder / part
        if not place.is_dir():
            problems.append(f"{place}: is missing; unpack {folder.name}.zip again.")
            continue
        masks = masks_by_stem(place / "Label", "_label")
        for image in images_in(place):
            found = masks.pop(image.stem, ())
            yield Sample(image, bool(found), folder.name, split, "defective" if found else "good", found)
        problems.extend(
            f"{m}: is a mask without an image in {place}; unpack the data set again."
            for left in masks.values()
            for m in left
        )
