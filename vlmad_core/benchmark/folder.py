"""The folder of a benchmark: rows, scores, and a record of its plan, weights and cells, for one process at a time."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from vlmad_core.benchmark.cells import Cell
from vlmad_core.benchmark.plan import BenchmarkPlan
from vlmad_core.datasets.content import known_hashes
from vlmad_core.errors import ConfigError
from vlmad_core.files import LockedFolder, differences, mark_written, read_record, write_record, write_whole
from vlmad_core.report.present import present
from vlmad_core.report.rows import ROWS, Row, RowsFile, write_parquet
from vlmad_core.report.speed import SPEED
from vlmad_core.version import __version__

__all__ = ["RUN_ONLY", "BenchmarkFolder"]

PLAN, SUMMARY, PARQUET, HASHES = "plan.json", "summary.json", "rows.parquet", "hashes.json"
RUN_ONLY = {"batch_size", "memory_gb", "workers", "device"}
"""What may change between two parts of a run: it decides how long it takes, and not what comes out."""

_NEWER = ("bits", "train_share", "model")
"""Options of a plan that records of earlier versions do not have."""

_FILES = (ROWS, PLAN, SUMMARY, PARQUET, HASHES, SPEED, "scores", "tables", "plots", ".features")


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
        self.path = path
        self._lock = LockedFolder(path)
        try:
            if overwrite:
                for name in _FILES:
                    _remove(path / name)
            mark_written(path, *_FILES)  # plots are no images of the user
            self._record = self._earlier_record(plan, extend)
            self._write_record()
            known_hashes.load(path / HASHES)
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

    def check_weights(self, backbone: str, spec: str, now: str) -> None:
        """Refuse to mix the results of two backbones with the same name and options.

        Args:
            backbone: Its label.
            spec: As JSON.
            now: Hash of its weights.

        Raises:
            ConfigError: Earlier rows were made with other weights.
        """
        before = self._record["weights"].setdefault(spec, now)
        if before != now:
            raise ConfigError(
                f"{self.path}: has rows of '{backbone}' with other weights (sha256 {before[:12]}, these are "
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

    def drop_changed(self, cells: Sequence[Cell]) -> int:
        """Drop rows of these cells that were made from other images, masks or labels; gives how many.

        The record has the key of each cell by everything that decides it but the data, so that a row is recognised as
        one of the same cell.
        """
        known: dict[str, str] = self._record["cells"]
        changed = [known[cell.settings_key] for cell in cells if known.get(cell.settings_key, cell.key) != cell.key]
        dropped = [key for key in changed if key in self.rows]
        known |= {cell.settings_key: cell.key for cell in cells}
        if dropped:
            self._file.drop(dropped)
            for key in dropped:
                _remove(self.path / "scores" / f"{key}.jsonl")
        self._write_record()
        categories = {id(cell.category): cell.category for cell in cells}.values()
        samples = [sample for category in categories for sample in (*category.test_samples, *category.pool)]
        sources = (source for sample in samples for source in (sample.image, *sample.masks))
        known_hashes.save(self.path / HASHES, [source for source in sources if isinstance(source, str | Path)])
        return len(dropped)

    def _earlier_record(self, plan: BenchmarkPlan, extend: bool) -> dict[str, Any]:
        """The record of the folder, checked against this plan."""
        settings = {"vlmad": __version__, "plan": plan.model_dump(mode="json", exclude=RUN_ONLY)}
        advice = "use another --out, or --overwrite."
        before = read_record(self.path / PLAN, advice=advice)
        if before is None:
            if (self.path / ROWS).exists() and (self.path / ROWS).stat().st_size:
                raise ConfigError(f"{self.path}: holds rows but no {PLAN}; {advice}")
            before = {"settings": settings}
        if not isinstance(before["settings"].get("plan"), dict):
            raise ConfigError(f"{self.path / PLAN}: is not a record of this vlmad; {advice}")
        # Options that are newer than the record had their default then.
        defaults = type(plan).model_fields
        then = {name: defaults[name].default for name in _NEWER} | before["settings"]["plan"]
        changed = differences({**before["settings"], "plan": then}, settings)
        if changed and not extend:
            raise ConfigError(
                f"{self.path}: was made by another plan: {changed}. Use another --out, --extend to add to it, or "
                "--overwrite."
            )
        return {
            "settings": settings,
            "weights": dict(before.get("weights", {})),
            "cells": dict(before.get("cells", {})),
        }

    def _write_record(self) -> None:
        write_record(self.path / PLAN, self._record)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
