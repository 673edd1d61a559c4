"""KolektorSDD and KolektorSDD2: whether an image is defective stands in its mask alone, so the masks are read.

KolektorSDD: ``kos01/Part0.jpg`` with ``kos01/Part0_label.bmp``, 50 items of eight surfaces, not split by its authors;
``train`` puts whole items there. KolektorSDD2: ``{train,test}/10000.png`` with ``10000_GT.png``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from vlmad_core.datasets import published
from vlmad_core.datasets.base import Dataset, DatasetReader, LayoutMatch, Sample, Split
from vlmad_core.datasets.plugin import ShareConfig
from vlmad_core.datasets.tree import aside, folders_in, images_in
from vlmad_core.errors import ConfigError, ImageError

__all__ = ["KolektorSdd", "KolektorSdd2"]


class KolektorSdd(DatasetReader):
    """KolektorSDD: electrical commutators, 399 images."""

    facts = published.KOLEKTOR_SDD
    tree: ClassVar[str] = "kos01/{Part0.jpg, Part0_label.bmp}"

    def __init__(self, config: ShareConfig) -> None:
        super().__init__(config)
        self.train = config.train

    def fits(self, root: Path) -> LayoutMatch:
        """By folders called ``kos01`` and so on."""
        return LayoutMatch.KNOWN if _items(root) else LayoutMatch.NO

    def read(self, root: Path) -> Dataset:
        """Items in order. Of the items that ``train`` puts aside, the defective surfaces are in neither split."""
        items = _items(root)
        if not items:
            raise ConfigError(f"{root}: no folder kos01 to kos50 in it.")
        problems: list[str] = []
        samples = []
        for item in items:
            for_train = aside(item.name, self.train)
            for sample in _pairs(item, "_label", "commutator", "train" if for_train else "test", problems):
                if not for_train or sample.label is False:
                    samples.append(sample)  # noqa: PERF401
        return Dataset("kolektor-sdd", tuple(samples), root, self.facts, tuple(problems))


class KolektorSdd2(DatasetReader):
    """KolektorSDD2: 3335 images of a surface; train holds defective ones too."""

    facts = published.KOLEKTOR_SDD2
    tree: ClassVar[str] = "{train,test}/{10000.png, 10000_GT.png}"

    def fits(self, root: Path) -> LayoutMatch:
        """By images with ``_GT`` beside them."""
        return (
            LayoutMatch.KNOWN if any((root / "train").glob("*_GT.png")) and (root / "test").is_dir() else LayoutMatch.NO
        )

    def read(self, root: Path) -> Dataset:
        """Train, then test."""
        problems: list[str] = []
        splits: tuple[Split, ...] = ("train", "test")
        samples = [s for split in splits for s in _pairs(root / split, "_GT", "surface", split, problems)]
        if not samples:
            raise ConfigError(f"{root}: no image with a mask *_GT.png in train or test.")
        return Dataset("kolektor-sdd2", tuple(samples), root, self.facts, tuple(problems))


def _items(root: Path) -> list[Path]:
    return [folder for folder in folders_in(root) if folder.name[:3] == "kos" and folder.name[3:].isdecimal()]


def _pairs(folder: Path, ending: str, category: str, split: Split, problems: list[str]) -> Iterator[Sample]:
    """Images with the masks beside them; one whose mask is missing or cannot be read has an unknown label."""
    from vlmad_core.datasets.masks import open_mask  # PIL, when it is needed

    files = images_in(folder)
    masks = {path.stem.removesuffix(ending): path for path in files if path.stem.endswith(ending)}
    for image in (path for path in files if not path.stem.endswith(ending)):
        mask = masks.pop(image.stem, None)
        if mask is None:
            problems.append(f"{image}: has no mask {image.stem}{ending}, so nobody knows whether it is defective.")
            yield Sample(image, None, category, split)
            continue
        try:
            label = bool(open_mask(mask).any())
        except ImageError as error:
            problems.append(f"{error} So nobody knows whether {image.name} is defective.")
            yield Sample(image, None, category, split)
            continue
        yield Sample(image, label, category, split, "defective" if label else "good", (mask,))
    problems.extend(
        f"{mask}: is a mask without an image beside it; unpack the data set again." for mask in masks.values()
    )
