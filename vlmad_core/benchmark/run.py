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

from vlmad_core.benchmark.cells import Cell, find_cells
from vlmad_core.benchmark.folder import BenchmarkFolder
from vlmad_core.benchmark.judge import judge_cell, row_of, write_scores
from vlmad_core.benchmark.plan import BenchmarkPlan, read_plan
from vlmad_core.benchmark.shared import SharedAnchors, SharedFeatures, extractor_key, tell_failure
from vlmad_core.benchmark.tower import RememberingTower
from vlmad_core.benchmark.truth import Truth
from vlmad_core.contracts.towers import Backbone
from vlmad_core.errors import NotFittedError, VlmadError
from vlmad_core.pipeline.build import assemble, load, make_backbone
from vlmad_core.pipeline.pipeline import Pipeline
from vlmad_core.registry.registry import Registry, default_registry
from vlmad_core.report.rows import Row

__all__ = ["BenchmarkResults", "Progress", "build_cell", "pipeline_key", "run_benchmark"]


@dataclass(frozen=True)
class BenchmarkResults:
    """What is known after a benchmark.

    Args:
        folder: Where it is written.
        rows: One for each cell of the plan, in its order, also those of an earlier part of the run.
        passes: For each backbone and size: images that were needed, and how many went through its tower, now.
        seconds: From the first backbone to the last row, now.
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
class Progress:
    """How far it is.

    Args:
        done: Cells that have a row.
        cells: Cells in all.
        what: What goes on now, in words.
    """

    done: int
    cells: int
    what: str


def run_benchmark(
    plan: BenchmarkPlan | Mapping[str, Any] | str | Path,
    out: str | Path,
    *,
    retry: bool = False,
    extend: bool = False,
    overwrite: bool = False,
    speed: bool = False,
    tables: bool = True,
    progress: Callable[[Progress], None] | None = None,
    tell: Callable[[str], None] | None = None,
    registry: Registry | None = None,
) -> BenchmarkResults:
    """Run every cell of a plan that has no row yet; the same call after a stop, whatever stopped it, goes on.

    Args:
        plan: A plan, or a file or mapping that says one.
        out: Folder for rows, scores, tables and plots.
        retry: Try cells again that failed.
        extend: ``out`` was made by another plan: keep its rows and add those of this plan.
        overwrite: Replace what is in ``out``.
        speed: Measure every method by itself, after its cells: latency, images a second, memory, parameters, FLOPs.
        tables: Write tables and plots at the end.
        progress: Called as it goes.
        tell: Called with sentences worth knowing.
        registry: Where to look for parts.

    Raises:
        ConfigError: A plan that does not do, or ``out`` holds the results of another one.
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
        run = _Run(plan, cells, folder, registry, progress or (lambda progress: None), tell or (lambda text: None))
        try:
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
    """One call of :func:`benchmark`."""

    def __init__(
        self,
        plan: BenchmarkPlan,
        cells: Sequence[Cell],
        folder: BenchmarkFolder,
        registry: Registry,
        progress: Callable[[Progress], None],
        tell: Callable[[str], None],
    ) -> None:
        self.plan, self.cells, self.folder, self.registry = plan, cells, folder, registry
        self.progress, self.tell = progress, tell
        self.passes: dict[str, Counter[str]] = {}
        self.done = sum(cell.key in folder.rows for cell in cells)
        self.started = time.perf_counter()

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
        """Every method that was judged."""
        from vlmad_core.benchmark.timing import time_cells  # here: it builds cells as this module does

        time_cells(self.cells, self.folder.rows, self.folder.path, self.registry, say=self._say, tell=self.tell)

    def finish(self, *, tables: bool) -> BenchmarkResults:
        """Tables, plots, Parquet and the summary."""
        rows = tuple(self.folder.rows[cell.key] for cell in self.cells)
        seconds = time.perf_counter() - self.started
        passes = {name: dict(counts) for name, counts in self.passes.items()}
        results = BenchmarkResults(self.folder.path, rows, passes, seconds)
        for note in self.folder.finish(rows, passes, seconds, tables=tables):
            self.tell(note)
        return results

    def _backbone(self, cells: Sequence[Cell]) -> None:
        """All that one backbone has to do; its weights are loaded once."""
        self._say(f"loading {cells[0].backbone}")
        try:
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                backbone = make_backbone(cells[0].spec.backbone, registry=self.registry)
        except Exception as error:
            return self._fail(cells, error)
        self._pass_on(said)
        self.folder.check_weights(backbone, cells[0])
        tower, text_embeddings = RememberingTower(backbone.vision), SharedAnchors()
        pipelines: dict[tuple[str, str], Pipeline | Exception] = {}
        for cell in cells:
            key = pipeline_key(cell)
            if key not in pipelines:
                pipelines[key] = self._build(cell, backbone)
        height, width = backbone.preprocess.size
        counts = self.passes.setdefault(f"{cells[0].backbone} {height} x {width}", Counter())
        for _, group in groupby(cells, key=lambda cell: id(cell.category)):
            self._category(list(group), backbone, tower, text_embeddings, pipelines, counts)
        counts["passes"] += tower.images
        counts["blocks"] += tower.blocks_run
        counts["blocks_without_sharing"] += tower.blocks_asked
        return None

    def _build(self, cell: Cell, backbone: Backbone) -> Pipeline | Exception:
        try:
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                pipeline = build_cell(cell, backbone, self.registry)
        except Exception as error:
            return error
        self._pass_on(said)
        return pipeline

    def _category(
        self,
        cells: Sequence[Cell],
        backbone: Backbone,
        tower: RememberingTower,
        text_embeddings: SharedAnchors,
        pipelines: Mapping[tuple[str, str], Pipeline | Exception],
        counts: Counter[str],
    ) -> None:
        """All that one backbone has to do with one category: look once, then judge cell by cell."""
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
        samples = [*category.judged, *normals]
        place = {id(sample): i for i, sample in enumerate(samples)}
        features = SharedFeatures(
            tower,
            backbone,
            [sample.image for sample in category.judged],
            [sample.image for sample in normals],
            {key: pipeline.extractor for _, pipeline, key in ready},
            self.folder.path / ".features",
            batch_size=self.plan.batch_size,
            memory=self.plan.memory_gb * 1e9,
        )
        where = f"{cells[0].backbone}, {category.dataset}/{category.name}"
        try:
            features.look(lambda done: self._say(f"{where}: features of {done} of {len(samples)} images"))
            counts["images"] += len(samples) - len(features.unreadable)
            truth = Truth(
                category.judged,
                features.unreadable,
                features.sizes,
                cells[0].resolution,
                saturated=category.saturated,
            )
            for cell, pipeline, key in ready:
                self._say(f"{where}: {cell.method}, {cell.shots} shots, seed {cell.seed}")
                try:
                    row, scores = judge_cell(
                        cell, pipeline, features, key, text_embeddings, truth, [place[id(s)] for s in cell.references]
                    )
                except Exception as error:  # a cell that cannot be done is a row; the others go on
                    self._add(row_of(cell, pipeline, status="failed", error=tell_failure(error)))
                else:
                    write_scores(self.folder.path / "scores", cell.key, scores)
                    self._add(row)
        finally:
            features.close()

    def _fail(self, cells: Iterable[Cell], error: Exception) -> None:
        for cell in cells:
            self._add(row_of(cell, status="failed", error=tell_failure(error)))

    def _add(self, row: Row) -> None:
        self.folder.append(row)
        self.done += 1

    def _say(self, what: str) -> None:
        self.progress(Progress(self.done, len(self.cells), what))

    def _pass_on(self, said: Iterable[warnings.WarningMessage]) -> None:
        for text in dict.fromkeys(str(warning.message) for warning in said):
            self.tell(text)


def build_cell(cell: Cell, backbone: Backbone, registry: Registry) -> Pipeline:
    """The detector of a cell on a backbone that is there.

    Raises:
        VlmadError: Its parts do not fit, or have learned nothing yet.
    """
    if cell.detector is not None:
        return load(cell.detector, backbone=backbone, overrides=cell.spec.model_dump(), registry=registry)
    pipeline = assemble(cell.spec, backbone=backbone, registry=registry)
    if any(True for _ in pipeline.parameters()):
        raise NotFittedError(
            f"'{cell.method}' has parts that learn, and they have learned nothing yet. Train it with `vlmad train`, or "
            "take over a paper's checkpoint with `vlmad import`; then name its folder as the method's detector."
        )
    return pipeline


def pipeline_key(cell: Cell) -> tuple[str, str]:
    """Cells with the same key share a detector; what it remembers changes from cell to cell."""
    return cell.method, cell.spec.model_dump_json()
