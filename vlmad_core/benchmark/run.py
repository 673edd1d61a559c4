"""Run a plan, backbone by backbone, category by category, cell by cell, in a folder that survives any interruption."""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from vlmad_core.benchmark.cells import Cell, build_cell, find_cells, pipeline_key
from vlmad_core.benchmark.evaluate import evaluate_cell, row_of, write_scores
from vlmad_core.benchmark.features import SharedFeatures, SharedTextEmbeddings, extractor_key, failure_message
from vlmad_core.benchmark.folder import BenchmarkFolder
from vlmad_core.benchmark.ground_truth import GroundTruth
from vlmad_core.benchmark.plan import BenchmarkPlan, read_plan
from vlmad_core.benchmark.timing import time_cells
from vlmad_core.benchmark.tower import RememberingTower
from vlmad_core.contracts.towers import Backbone
from vlmad_core.datasets.base import Dataset
from vlmad_core.datasets.problems import problem_messages
from vlmad_core.errors import VlmadError
from vlmad_core.pipeline.build import make_backbone
from vlmad_core.pipeline.pipeline import Pipeline
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

    Raises:
        ConfigError: A plan that cannot be run, or ``out`` holds the results of another one.
        UnknownComponentError: A name that nobody offers.
        VlmadError: The disk is full, or cannot be written to.
        KeyboardInterrupt: Ctrl-C, after everything is in order; the text says what is safe.

    >>> plan = {"data": "data/piped", "methods": ["winclip", "patch-memory"], "backbones": "pocket", "shots": [0, 4]}
    >>> vlmad_core.run_benchmark(plan, out="runs/piped").rows[0]["image_auroc"]  # doctest: +SKIP
    """
    plan, registry = read_plan(plan), registry or default_registry()
    cells = find_cells(plan, registry)
    with BenchmarkFolder(Path(out), plan, extend=extend, overwrite=overwrite) as folder:
        if retry:
            folder.drop_failed()
        run = _Run(
            plan, cells, folder, registry, progress or (lambda progress: None), on_message or (lambda text: None)
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
        progress: Callable[[BenchmarkProgress], None],
        on_message: Callable[[str], None],
    ) -> None:
        self.plan, self.cells, self.folder, self.registry = plan, cells, folder, registry
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
        for _, group in groupby(waiting, key=lambda cell: cell.spec.backbone):
            self._backbone(list(group))

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

    def _backbone(self, cells: Sequence[Cell]) -> None:
        """All cells of one backbone; its weights are loaded once."""
        self._report(f"loading {cells[0].backbone}")
        try:
            with warnings.catch_warnings(record=True) as raised:
                warnings.simplefilter("always")
                backbone = make_backbone(cells[0].spec.backbone, device=self.plan.device, registry=self.registry)
        except Exception as error:
            return self._fail(cells, error)
        self._pass_on(raised)
        self.folder.check_weights(backbone, cells[0])
        tower, text_embeddings = RememberingTower(backbone.vision), SharedTextEmbeddings()
        pipelines: dict[tuple[str, str], Pipeline | Exception] = {}
        for cell in cells:
            key = pipeline_key(cell)
            if key not in pipelines:
                pipelines[key] = self._build(cell, backbone)
        height, width = backbone.preprocess.size
        counts = self.passes.setdefault(f"{cells[0].backbone} {height} x {width}", Counter())
        for _, group in groupby(cells, key=lambda cell: id(cell.category)):
            read_alike: dict[Any, list[Cell]] = {}  # other bits or views are other pixels, so other features
            for cell in group:
                pipeline = pipelines[pipeline_key(cell)]
                how = (getattr(pipeline, "bits", None), getattr(pipeline, "views", None))
                read_alike.setdefault(how, []).append(cell)
            for alike in read_alike.values():
                self._category(alike, backbone, tower, text_embeddings, pipelines, counts)
        counts["passes"] += tower.images
        counts["blocks"] += tower.blocks_run
        counts["blocks_without_sharing"] += tower.blocks_asked
        return None

    def _build(self, cell: Cell, backbone: Backbone) -> Pipeline | Exception:
        try:
            with warnings.catch_warnings(record=True) as raised:
                warnings.simplefilter("always")
                pipeline = build_cell(cell, backbone, self.registry)
        except Exception as error:
            return error
        self._pass_on(raised)
        return pipeline

    def _category(
        self,
        cells: Sequence[Cell],
        backbone: Backbone,
        tower: RememberingTower,
        text_embeddings: SharedTextEmbeddings,
        pipelines: Mapping[tuple[str, str], Pipeline | Exception],
        counts: Counter[str],
    ) -> None:
        """All cells of one backbone and category: features once, then cell by cell."""
        ready: list[tuple[Cell, Pipeline, str]] = []
        for cell in cells:
            pipeline = pipelines[pipeline_key(cell)]
            if isinstance(pipeline, Exception):
                self._fail([cell], pipeline)
            else:
                ready.append((cell, pipeline, extractor_key(pipeline, cell.detector)))
        if not ready:
            return
        category = cells[0].category
        normals = list({id(s): s for cell, _, _ in ready for s in cell.references}.values())
        samples = [*category.test_samples, *normals]
        index = {id(sample): i for i, sample in enumerate(samples)}
        features = SharedFeatures(
            tower,
            backbone,
            [sample.image for sample in category.test_samples],
            [sample.image for sample in normals],
            {key: pipeline.extractor for _, pipeline, key in ready},
            self.folder.path / ".features",
            batch_size=self.plan.batch_size,
            memory=self.plan.memory_gb * 1e9,
            workers=self.plan.workers,
            bits=ready[0][1].bits,
            views=ready[0][1].views,
        )
        where = f"{cells[0].backbone}, {category.dataset}/{category.name}"
        try:
            features.extract(lambda done: self._report(f"{where}: features of {done} of {len(samples)} images"))
            counts["images"] += len(samples) - len(features.unreadable)
            truth = GroundTruth(
                category.test_samples,
                features.unreadable,
                features.sizes,
                cells[0].resolution,
                saturated=category.saturated,
            )
            for problem in truth.problems:
                self.on_message(f"{category.dataset}/{category.name}: {problem}")
            for cell, pipeline, key in ready:
                self._report(f"{where}: {cell.method}, {cell.shots} shots, seed {cell.seed}")
                try:
                    row, scores = evaluate_cell(
                        cell, pipeline, features, key, text_embeddings, truth, [index[id(s)] for s in cell.references]
                    )
                except Exception as error:  # a cell that cannot be done is a row; the others go on
                    self._add(row_of(cell, pipeline, status="failed", error=failure_message(error)))
                else:
                    write_scores(self.folder.path / "scores", cell.key, scores)
                    self._add(row)
        finally:
            features.close()

    def _fail(self, cells: Iterable[Cell], error: Exception) -> None:
        for cell in cells:
            self._add(row_of(cell, status="failed", error=failure_message(error)))

    def _add(self, row: Row) -> None:
        self.folder.append(row)
        self.done += 1

    def _report(self, message: str) -> None:
        self.progress(BenchmarkProgress(self.done, len(self.cells), message))

    def _pass_on(self, raised: Iterable[warnings.WarningMessage]) -> None:
        for text in dict.fromkeys(str(warning.message) for warning in raised):
            self.on_message(text)
