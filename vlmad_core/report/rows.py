"""Rows of a benchmark: one JSON object a line, each cell once, safe whatever interrupts; and the same as Parquet."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, TypeAlias, TypedDict

from vlmad_core.errors import ConfigError
from vlmad_core.files import write_whole

__all__ = ["ROWS", "Row", "RowsFile", "read_rows", "write_parquet"]

ROWS = "rows.jsonl"

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
    trained_on_this: bool
    vlmad: str
    spec: dict[str, Json]


def read_rows(folder: str | Path) -> list[Row]:
    """Every row of a benchmark's folder, or of one file; a last line that was cut short is passed over.

    Raises:
        ConfigError: No rows are there, or a line in the middle is none.
    """
    path = Path(folder)
    path = path / ROWS if path.is_dir() else path
    try:
        with path.open("rb") as file:
            return [row for row, _ in _lines(file, path)]
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
        self.path = folder / ROWS
        self.rows: dict[str, Row] = {}
        self._file = self.path.open("ab", buffering=0)  # unbuffered, so that a line is one write
        try:
            end = 0
            with self.path.open("rb") as file:
                for row, place in _lines(file, self.path):
                    self.rows[row["cell"]] = row
                    end = place
            self._file.truncate(end)
        except BaseException:
            self._file.close()
            raise

    def append(self, row: Row) -> None:
        """Add a row; it is on the disk when this returns, or not in the file at all."""
        line, end = _line(row), self._file.seek(0, os.SEEK_END)
        try:
            if self._file.write(line) != len(line):
                raise OSError("only part of a line could be written")
            os.fsync(self._file.fileno())
        except OSError:
            self._file.truncate(end)
            raise
        self.rows[row["cell"]] = row

    def drop(self, cells: Iterable[str]) -> None:
        """Take rows out, in one step."""
        gone = set(cells) & self.rows.keys()
        if not gone:
            return
        self.rows = {cell: row for cell, row in self.rows.items() if cell not in gone}
        self._file.close()
        write_whole(self.path, b"".join(map(_line, self.rows.values())), sync=True)
        self._file = self.path.open("ab", buffering=0)

    def close(self) -> None:
        """Done."""
        self._file.close()


def write_parquet(rows: Iterable[Row], path: Path) -> bool:
    """The same rows for pandas, DuckDB and others; the spec as text. False where pyarrow is not installed."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        return False
    texts = (
        json.dumps({**row, "spec": json.dumps(row.get("spec"), sort_keys=True)}, ensure_ascii=False) for row in rows
    )
    flat = [json.loads(text.encode("utf-8", "replace")) for text in texts]  # Parquet has no names in other encodings
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.Table.from_pylist(flat, schema=_schema(pyarrow)), sink)
    write_whole(path, sink.getvalue().to_pybytes())
    return True


def _schema(pyarrow: Any) -> Any:
    """From the types of :class:`Row`, so that a column of nulls keeps its type."""
    words = pyarrow.list_(pyarrow.string())
    broken = pyarrow.list_(pyarrow.struct([("path", pyarrow.string()), ("error", pyarrow.string())]))
    kinds = {
        "str": pyarrow.string(),
        "str | None": pyarrow.string(),
        "int": pyarrow.int64(),
        "float | None": pyarrow.float64(),
        "bool": pyarrow.bool_(),
        "bool | None": pyarrow.bool_(),
        "list[int] | None": pyarrow.list_(pyarrow.int64()),
        "list[str]": words,
        "list[dict[str, str]]": broken,
        "dict[str, Json]": pyarrow.string(),
    }
    hints = {name: getattr(hint, "__forward_arg__", hint) for name, hint in Row.__annotations__.items()}
    return pyarrow.schema([(name, kinds[str(hint)]) for name, hint in hints.items()])


def _line(row: Mapping[str, Any]) -> bytes:
    return json.dumps(row, allow_nan=False).encode() + b"\n"


def _lines(file: IO[bytes], path: Path) -> Iterator[tuple[Row, int]]:
    """Rows, each with the place where its line ends; stops before a last line that is not whole."""
    end = 0
    for number, line in enumerate(file, 1):
        row = _row(line) if line.endswith(b"\n") else None
        if row is None:
            if file.read(1):
                raise ConfigError(f"{path}: line {number} is not a row; mend or remove the file, or use another --out.")
            return
        end += len(line)
        yield row, end


def _row(line: bytes) -> Row | None:
    try:
        row: Row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("cell"), str) else None
