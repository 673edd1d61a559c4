"""Rows of a benchmark: one JSON object a line, each cell once, safe whatever interrupts; and the same as Parquet."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias, TypedDict

from vlmad_core.errors import ConfigError
from vlmad_core.files import JsonLines, read_json_lines, write_whole

__all__ = ["ROWS", "Row", "RowsFile", "read_rows", "write_parquet"]

ROWS = "rows.jsonl"
_WHAT = "a row"

Json: TypeAlias = Any


class Row(TypedDict, total=False):
    """One cell of a benchmark; see ``docs/benchmark.md`` for what each field means."""

    cell: str
    status: str
    error: str
    dataset: str
    category: str
    class_name: str
    method: str
    recipe: str
    backbone: str
    weights: str
    image_size: list[int] | None
    extractor: str
    prompts: str | None
    scorers: list[str]
    shots: int
    seed: int
    references: list[str]
    good: int
    defective: int
    unreadable: list[dict[str, str]]
    problems: list[str]
    image_auroc: float | None
    image_auroc_low: float | None
    image_auroc_high: float | None
    image_ap: float | None
    image_f1max: float | None
    pixel_auroc: float | None
    pixel_ap: float | None
    pixel_f1max: float | None
    aupro: float | None
    aupro_05: float | None
    aupro_200: float | None
    au_spro: float | None
    pixel_exact: bool | None
    pixel_bound: float | None
    resolution: list[int] | None
    image_rule: str
    mask_rule: str
    seconds: float | None
    images_per_second: float | None
    trained_on: list[str]
    trained_on_this: bool | None
    vlmad: str
    spec: dict[str, Json]


def read_rows(folder: str | Path) -> list[Row]:
    """Every row of a benchmark's folder, or of one file; a last line that was cut short is passed over.

    Raises:
        ConfigError: No rows are there, or a line holds none.
    """
    path = Path(folder)
    path = path / ROWS if path.is_dir() else path
    try:
        return list(read_json_lines(path, _parse, _WHAT))
    except FileNotFoundError as error:
        raise ConfigError(f"{folder}: holds no benchmark ({ROWS} is missing).") from error


class RowsFile:
    """``rows.jsonl`` of one folder, open for this process; keep others away with a lock.

    Attributes:
        rows: By cell, in the order of the file.

    Raises:
        ConfigError: The file is not one of rows.
    """

    def __init__(self, folder: Path) -> None:
        self._lines = JsonLines(folder / ROWS, _parse, _dump, _WHAT)
        self.rows = {row["cell"]: row for row in self._lines.items}

    def append(self, row: Row) -> None:
        """Add a row; it is on the disk when this returns, or not in the file at all."""
        self._lines.append(row)
        self.rows[row["cell"]] = row

    def drop(self, cells: Iterable[str]) -> None:
        """Take rows out, in one step."""
        dropped = set(cells) & self.rows.keys()
        if dropped:
            self.rows = {cell: row for cell, row in self.rows.items() if cell not in dropped}
            self._lines.replace(self.rows.values())

    def close(self) -> None:
        """Close the file."""
        self._lines.close()


def write_parquet(rows: Iterable[Row], path: Path) -> bool:
    """The same rows for pandas, DuckDB and others; the spec as text. False where pyarrow is not installed."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        return False
    flat = [_printable({**row, "spec": json.dumps(row.get("spec"), sort_keys=True)}) for row in rows]
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.Table.from_pylist(flat, schema=_schema(pyarrow)), sink)
    write_whole(path, sink.getvalue().to_pybytes())
    return True


def _schema(pyarrow: Any) -> Any:
    """From the types of :class:`Row`, so that a column of nulls keeps its type."""
    texts = pyarrow.list_(pyarrow.string())
    broken = pyarrow.list_(pyarrow.struct([("path", pyarrow.string()), ("error", pyarrow.string())]))
    kinds = {
        "str": pyarrow.string(),
        "str | None": pyarrow.string(),
        "int": pyarrow.int64(),
        "float | None": pyarrow.float64(),
        "bool": pyarrow.bool_(),
        "bool | None": pyarrow.bool_(),
        "list[int] | None": pyarrow.list_(pyarrow.int64()),
        "list[str]": texts,
        "list[dict[str, str]]": broken,
        "dict[str, Json]": pyarrow.string(),
    }
    hints = {name: getattr(hint, "__forward_arg__", hint) for name, hint in Row.__annotations__.items()}
    return pyarrow.schema([(name, kinds[str(hint)]) for name, hint in hints.items()])


def _dump(row: Row) -> str:
    return json.dumps(row, allow_nan=False)


def _parse(line: bytes) -> Row | None:
    try:
        row: Row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("cell"), str) else None


def _printable(value: Any) -> Any:
    """Text that Parquet can hold: names need not be UTF-8."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    if isinstance(value, dict):
        return {key: _printable(inner) for key, inner in value.items()}
    return [_printable(inner) for inner in value] if isinstance(value, list) else value
