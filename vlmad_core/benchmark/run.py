"""Run a plan, backbone by backbone, category by category, cell by cell, in a folder that survives any interruption."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from vlmad_core.benchmark.cells import Cell, find_cells
from vlmad_core.benchmark.distribute import distribute
from vlmad_core.benchmark.evaluate import row_of, write_scores
from vlmad_core.benchmark.folder import BenchmarkFolder
from vlmad_core.benchmark.plan import BenchmarkPlan, read_plan
from vlmad_core.benchmark.run_cells import (
    BackboneLoaded,
    BackbonePasses,
    CellEvent,
    CellMessage,
    CellRow,
    CellStep,
    run_cells,
)
from vlmad_core.benchmark.timing import time_cells
from vlmad_core.datasets.base import Dataset
from vlmad_core.datasets.problems import problem_messages
from vlmad_core.errors import ConfigError, VlmadError
from vlmad_core.registry.registry import Registry, default_registry
from vlmad_core.report.rows import Row

__all__ = ["BenchmarkProgress", "BenchmarkResults", "run_benchmark"]


@dataclass(frozen=True)
class BenchmarkResults:
    """The rows of a benchmark, and what it took.

    Args:
        folder: Where it is written.
        rows: One for each cell of the plan, in its order, also those of an earlier part of the run.
        passes: For each backbone and size: images that were needed, and how many went through it, in this run.
        seconds: From the first backbone to the last row, in this run.
    """

    folder: Path
    rows: tuple[Row, ...]
    passes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def done(self) -> tuple[Row, ...]:
        """Rows with numbers."""
        return tuple(row for row in self.rows if row["status"] == "done")

    @property
    def failed(self) -> tuple[Row, ...]:
        """Rows of cells that could not be done; ``error`` says why."""
        return tuple(row for row in self.rows if row["status"] == "failed")


@dataclass(frozen=True)
class BenchmarkProgress:
    """How far a benchmark is.

    Args:
        done: Cells that have a row.
        cells: Cells in all.
        message: What goes on now.
    """

    done: int
    cells: int
    message: str


def run_benchmark(
    plan: BenchmarkPlan | Mapping[str, Any] | str | Path,
    out: str | Path,
    *,
    retry: bool = False,
    extend: bool = False,
    overwrite: bool = False,
    speed: bool = False,
    tables: bool = True,
    progress: Callable[[BenchmarkProgress], None] | None = None,
    on_message: Callable[[str], None] | None = None,
    registry: Registry | None = None,
    executor: Executor | None = None,
) -> BenchmarkResults:
    """Run every cell of a plan that has no row yet; the same call after a stop, whatever stopped it, goes on.

    Args:
        plan: A plan, or a file or mapping that holds one.
        out: Folder for rows, scores, tables and plots.
        retry: Try cells again that failed.
        extend: ``out`` was made by another plan: keep its rows and add those of this plan.
        overwrite: Replace what is in ``out``.
        speed: Measure every method by itself, after its cells: latency, images a second, memory, parameters, FLOPs.
        tables: Write tables and plots at the end.
        progress: Called as it goes.
        on_message: Called with sentences worth knowing.
        registry: Where to look for parts.
        executor: Shares the cells out to other processes or machines, a backbone and category at a time; this process
            alone writes. None: every cell runs here. It must be able to pickle, and it finds parts where it runs.

    Raises:
        ConfigError: A plan that cannot be run, or ``out`` holds the results of another one; both a registry and an
            executor.
        UnknownComponentError: A name that nobody offers.
        VlmadError: The disk is full, or cannot be written to.
        KeyboardInterrupt: Ctrl-C, after everything is in order; the text says what is safe.

    >>> plan = {"data": "data/piped", "methods": ["winclip", "patch-memory"], "backbones": "pocket", "shots": [0, 4]}
    >>> vlmad_core.run_benchmark(plan, out="runs/piped").rows[0]["image_auroc"]  # doctest: +SKIP
    """
    if executor is not None and registry is not None:
        raise ConfigError("an executor finds the parts where it runs; give run_benchmark a registry or an executor.")
    plan, registry = read_plan(plan), registry or default_registry()
    cells = find_cells(plan, registry)
    with BenchmarkFolder(Path(out), plan, extend=extend, overwrite=overwrite) as folder:
        if retry:
            folder.drop_failed()
        run = _Run(
            plan,
            cells,
            folder,
            registry,
            executor,
            progress or (lambda progress: None),
            on_message or (lambda text: None),
        )
        try:
            run.check_data()
            run.all()
            if speed:
                run.time()
            return run.finish(tables=tables)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"stopped. {folder.state(cells)}") from None
        except OSError as error:
            if isinstance(error, VlmadError):
                raise
            raise VlmadError(f"{out}: cannot be written to ({error}). {folder.state(cells)}") from error


class _Run:
    """One call of :func:`run_benchmark`."""

    def __init__(
        self,
        plan: BenchmarkPlan,
        cells: Sequence[Cell],
        folder: BenchmarkFolder,
        registry: Registry,
        executor: Executor | None,
        progress: Callable[[BenchmarkProgress], None],
        on_message: Callable[[str], None],
    ) -> None:
        self.plan, self.cells, self.folder, self.registry = plan, cells, folder, registry
        self.executor = executor
        self.progress, self.on_message = progress, on_message
        self.passes: dict[str, Counter[str]] = {}
        self.done = sum(cell.key in folder.rows for cell in cells)
        self.started = time.perf_counter()

    def check_data(self) -> None:
        """Report what is odd about the data, and drop rows whose images, masks or labels have changed since."""
        problems = {cell.category.dataset: cell.category.problems for cell in self.cells}
        for name, found in problems.items():
            for text in problem_messages(Dataset(name, (), problems=found)):
                self.on_message(text)
        dropped = self.folder.drop_changed(self.cells)
        if dropped:
            cells = "1 cell is" if dropped == 1 else f"{dropped} cells are"
            self.on_message(f"{cells} run again: images, masks or labels have changed since.")
            self.done = sum(cell.key in self.folder.rows for cell in self.cells)

    def all(self) -> None:
        """Every cell without a row."""
        missing = [cell for cell in self.cells if cell.key not in self.folder.rows]
        for cell in missing:
            if cell.status != "waiting":
                self._add(row_of(cell))
        waiting = [cell for cell in missing if cell.status == "waiting"]
        if self.executor is not None:
            self._keep(distribute(waiting, self.plan, self.executor))
            return
        for _, group in groupby(waiting, key=lambda cell: cell.spec.backbone):
            self._keep(run_cells(list(group), self.plan, self.registry, self.folder.path / ".features"))

    def time(self) -> None:
        """Every method that has results."""
        time_cells(
            self.cells,
            self.folder.rows,
            self.folder.path,
            self.registry,
            device=self.plan.device,
            progress=self._report,
            on_message=self.on_message,
        )

    def finish(self, *, tables: bool) -> BenchmarkResults:
        """Tables, plots, Parquet and the summary."""
        rows = tuple(self.folder.rows[cell.key] for cell in self.cells)
        seconds = time.perf_counter() - self.started
        passes = {name: dict(counts) for name, counts in self.passes.items()}
        results = BenchmarkResults(self.folder.path, rows, passes, seconds)
        for note in self.folder.finish(rows, passes, seconds, tables=tables):
            self.on_message(note)
        return results

    def _keep(self, events: Generator[CellEvent]) -> None:
        """Write what is done as it comes."""
        with closing(events):
            for event in events:
                match event:
                    case CellStep():
                        self._report(event.message)
                    case CellMessage():
                        self.on_message(event.text)
                    case BackboneLoaded():
                        self.folder.check_weights(event.backbone, event.spec, event.sha256)
                    case CellRow():
                        if event.scores is not None:
                            write_scores(self.folder.path / "scores", event.row["cell"], event.scores)
                        self._add(event.row)
                    case BackbonePasses():
                        self.passes.setdefault(event.name, Counter()).update(event.counts)

    def _add(self, row: Row) -> None:
        self.folder.append(row)
        self.done += 1

    def _report(self, message: str) -> None:
        self.progress(BenchmarkProgress(self.done, len(self.cells), message))
