"""MVTec AD and all that lie as it does: BTAD, MPDD, MVTec LOCO, MVTec AD 2, converted VisA, and data of your own.

``CATEGORY/train/good``, ``CATEGORY/test/KIND``, ``CATEGORY/ground_truth/KIND``. A mask is named like its image, with
``_mask`` or without, or is a folder named like its image that holds several (MVTec LOCO). MVTec AD 2 calls its open
test set ``test_public`` and keeps ``ground_truth`` inside; its private sets lie flat and nobody outside knows their
labels. The root may be one category too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from vlmad_core.datasets import published
from vlmad_core.datasets.base import Dataset, DatasetReader, LayoutMatch, Sample, Split
from vlmad_core.datasets.tree import MASK_FOLDERS, child, folders_in, images_in, named, pair_masks, without_masks
from vlmad_core.errors import ConfigError

__all__ = ["Btad", "Mpdd", "MvtecAd", "MvtecAd2", "MvtecLayout", "MvtecLoco", "VisaConverted"]


class MvtecLayout(DatasetReader):
    """Any data set in MVTec's layout; no class list and no counts are expected."""

    name: ClassVar[str] = "mvtec-layout"
    tree: ClassVar[str] = "CATEGORY/{train/good, test/KIND, ground_truth/KIND}/IMAGE"
    complete: ClassVar[bool] = True
    good: ClassVar[tuple[str, ...]] = ("good", "ok", "normal")
    parts: ClassVar[Mapping[str, Split]] = {"train": "train", "validation": "validation", "test": "test"}
    needed: ClassVar[tuple[str, ...]] = ("train", "test")

    def fits(self, root: Path) -> LayoutMatch:
        """By folders of normal images; and by the names of the categories, where they are known."""
        names = [folder.name for folder in folders_in(root) if self._is_category(folder)]
        if not names and self._is_category(root):
            names = [root.resolve().name]
        if self.facts is None:
            return LayoutMatch.FORM if names else LayoutMatch.NO
        return LayoutMatch.KNOWN if 2 * len(self.facts.counts.keys() & set(names)) > len(names) else LayoutMatch.NO

    def read(self, root: Path) -> Dataset:
        """All categories in alphabetical order."""
        folders = folders_in(root)
        categories = [folder for folder in folders if self._is_category(folder)]
        if not categories and self._is_category(root):
            categories = folders = [root]
        if not categories:
            wanted = " or ".join(f"{part}/{self.good[0]}" for part in self.needed)
            raise ConfigError(f"{root}: no category in it; looked for folders with {wanted}, as in {self.tree}.")
        others = [folder for folder in folders if folder not in categories]
        wanted = " nor ".join(f"{part}/{self.good[0]}" for part in self.needed)
        problems = [f"{folder}: is no category, so it is left out; it has neither {wanted}." for folder in others]
        samples = [sample for folder in categories for sample in self._category(folder, problems)]
        name = self.name if self.facts else root.resolve().name
        return Dataset(name, tuple(samples), root, self.facts, tuple(problems))

    def _is_category(self, folder: Path) -> bool:
        parts = [place for part in self.needed if (place := child(folder, part)) is not None]
        return any(named(place, self.good) for place in parts)

    def _category(self, folder: Path, problems: list[str]) -> Iterator[Sample]:
        for part, split in self.parts.items():
            place = child(folder, part)
            if place is not None:
                yield from self._part(folder.resolve().name, place, split, problems)
            elif part in self.needed:
                todo = "unpack the data set again" if self.facts else "put the images of this part there"
                problems.append(f"{folder / part}: is missing; {todo}.")

    def _truth(self, place: Path) -> Path | None:
        """Where the masks of a part are, if it has any."""
        return child(place.parent, "ground_truth") if place.name.lower() == "test" else None

    def _part(self, category: str, place: Path, split: Split, problems: list[str]) -> Iterator[Sample]:
        loose = images_in(place)
        problems.extend(f"{p}: lies outside the folder of its kind, so it is left out; move it to one." for p in loose)
        truth = self._truth(place)
        kinds = [kind for kind in folders_in(place) if kind != truth]
        masked = [kind for kind in kinds if kind.name.lower() in MASK_FOLDERS]
        problems.extend(
            f"{kind}: holds masks and not images of a kind of defect, so it is left out; move it to "
            f"{place.parent / 'ground_truth'}, with a folder for each kind."
            for kind in masked
        )
        kinds = [kind for kind in kinds if kind not in masked]
        for kind in kinds:
            label = kind.name.lower() not in self.good
            own = child(truth, kind.name) if truth else None
            images, beside = without_masks(images_in(kind))
            pairs, unclear = pair_masks(images, [own] if own else [])
            problems.extend(unclear)
            for image in images:
                found = pairs.get(image) or ((beside[image],) if image in beside else ())
                yield Sample(image, label, category, split, kind.name if label else "good", found)
            used = {mask for found in pairs.values() for mask in found}
            deeper = [below for below in folders_in(kind) if images_in(below)]
            problems.extend(f"{below}: lies too deep, so its images are left out; move them up." for below in deeper)
            left = [mask for mask in images_in(own, deep=True) if mask not in used] if own else []
            problems.extend(f"{mask}: is a mask without an image in {kind}; name both alike." for mask in left)
        truths = folders_in(truth) if truth else []
        unknown = [folder for folder in truths if folder.name.lower() not in {kind.name.lower() for kind in kinds}]
        problems.extend(f"{folder}: has masks, but there is no folder {place / folder.name}." for folder in unknown)


