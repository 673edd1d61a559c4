"""Folders of normal and defective images, with masks or without, wherever they lie and whatever they are called."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from vlmad_core.datasets.base import Dataset, DatasetReader, LayoutMatch, Sample, Split
from vlmad_core.datasets.plugin import FoldersConfig
from vlmad_core.datasets.tree import MASK_FOLDERS, aside, folders_in, images_in, named, pair_masks, without_masks
from vlmad_core.errors import ConfigError

__all__ = ["Folders"]

GOOD = ("good", "normal", "normals", "ok")
DEFECTS = ("defects", "defect", "defective", "bad", "ko", "ng", "anomaly", "anomalous", "abnormal")


class Folders(DatasetReader):
    """``good``, ``defects`` and ``masks``; kinds of defect may be folders in ``defects``, and then in ``masks`` too."""

    tree: ClassVar[str] = "{good/IMAGE, defects/[KIND/]IMAGE, masks/[KIND/]MASK}"
    complete: ClassVar[bool] = True

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
        masks = self._places(root, options.masks, MASK_FOLDERS)
        problems: list[str] = []
        samples = list(self._normal(root, category, good, masks, problems))
        samples += self._defective(category, defects, masks, problems)
        if not samples:
            names = f"{', '.join(GOOD)} or {', '.join(DEFECTS)}"
            raise ConfigError(
                f"{root}: no images; looked in folders called {names}. Say others with good: and defects:."
            )
        used = {mask for sample in samples for mask in sample.masks}
        left = [mask for folder in masks for mask in images_in(folder, deep=True) if mask not in used]
        places = " or ".join(map(str, defects)) or "defects"
        problems += [f"{mask}: is a mask without an image in {places}; name both alike." for mask in left]
        problems += self._unknown(root, {*good, *defects, *masks})
        return Dataset(root.resolve().name, tuple(samples), root, None, tuple(problems))

    def _unknown(self, root: Path, known: set[Path]) -> Iterator[str]:
        """Folders beside the known ones that hold images: kinds of defect, perhaps."""
        for folder in folders_in(root):
            if folder in known or any(folder in place.parents for place in known):
                continue
            if images := images_in(folder, deep=True):
                yield (
                    f"{folder}: holds {len(images)} images and is left out, since its name says neither normal nor "
                    f"defective; move it into 'defects', or say --set 'defects=[{folder.name}]'."
                )

    def _places(self, root: Path, given: Sequence[str], usual: Sequence[str]) -> list[Path]:
        """The folders that were named, which must be there, or those with a usual name."""
        if not given:
            return named(root, usual)
        places = [root / place for place in given]
        for place in places:
            if not place.is_dir():
                raise ConfigError(f"{place}: is no folder.")
        return places

    def _normal(
        self, root: Path, category: str, good: list[Path], masks: list[Path], problems: list[str]
    ) -> Iterator[Sample]:
        for folder in good:
            places = [place / folder.name for place in masks]
            for image, found in _paired(images_in(folder, deep=True), places, problems):
                split: Split = "train" if aside(image.relative_to(root).as_posix(), self.options.train) else "test"
                yield Sample(image, False, category, split, "good", found)

    def _defective(
        self, category: str, defects: list[Path], masks: list[Path], problems: list[str]
    ) -> Iterator[Sample]:
        for folder in defects:
            flat = [place for parent in masks for place in (parent, parent / folder.name)]
            for image, found in _paired(images_in(folder), flat, problems):
                yield Sample(image, True, category, "test", "defective", found)
            for kind in folders_in(folder):
                if kind.name.lower() in MASK_FOLDERS:
                    problems.append(f"{kind}: holds masks, so it is left out; move it beside {folder}.")
                    continue
                own = [parent / kind.name for parent in masks]
                for image, found in _paired(images_in(kind, deep=True), [*own, *flat], problems):
                    yield Sample(image, True, category, "test", kind.name, found)


def _paired(
    images: Sequence[Path], places: Sequence[Path], problems: list[str]
) -> Iterator[tuple[Path, tuple[Path, ...]]]:
    """Images with their masks; ``0_mask.png`` among the images, beside ``0.png``, is its mask."""
    images, beside = without_masks(images)
    pairs, unclear = pair_masks(images, places)
    problems.extend(unclear)
    for image in images:
        yield image, pairs.get(image) or ((beside[image],) if image in beside else ())
