"""VisA as it is published: images by category, and a CSV file that says what is train and what is test.

``CATEGORY/Data/Images/{Normal,Anomaly}/*.JPG``, ``CATEGORY/Data/Masks/Anomaly/*.png``, ``CATEGORY/image_anno.csv`` with
the kinds of defect, and ``split_csv/1cls.csv`` with the columns object, split, label, image, mask, whose paths are
relative to the root. VisA converted to MVTec's layout is read by :class:`vlmad_core.datasets.mvtec.VisaConverted`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from vlmad_core.datasets import published
from vlmad_core.datasets.base import Dataset, DatasetReader, LayoutMatch, Sample, Split
from vlmad_core.datasets.plugin import VisaConfig
from vlmad_core.datasets.text import read_text
from vlmad_core.datasets.tree import folders_in, images_in
from vlmad_core.errors import ConfigError

__all__ = ["Visa"]

_COLUMNS = ("object", "split", "label", "image", "mask")


class Visa(DatasetReader):
    """VisA: 12 categories, 10821 images."""

    facts = published.VISA
    tree: ClassVar[str] = "{CATEGORY/Data/{Images/{Normal,Anomaly},Masks/Anomaly}/IMAGE, split_csv/1cls.csv}"

    def __init__(self, config: VisaConfig) -> None:
        super().__init__(config)
        self.split = config.split

    def fits(self, root: Path) -> LayoutMatch:
        """By ``CATEGORY/Data/Images``."""
        return LayoutMatch.KNOWN if any((f / "Data" / "Images").is_dir() for f in folders_in(root)) else LayoutMatch.NO

    def read(self, root: Path) -> Dataset:
        """In the order of the CSV file."""
        table = root / "split_csv" / f"{self.split}.csv"
        if not table.is_file():
            raise ConfigError(
                f"{table}: is missing; it comes with VisA and lies in split_csv of {published.VISA.home}."
            )
        samples = tuple(self._rows(root, table))
        listed = {sample.image for sample in samples}
        problems = tuple(
            f"{image}: is in no row of {table}, so it is left out."
            for folder in folders_in(root)
            for image in images_in(folder / "Data" / "Images", deep=True)
            if image not in listed
        )
        facts = self.facts
        if self.split != "1cls":  # the counts are those of 1cls; the categories are the same
            facts = replace(facts, title=f"VisA, split {self.split}", counts={name: {} for name in facts.counts})
        return Dataset("visa", samples, root, facts, problems)

    def _rows(self, root: Path, table: Path) -> Iterator[Sample]:
        kinds: dict[str, dict[str, str]] = {}
        with io.StringIO(read_text(table), newline="") as file:
            rows = csv.DictReader(file)
            if missing := [name for name in _COLUMNS if name not in (rows.fieldnames or ())]:
                raise ConfigError(f"{table}: has no column {', '.join(missing)}; it needs {', '.join(_COLUMNS)}.")
            for row in rows:
                where, category, label = f"{table}, line {rows.line_num}", row["object"], row["label"]
                splits: dict[str, Split] = {"train": "train", "test": "test"}
                if row["split"] not in splits or label not in ("normal", "anomaly") or not row["image"]:
                    raise ConfigError(f"{where}: split must be train or test, label normal or anomaly; got {row}.")
                if category not in kinds:
                    kinds[category] = _kinds(root / category / "image_anno.csv")
                kind = "good" if label == "normal" else kinds[category].get(row["image"], "anomaly")
                masks = (root / row["mask"],) if row["mask"] else ()
                yield Sample(root / row["image"], label == "anomaly", category, splits[row["split"]], kind, masks)


def _kinds(table: Path) -> dict[str, str]:
    """Kinds of defect by image, as VisA writes them; none where the file is not there."""
    if not table.is_file():
        return {}
    with io.StringIO(read_text(table), newline="") as file:
        rows = csv.DictReader(file)
        return {row["image"]: row["label"] for row in rows if row.get("image") and row.get("label")}
