"""The folder of a benchmark: its plan, its rows, and the record of weights, for one process at a time."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from vlmad_core.benchmark.cells import Cell
from vlmad_core.benchmark.plan import BenchmarkPlan
from vlmad_core.contracts.towers import Backbone
from vlmad_core.errors import ConfigError
from vlmad_core.files import write_whole
from vlmad_core.report.present import present
from vlmad_core.report.rows import ROWS, Row, RowsFile, write_parquet
from vlmad_core.report.speed import SPEED
from vlmad_core.run.disk import lock
from vlmad_core.run.settings import differences
from vlmad_core.version import __version__

__all__ = ["RUN_ONLY", "BenchmarkFolder"]

PLAN, SUMMARY, PARQUET = "plan.json", "summary.json", "rows.parquet"
RUN_ONLY = {"batch_size", "memory_gb"}
"""What may change between two parts of a run: it decides how long it takes, and not what comes out."""

_OURS = (ROWS, PLAN, SUMMARY, PARQUET, SPEED, "scores", "tables", "plots", ".features")


class BenchmarkFolder:
    """Opened for one run.

    Args:
        path: Made if needed.
        plan: Compared with the one that made the folder.
        extend: Another plan may have made it.
        overwrite: Remove what an earlier run left.

    Raises:
        ConfigError: A file, a place that cannot be written to, the results of another plan, or another process is
            writing there.
    """

    def __init__(self, path: Path, plan: BenchmarkPlan, *, extend: bool = False, overwrite: bool = False) -> None:
        if path.exists() and not path.is_dir():
            raise ConfigError(f"{path}: is a file; --out must name a folder.")
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = (path / ".lock").open("w")
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written to ({error.strerror}); choose another --out.") from error
        try:
            lock(self._lock, path)
            if overwrite:
                for name in _OURS:
                    _remove(path / name)
            self._record = self._checked(plan, extend)
            self._file = RowsFile(path)
            _remove(path / ".features")  # of a run that was killed
        except BaseException:
            self._lock.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._lock.close()

    @property
    def rows(self) -> Mapping[str, Row]:
        """By cell."""
        return self._file.rows

    def append(self, row: Row) -> None:
        """Add one; it is safe when this returns."""
        self._file.append(row)

    def drop_failed(self) -> None:
        """Forget cells that failed, so that they are tried again."""
        self._file.drop([cell for cell, row in self.rows.items() if row["status"] == "failed"])

    def check_weights(self, backbone: Backbone, cell: Cell) -> None:
        """Refuse to mix the results of two backbones with the same name and options.

        Raises:
            ConfigError: Earlier rows were made with other weights.
        """
        key, now = cell.spec.backbone.model_dump_json(), backbone.provenance.get("sha256", "")
        before = self._record["weights"].setdefault(key, now)
        if before != now:
            raise ConfigError(
                f"{self.path}: has rows of '{cell.backbone}' with other weights (sha256 {before[:12]}, these are "
                f"{now[:12]}). Use the same weights, another --out, or --overwrite."
            )
        self._write_record()

    def state(self, cells: Sequence[Cell]) -> str:
        """How far it is, and how to go on, in a sentence."""
        safe = sum(cell.key in self.rows for cell in cells)
        return f"{safe} of {len(cells)} cells are safe in {self.path}; run the same command again to go on."

    def finish(
        self, rows: Sequence[Row], passes: Mapping[str, Any], seconds: float, *, tables: bool = True
    ) -> Iterator[str]:
        """Write what is made of the rows; gives sentences on what could not be."""
        counts = Counter(row["status"] for row in rows)
        summary = {"vlmad": __version__, "cells": dict(counts), "passes": passes, "seconds": round(seconds, 1)}
        if not passes:  # nothing was left to do: how it was done before is worth keeping
            summary |= self._earlier()
        write_whole(self.path / SUMMARY, (json.dumps(summary, indent=2) + "\n").encode())
        if not write_parquet(self.rows.values(), self.path / PARQUET):
            yield "pyarrow is not installed, so there is no rows.parquet: pip install 'vlmad-core[evaluation]'."
        if tables:
            yield from present(rows, self.path)

    def _earlier(self) -> dict[str, Any]:
        try:
            summary = json.loads((self.path / SUMMARY).read_text(encoding="utf-8"))
            return {name: summary[name] for name in ("passes", "seconds")}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def _checked(self, plan: BenchmarkPlan, extend: bool) -> dict[str, Any]:
        settings = {"vlmad": __version__, "plan": plan.model_dump(mode="json", exclude=RUN_ONLY)}
        path = self.path / PLAN
        record: dict[str, Any] = {"settings": settings, "weights": {}}
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
            told = differences(before["settings"], settings)
            record["weights"] = dict(before["weights"])
        except FileNotFoundError:
            if (self.path / ROWS).exists() and (self.path / ROWS).stat().st_size:
                raise ConfigError(
                    f"{self.path}: holds rows but no {PLAN}; use another --out, or --overwrite."
                ) from None
            told = ""
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{path}: cannot be read as a plan; use another --out, or --overwrite.") from error
        if told and not extend:
            raise ConfigError(
                f"{self.path}: was made by another plan: {told}. Use another --out, --extend to add to it, or "
                "--overwrite."
            )
        self._record = record
        self._write_record()
        return record

    def _write_record(self) -> None:
        write_whole(self.path / PLAN, (json.dumps(self._record, indent=2) + "\n").encode())


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
