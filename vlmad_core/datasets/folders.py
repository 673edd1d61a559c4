"""Folders of normal and defective images, with masks or without, wherever they lie and whatever they are called."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from vlmad_core.datasets.base import Dataset, DatasetReader, LayoutMatch, Sample, Split
from vlmad_core.datasets.plugin import FoldersConfig
from vlmad_core.datasets.tree import aside, folders_in, images_in, masks_by_stem, named
from vlmad_core.errors import ConfigError

__all__ = ["Folders"]

GOOD = ("good", "normal", "normals", "ok")
DEFECTS = ("defects", "defect", "defective", "bad", "ko", "ng", "anomaly", "anomalous", "abnormal")
MASKS = ("masks", "mask", "ground_truth", "gt")


class Folders(DatasetReader):
    """``good``, ``defects`` and ``masks``; kinds of defect may be folders in ``defects``, and then in ``masks`` too."""

    tree: ClassVar[str] = "{good/IMAGE, defects/[KIND/]IMAGE, masks/[KIND/]MASK}"

    def __init__(self, config: FoldersConfig) -> None:
        super().__init__(config)
        self.options = config

    def fits(self, root: Path) -> LayoutMatch:
        """By a folder of normal images."""
        return (
            LayoutMatch.FORM
            if any(images_in(f, deep=True) for f in self._places(root, self.options.good, GOOD))
            else LayoutMatch.NO
        )

    def read(self, root: Path) -> Dataset:
        """Normal images first. All are for the test, but for the share of the normal ones that ``train`` asks for."""
        options, category = self.options, self.options.category or root.resolve().name
        good, defects = self._places(root, options.good, GOOD), self._places(root, options.defects, DEFECTS)
        masks = self._places(root, options.masks, MASKS)
        samples = list(self._normal(root, category, good, masks)) + list(self._defective(category, defects, masks))
        if not samples:
            told = f"{', '.join(GOOD)} or {', '.join(DEFECTS)}"
            raise ConfigError(
                f"{root}: no images; looked in folders called {told}. Say others with good: and defects:."
            )
        used = {mask for sample in samples for mask in sample.masks}
        left = [mask for folder in masks for mask in images_in(folder, deep=True) if mask not in used]
        places = " or ".join(map(str, defects)) or "defects"
        problems = tuple(f"{mask}: is a mask without an image in {places}; name both alike." for mask in left)
        return Dataset(root.resolve().name, tuple(samples), root, None, problems)

    def _places(self, root: Path, given: Sequence[str], usual: Sequence[str]) -> list[Path]:
        """The folders that were named, which must be there, or those with a usual name."""
        if not given:
            return named(root, usual)
        places = [root / place for place in given]
        for place in places:
            if not place.is_dir():
                raise ConfigError(f"{place}: is no folder.")
        return places

    def _normal(self, root: Path, category: str, good: list[Path], masks: list[Path]) -> Iterator[Sample]:
        for folder in good:
            known = [masks_by_stem(place / folder.name) for place in masks]
            for image in images_in(folder, deep=True):
                split: Split = "train" if aside(image.relative_to(root).as_posix(), self.options.train) else "test"
                found = tuple(mask for table in known for mask in table.get(image.stem, ()))
                yield Sample(image, False, category, split, "good", found)

    def _defective(self, category: str, defects: list[Path], masks: list[Path]) -> Iterator[Sample]:
        for folder in defects:
            flat = [table for place in masks for table in (masks_by_stem(place), masks_by_stem(place / folder.name))]
            for image in images_in(folder):
                yield Sample(image, True, category, "test", "defective", _first(flat, image.stem))
            for kind in folders_in(folder):
                own = [masks_by_stem(place / kind.name) for place in masks]
                for image in images_in(kind, deep=True):
                    yield Sample(image, True, category, "test", kind.name, _first([*own, *flat], image.stem))


def _first(tables: Sequence[dict[str, tuple[Path, ...]]], stem: str) -> tuple[Path, ...]:
    return next((table[stem] for table in tables if stem in table), ())
