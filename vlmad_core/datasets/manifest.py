"""A list of images in a file: CSV with a header, or JSONL, one object a line.

Columns: ``image`` (a path relative to the file, needed), ``label`` (good or defective, and what means the same; empty:
unknown), ``category``, ``split`` (train, validation, test), ``kind``, ``mask`` (a path; several as a list, or in CSV
with semicolons or vertical bars between them), ``group`` (images of one object share it). The separator of CSV may be
a comma, a semicolon or a tab; the text may be UTF-8 or UTF-16, with a byte order mark or without; names of columns may
have capitals.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PureWindowsPath
from typing import Any, ClassVar

from vlmad_core.datasets.base import Dataset, DatasetReader, LayoutMatch, Sample, Split
from vlmad_core.datasets.plugin import ManifestConfig
from vlmad_core.datasets.text import read_text
from vlmad_core.errors import ConfigError, did_you_mean

__all__ = ["Manifest"]

_ENDINGS = (".csv", ".tsv", ".jsonl")
_COLUMNS = ("image", "label", "category", "split", "kind", "mask", "group")
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
            return LayoutMatch.KNOWN if root.suffix.lower() in _ENDINGS else LayoutMatch.NO
        return LayoutMatch.FORM if _in_folder(root) else LayoutMatch.NO

    def read(self, root: Path) -> Dataset:
        """In the order of the rows."""
        path = root if root.is_file() else _in_folder(root)
        if path is None:
            raise ConfigError(f"{root}: no manifest; give a .csv or .jsonl file, or a folder with manifest.csv in it.")
        rows = _jsonl_rows(path) if path.suffix.lower() == ".jsonl" else _csv_rows(path)
        drives: list[str] = []
        numbered = [(number, self._sample(path, number, row, drives)) for number, row in rows]
        if not numbered:
            raise ConfigError(f"{path}: has no rows.")
        samples = tuple(sample for _, sample in numbered)
        return Dataset(path.stem, samples, path.parent, None, (*drives[:1], *_repeated(path, numbered)))

    def _sample(self, path: Path, number: int, row: Mapping[str, Any], problems: list[str]) -> Sample:
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
        masks = tuple(_place(path, mask, where, problems) for mask in _masks(where, row.get("mask")))
        place = _place(path, image.strip(), where, problems)
        group = "" if row.get("group") is None else str(row["group"]).strip()
        return Sample(place, defective, str(category), _SPLITS[split], str(kind), masks, group)


def _repeated(manifest: Path, numbered: Sequence[tuple[int, Sample]]) -> list[str]:
    """One sentence for all rows whose image an earlier row of the category names: it would count twice."""
    first: dict[tuple[str, str], int] = {}
    again: list[tuple[int, int, Sample]] = []
    for number, sample in numbered:
        earlier = first.setdefault((sample.category, os.path.normpath(str(sample.image))), number)
        if earlier != number:
            again.append((number, earlier, sample))
    if not again:
        return []
    number, earlier, sample = again[0]
    more = f" ({len(again)} such rows in all)" if len(again) > 1 else ""
    return [
        f"{manifest}, line {number}: names {sample.image}, as line {earlier} does{more}; remove one of them, or it "
        "counts twice."
    ]


def _place(manifest: Path, name: str, where: str, problems: list[str]) -> Path:
    """The file of a row; backslashes of Windows are read as slashes where no file has the name as it is."""
    place = manifest.parent / name
    if "\\" not in name or os.sep == "\\" or place.exists():
        return place
    windows = PureWindowsPath(name)
    if windows.drive:
        problems.append(
            f"{where}: '{name}' is a path with a drive, of another computer; write it relative to the file."
        )
        return place
    return manifest.parent / windows.as_posix()


def _in_folder(root: Path) -> Path | None:
    return next((root / name for name in ("manifest.csv", "manifest.jsonl") if (root / name).is_file()), None)


def _plain(value: Any) -> str:
    return "" if value is None else str(value).strip().lower()


def _masks(where: str, value: Any) -> list[str]:
    masks = value if isinstance(value, list) else str(value or "").replace("|", ";").split(";")
    if not all(isinstance(mask, str) for mask in masks):
        raise ConfigError(f"{where}: mask must be a path or a list of paths, got {value!r}.")
    return [mask.strip() for mask in masks if mask.strip()]


def _csv_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    lines = io.StringIO(read_text(path), newline="")
    first = lines.readline().rstrip("\r\n")
    skipped = first.lower().startswith("sep=")  # what Excel is told with
    if not skipped:
        lines.seek(0)
    separator = first[4:5] if skipped else max(",;\t", key=first.count)
    try:
        rows = csv.reader(lines, delimiter=separator or ",", skipinitialspace=True, strict=True)
        header = [name.strip().lower() for name in next(rows, [])]
        if "image" not in header:
            raise ConfigError(
                f"{path}: the first line must name the columns, 'image' among them, separated by commas, semicolons or "
                f"tabs; got {first[:80]!r}."
            )
        for row in rows:
            number = rows.line_num + skipped
            if len(row) > len(header):
                raise ConfigError(
                    f"{path}, line {number}: has more cells than the header. A cell that holds the separator stands in "
                    "double quotes."
                )
            if any(cell.strip() for cell in row):
                yield number, dict(zip(header, (cell.strip() for cell in row), strict=False))
    except csv.Error as error:
        raise ConfigError(f"{path}: is not CSV ({error}).") from error


def _jsonl_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ConfigError(f"{path}, line {number}: is not JSON ({error}).") from error
        if not isinstance(row, dict):
            raise ConfigError(f"{path}, line {number}: must be an object such as {{'image': 'a.png'}}.")
        yield number, row
