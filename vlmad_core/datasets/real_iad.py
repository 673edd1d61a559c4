"""Real-IAD: 30 objects from five sides, with the splits in JSON files.

``realiad_1024/CATEGORY/{OK,NG/KIND}/S0001/*.jpg``, masks beside the defective ones as ``*.png``, and
``realiad_jsons/CATEGORY.json`` (perhaps one folder deeper, as the archive unpacks):
``{"meta": {"prefix": "audiojack/", "normal_class": "OK"}, "train": [...], "test": [...]}``, where an item has
``image_path`` and ``mask_path`` (or null) relative to ``realiad_1024`` and the prefix, and ``anomaly_class``. The other
folders of splits, such as ``realiad_jsons_sv`` (one side) and ``realiad_jsons_fuiad_0.1`` (a tenth of the training
images defective), are options.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from vlmad_core.datasets import published
from vlmad_core.datasets.base import Dataset, DatasetReader, LayoutMatch, Sample, Split
from vlmad_core.datasets.plugin import RealIadConfig
from vlmad_core.datasets.text import read_text
from vlmad_core.datasets.tree import folders_in
from vlmad_core.errors import ConfigError

__all__ = ["RealIad"]

_SIZES = ("realiad_raw", "realiad_1024", "realiad_512", "realiad_256")


class RealIad(DatasetReader):
    """Real-IAD: 30 categories, 151,050 images."""

    facts = published.REAL_IAD
    tree: ClassVar[str] = "{realiad_1024/CATEGORY/{OK,NG/KIND}/SERIAL/IMAGE, realiad_jsons/CATEGORY.json}"

    def __init__(self, config: RealIadConfig) -> None:
        super().__init__(config)
        self.jsons, self.images = config.jsons, config.images

    def fits(self, root: Path) -> LayoutMatch:
        """By the folder of the splits and one of images."""
        return (
            LayoutMatch.KNOWN
            if self._jsons(root) and any((root / name).is_dir() for name in _SIZES)
            else LayoutMatch.NO
        )

    def read(self, root: Path) -> Dataset:
        """Categories in alphabetical order, images in the order of their file."""
        tables = self._jsons(root)
        if not tables:
            raise ConfigError(f"{root / self.jsons}: has no CATEGORY.json; unpack realiad_jsons.zip there.")
        sizes = [self.images] if self.images else list(_SIZES)
        place = next((root / name for name in sizes if (root / name).is_dir()), None)
        if place is None:
            raise ConfigError(f"{root}: has no folder of images; looked for {', '.join(sizes)}.")
        problems: list[str] = []
        samples = [sample for table in tables for sample in self._table(table, place, problems)]
        known = {folder.name for folder in folders_in(place)} - {table.stem for table in tables}
        problems += [f"{place / name}: has no {name}.json in {tables[0].parent}, so it is left out." for name in known]
        return Dataset("real-iad", tuple(samples), root, self.facts, tuple(sorted(problems)))

    def _jsons(self, root: Path) -> list[Path]:
        folders = (root / self.jsons, root / "realiad_jsons" / self.jsons)
        return next((found for folder in folders if (found := sorted(folder.glob("*.json")))), [])

    def _table(self, path: Path, place: Path, problems: list[str]) -> Iterator[Sample]:
        splits: tuple[Split, ...] = ("train", "test")
        try:
            data = json.loads(read_text(path))
            meta = data["meta"]
            folder, normal = place / meta.get("prefix", f"{path.stem}/"), meta["normal_class"]
            if not folder.is_dir():
                problems.append(f"{folder}: is missing; unpack {path.stem}.zip into {place}.")
                return
            for split in splits:
                for item in data[split]:
                    yield self._sample(item, folder, path.stem, split, normal)
        except (KeyError, TypeError, AttributeError) as error:
            form = "meta (prefix, normal_class), train and test (image_path, mask_path, anomaly_class)"
            raise ConfigError(f"{path}: is not a split of Real-IAD: {error!r}; it needs {form}.") from error
        except ValueError as error:
            raise ConfigError(f"{path}: is not JSON ({error}); unpack realiad_jsons.zip again.") from error

    def _sample(self, item: dict[str, Any], folder: Path, category: str, split: Split, normal: str) -> Sample:
        label = item["anomaly_class"] != normal
        masks = (folder / item["mask_path"],) if item.get("mask_path") else ()
        return Sample(
            folder / item["image_path"], label, category, split, item["anomaly_class"] if label else "good", masks
        )
