"""How long a plan will take: a few images go through each backbone and method, and the rest is arithmetic."""

from __future__ import annotations

import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from vlmad_core.benchmark.cells import Cell, build_cell, find_cells, pipeline_key
from vlmad_core.benchmark.evaluate import evaluate_cell
from vlmad_core.benchmark.features import SharedFeatures, SharedTextEmbeddings, extractor_key, failure_message
from vlmad_core.benchmark.ground_truth import GroundTruth
from vlmad_core.benchmark.plan import BenchmarkPlan
from vlmad_core.benchmark.tower import RememberingTower
from vlmad_core.contracts.towers import Backbone
from vlmad_core.datasets.base import Sample
from vlmad_core.pipeline.build import make_backbone
from vlmad_core.pipeline.pipeline import Pipeline
from vlmad_core.registry.registry import Registry, default_registry

__all__ = ["Estimate", "estimate"]

_IMAGES = 3


@dataclass(frozen=True)
class Estimate:
    """What would run, and for how long.

    Args:
        cells: Of the plan.
        waiting: Those without a row.
        skipped: Reason to number of cells that make no sense.
        failing: Reason to number of cells that cannot be done, as far as a trial shows.
        images: Images through backbones, each counted once for each of them.
        seconds: About how long it takes here.
    """

    cells: int
    waiting: int
    skipped: dict[str, int]
    failing: dict[str, int]
    images: int
    seconds: float


def estimate(
    plan: BenchmarkPlan,
    *,
    done: Collection[str] = (),
    progress: Callable[[str], None] | None = None,
    registry: Registry | None = None,
) -> Estimate:
    """Try every backbone and method on three images.

    Args:
        plan: What is to run.
        done: Cells that have a row already.
        progress: Called with what is being tried.
        registry: Where to look for parts.

    Raises:
        ConfigError: As :func:`~vlmad_core.benchmark.run.run_benchmark`.
        UnknownComponentError: Likewise.
    """
    registry = registry or default_registry()
    cells = find_cells(plan, registry)
    missing = [cell for cell in cells if not done or cell.key not in done]  # a key reads every image
    waiting = [cell for cell in missing if cell.status == "waiting"]
    failing = Counter(cell.reason for cell in missing if cell.status == "failed")
    images, seconds = 0, 0.0
    for _, group in groupby(waiting, key=lambda cell: cell.spec.backbone):
        trial = _Trial(list(group), plan, registry, progress or (lambda message: None))
        trial.run()
        failing += trial.failing
        images += trial.images
        seconds += trial.seconds
    skipped = Counter(cell.reason for cell in cells if cell.status == "skipped")
    return Estimate(len(cells), len(waiting), dict(skipped), dict(failing), images, seconds)


class _Trial:
    """One backbone."""

    def __init__(
        self, cells: Sequence[Cell], plan: BenchmarkPlan, registry: Registry, progress: Callable[[str], None]
    ) -> None:
        self.cells, self.plan, self.registry, self.progress = cells, plan, registry, progress
        self.failing: Counter[str] = Counter()
        self.images, self.seconds = 0, 0.0

    def run(self) -> None:
        self.progress(f"trying {self.cells[0].backbone}")
        started = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the run reports them
            try:
                spec = self.cells[0].spec.backbone
                backbone = make_backbone(spec, device=self.plan.device, registry=self.registry)
            except Exception as error:
                self.failing[failure_message(error)] += len(self.cells)
                return
            pipelines: dict[tuple[str, str], Pipeline] = {}
            for _, group in groupby(sorted(self.cells, key=pipeline_key), key=pipeline_key):
                alike = list(group)
                try:
                    pipelines[pipeline_key(alike[0])] = build_cell(alike[0], backbone, self.registry)
                except Exception as error:
                    self.failing[failure_message(error)] += len(alike)
        self.seconds += time.perf_counter() - started
        ready = [cell for cell in self.cells if pipeline_key(cell) in pipelines]
        for views in dict.fromkeys(pipelines[pipeline_key(cell)].views for cell in ready):
            alike = [cell for cell in ready if pipelines[pipeline_key(cell)].views == views]
            self._time(alike, backbone, pipelines)

    def _time(self, ready: Sequence[Cell], backbone: Backbone, pipelines: dict[tuple[str, str], Pipeline]) -> None:
        category = ready[0].category
        few = replace(category, test_samples=_few(category.test_samples), pool=category.pool[:1])
        keys = {pipeline_key(cell): extractor_key(pipelines[pipeline_key(cell)], cell.detector) for cell in ready}
        extractors = {keys[one]: pipelines[one].extractor for one in keys}
        text_embeddings = SharedTextEmbeddings()
        with tempfile.TemporaryDirectory() as folder:
            features = SharedFeatures(
                RememberingTower(backbone.vision),
                backbone,
                [sample.image for sample in few.test_samples],
                [sample.image for sample in few.pool],
                extractors,
                Path(folder) / "features",
                batch_size=_IMAGES,
                workers=self.plan.workers,
                views=pipelines[pipeline_key(ready[0])].views,
                bits=pipelines[pipeline_key(ready[0])].bits,
            )
            features.extract()  # the first time is always slower
            started = time.perf_counter()
            features.extract()
            each = (time.perf_counter() - started) / (len(few.test_samples) + len(few.pool))
            truth = GroundTruth(few.test_samples, features.unreadable, features.sizes, ready[0].resolution)
            for _, group in groupby(ready, key=lambda cell: id(cell.category)):
                alike = list(group)
                normals = {id(sample) for cell in alike for sample in cell.references}
                count = len(alike[0].category.test_samples) + len(normals)
                self.images += count
                self.seconds += count * each
            for one in keys:
                alike = [cell for cell in ready if pipeline_key(cell) == one]
                self._time_method(
                    alike, replace(alike[0], category=few), pipelines[one], features, keys[one], text_embeddings, truth
                )
            features.close()

    def _time_method(
        self,
        cells: Sequence[Cell],
        trial: Cell,
        pipeline: Pipeline,
        features: SharedFeatures,
        key: str,
        text_embeddings: SharedTextEmbeddings,
        truth: GroundTruth,
    ) -> None:
        shots = [len(truth.samples)] * trial.shots  # the same normal image as often as needed
        try:
            started = time.perf_counter()
            evaluate_cell(
                trial, pipeline, features, key, text_embeddings, truth, shots
            )  # with the text of one class name
            first = time.perf_counter() - started
            started = time.perf_counter()
            evaluate_cell(trial, pipeline, features, key, text_embeddings, truth, shots)
            each = time.perf_counter() - started
        except Exception as error:
            self.failing[failure_message(error)] += len(cells)
            return
        names = len({cell.category.class_name for cell in cells})
        images = sum(len(cell.category.test_samples) for cell in cells)
        self.seconds += names * max(0.0, first - each) + images * each / len(truth.indices)


def _few(samples: Sequence[Sample]) -> tuple[Sample, ...]:
    """From both ends, where good and defective ones are."""
    return tuple(samples[:1] if len(samples) < _IMAGES else (*samples[: _IMAGES - 1], samples[-1]))