class MvtecAd(MvtecLayout):
    """MVTec AD: 15 categories, 5354 images."""

    name = "mvtec-ad"
    facts = published.MVTEC_AD
    good = ("good",)


class VisaConverted(MvtecLayout):
    """VisA as the script of its authors converts it, split ``1cls``: kinds are ``good`` and ``bad``."""

    name = "visa-converted"
    facts = published.VISA
    good = ("good",)


class Btad(MvtecLayout):
    """BTAD: products 01, 02, 03; ``ok`` and ``ko``."""

    name = "btad"
    tree = "{01,02,03}/{train/ok, test/{ok,ko}, ground_truth/ko}/IMAGE"
    facts = published.BTAD
    good = ("ok",)


class Mpdd(MvtecLayout):
    """MPDD: six kinds of metal part, some with several objects in an image."""

    name = "mpdd"
    facts = published.MPDD
    good = ("good",)


class MvtecLoco(MvtecLayout):
    """MVTec LOCO: ``logical_anomalies`` and ``structural_anomalies``, a folder of masks for each image."""

    name = "mvtec-loco"
    tree = "CATEGORY/{train/good, validation/good, test/KIND/IMAGE, ground_truth/KIND/STEM/MASK, defects_config.json}"
    facts = published.MVTEC_LOCO
    good = ("good",)
    needed = ("train", "validation", "test")

    def _category(self, folder: Path, problems: list[str]) -> Iterator[Sample]:
        yield from super()._category(folder, problems)
        if not (folder / "defects_config.json").is_file():
            problems.append(f"{folder / 'defects_config.json'}: is missing; without it there are no saturation areas.")


class MvtecAd2(MvtecLayout):
    """MVTec AD 2: the public test set with its labels, and with ``private: true`` the two private ones without."""

    name = "mvtec-ad-2"
    tree = "CATEGORY/{train/good, validation/good, test_public/{good,bad,ground_truth/bad}}/IMAGE"
    complete = False  # the private sets lie beside
    facts = published.MVTEC_AD_2
    good = ("good",)
    parts: ClassVar[Mapping[str, Split]] = {"train": "train", "validation": "validation", "test_public": "test"}
    needed = ("train", "validation", "test_public")

    def _truth(self, place: Path) -> Path | None:
        return place / "ground_truth" if place.name == "test_public" else None

    def _category(self, folder: Path, problems: list[str]) -> Iterator[Sample]:
        yield from super()._category(folder, problems)
        if getattr(self.config, "private", False):
            for part in ("test_private", "test_private_mixed"):
                images = images_in(folder / part)
                if not images:
                    problems.append(f"{folder / part}: has no images; say private: false, or unpack it.")
                yield from (Sample(image, None, folder.resolve().name, "test", part) for image in images)
