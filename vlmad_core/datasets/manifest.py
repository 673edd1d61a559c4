"""A list of images in a file: CSV with a header, or JSONL, one object a line.

Columns: ``image`` (a path relative to the file, needed), ``label`` (good or defective, and what means the same; empty:
unknown), ``category``, ``split`` (train, validation, test), ``kind``, ``mask`` (a path; several as a list, or in CSV
with semicolons between them).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from vlmad_core.datasets.base import Dataset, DatasetReader, LayoutMatch, Sample, Split
from vlmad_core.datasets.plugin import ManifestConfig
from vlmad_core.errors import ConfigError, did_you_mean

__all__ = ["Manifest"]

_COLUMNS = ("image", "label", "category", "split", "kind", "mask")
_LABELS = {
    **dict.fromkeys(("good", "normal", "ok", "0", "false"), False),
    **dict.fromkeys(("defective", "defect", "bad", "anomaly", "anomalous", "abnormal", "ng", "ko", "1", "true"), True),
    **dict.fromkeys(("", "unknown", "none"), None),
}
_SPLITS: dict[str, Split] = {
    "train": "train",
    "validation": "validation",
    "val": "validation",
    "test": "test",
    "": "test",
}


class Manifest(DatasetReader):
    """A CSV or JSONL file; or a folder with ``manifest.csv`` or ``manifest.jsonl`` in it."""

    tree: ClassVar[str] = "a file *.csv or *.jsonl, or manifest.csv or manifest.jsonl in a folder"

    def __init__(self, config: ManifestConfig) -> None:
        super().__init__(config)
        self.category = config.category

    def fits(self, root: Path) -> LayoutMatch:
        """By the ending of a file, or by its name in a folder."""
        if root.is_file():
            return LayoutMatch.KNOWN if root.suffix.lower() in (".csv", ".jsonl") else LayoutMatch.NO
        return LayoutMatch.FORM if _in_folder(root) else LayoutMatch.NO

    def read(self, root: Path) -> Dataset:
        """In the order of the rows."""
        path = root if root.is_file() else _in_folder(root)
        if path is None:
            raise ConfigError(f"{root}: no manifest; give a .csv or .jsonl file, or a folder with manifest.csv in it.")
        rows = _csv_rows(path) if path.suffix.lower() == ".csv" else _jsonl_rows(path)
        samples = tuple(self._sample(path, number, row) for number, row in rows)
        if not samples:
            raise ConfigError(f"{path}: has no rows.")
        return Dataset(path.stem, samples, path.parent)

    def _sample(self, path: Path, number: int, row: Mapping[str, Any]) -> Sample:
        where = f"{path}, line {number}"
        for name in row:
            if name not in _COLUMNS:
                hint = did_you_mean(str(name), _COLUMNS)
                raise ConfigError(f"{where}: no such column '{name}'.{hint} Columns: {', '.join(_COLUMNS)}.")
        image, label, split = row.get("image"), _plain(row.get("label")), _plain(row.get("split"))
        if not image or not isinstance(image, str):
            raise ConfigError(f"{where}: image must be a path, got {image!r}.")
        if label not in _LABELS:
            raise ConfigError(f"{where}: label must be good or defective, or empty; got {row['label']!r}.")
        if split not in _SPLITS:
            raise ConfigError(f"{where}: split must be train, validation or test; got {row['split']!r}.")
        defective = _LABELS[label]
        kind = row.get("kind") or {True: "defective", False: "good", None: ""}[defective]
        category = row.get("category") or self.category or path.stem
        masks = tuple(path.parent / mask for mask in _masks(where, row.get("mask")))
        return Sample(path.parent / image, defective, str(category), _SPLITS[split], str(kind), masks)


def _in_folder(root: Path) -> Path | None:
    return next((root / name for name in ("manifest.csv", "manifest.jsonl") if (root / name).is_file()), None)


def _plain(value: Any) -> str:
    return "" if value is None else str(value).strip().lower()


def _masks(where: str, value: Any) -> list[str]:
    masks = value if isinstance(value, list) else str(value or "").split(";")
    if not all(isinstance(mask, str) for mask in masks):
        raise ConfigError(f"{where}: mask must be a path or a list of paths, got {value!r}.")
    return [mask.strip() for mask in masks if mask.strip()]


def _csv_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file, restkey="(more)", skipinitialspace=True)
            if "image" not in (rows.fieldnames or ()):
                raise ConfigError(f"{path}: the first line must name the columns, 'image' among them.")
            for row in rows:
                if "(more)" in row:
                    raise ConfigError(f"{path}, line {rows.line_num}: has more cells than the header.")
                yield rows.line_num, row
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: is not CSV in UTF-8 ({error}).") from error


def _jsonl_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise ConfigError(f"{path}, line {number}: is not JSON ({error}).") from error
            if not isinstance(row, dict):
                raise ConfigError(f"{path}, line {number}: must be an object such as {{'image': 'a.png'}}.")
            yield number, row
