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

from vlmad_core.benchmark.cells import Cell, find_cells
from vlmad_core.benchmark.judge import judge_cell
from vlmad_core.benchmark.plan import BenchmarkPlan
from vlmad_core.benchmark.run import build_cell, pipeline_key
from vlmad_core.benchmark.shared import SharedAnchors, SharedFeatures, extractor_key, tell_failure
from vlmad_core.benchmark.tower import RememberingTower
from vlmad_core.benchmark.truth import Truth
from vlmad_core.contracts.towers import Backbone
from vlmad_core.datasets.base import Sample
from vlmad_core.pipeline.build import make_backbone
from vlmad_core.pipeline.pipeline import Pipeline
from vlmad_core.registry.registry import Registry, default_registry

__all__ = ["Estimate", "estimate"]

_IMAGES = 3


@dataclass(frozen=True)
class Estimate:
    """What would run.

    Args:
        cells: Of the plan.
        waiting: Those without a row.
        skipped: Reason to number of cells that make no sense.
        failing: Reason to number of cells that cannot be done, as far as a trial shows.
        looks: Images through towers.
        seconds: About how long it takes here.
    """

    cells: int
    waiting: int
    skipped: dict[str, int]
    failing: dict[str, int]
    looks: int
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
        ConfigError: As :func:`~vlmad_core.benchmark.run.benchmark`.
        UnknownComponentError: Likewise.
    """
    registry = registry or default_registry()
    cells = find_cells(plan, registry)
    missing = [cell for cell in cells if cell.key not in done]
    waiting = [cell for cell in missing if cell.status == "waiting"]
    failing = Counter(cell.reason for cell in missing if cell.status == "failed")
    looks, seconds = 0, 0.0
    for _, group in groupby(waiting, key=lambda cell: cell.spec.backbone):
        trial = _Trial(list(group), plan, registry, progress or (lambda what: None))
        trial.run()
        failing += trial.failing
        looks += trial.looks
        seconds += trial.seconds
    skipped = Counter(cell.reason for cell in cells if cell.status == "skipped")
    return Estimate(len(cells), len(waiting), dict(skipped), dict(failing), looks, seconds)


class _Trial:
    """One backbone."""

    def __init__(
        self, cells: Sequence[Cell], plan: BenchmarkPlan, registry: Registry, say: Callable[[str], None]
    ) -> None:
        self.cells, self.plan, self.registry, self.say = cells, plan, registry, say
        self.failing: Counter[str] = Counter()
        self.looks, self.seconds = 0, 0.0

    def run(self) -> None:
        self.say(f"trying {self.cells[0].backbone}")
        started = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the run tells them
            try:
                backbone = make_backbone(self.cells[0].spec.backbone, registry=self.registry)
            except Exception as error:
                self.failing[tell_failure(error)] += len(self.cells)
                return
            pipelines: dict[tuple[str, str], Pipeline] = {}
            for _, group in groupby(sorted(self.cells, key=pipeline_key), key=pipeline_key):
                mine = list(group)
                try:
                    pipelines[pipeline_key(mine[0])] = build_cell(mine[0], backbone, self.registry)
                except Exception as error:
                    self.failing[tell_failure(error)] += len(mine)
        self.seconds += time.perf_counter() - started
        ready = [cell for cell in self.cells if pipeline_key(cell) in pipelines]
        if ready:
            self._time(ready, backbone, pipelines)

    def _time(self, ready: Sequence[Cell], backbone: Backbone, pipelines: dict[tuple[str, str], Pipeline]) -> None:
        category = ready[0].category
        few = replace(category, judged=_few(category.judged), pool=category.pool[:1])
        keys = {pipeline_key(cell): extractor_key(pipelines[pipeline_key(cell)], cell.detector) for cell in ready}
        extractors = {keys[one]: pipelines[one].extractor for one in keys}
        text_embeddings = SharedAnchors()
        with tempfile.TemporaryDirectory() as folder:
            features = SharedFeatures(
                RememberingTower(backbone.vision),
                backbone,
                [sample.image for sample in few.judged],
                [sample.image for sample in few.pool],
                extractors,
                Path(folder) / "features",
                batch_size=_IMAGES,
            )
            features.look()  # the first time is always slower
            started = time.perf_counter()
            features.look()
            each = (time.perf_counter() - started) / (len(few.judged) + len(few.pool))
            truth = Truth(few.judged, features.unreadable, features.sizes, ready[0].resolution)
            for _, group in groupby(ready, key=lambda cell: id(cell.category)):
                mine = list(group)
                normals = {id(sample) for cell in mine for sample in cell.references}
                count = len(mine[0].category.judged) + len(normals)
                self.looks += count
                self.seconds += count * each
            for one in keys:
                mine = [cell for cell in ready if pipeline_key(cell) == one]
                self._time_method(
                    mine, replace(mine[0], category=few), pipelines[one], features, keys[one], text_embeddings, truth
                )
            features.close()

    def _time_method(
        self,
        cells: Sequence[Cell],
        trial: Cell,
        pipeline: Pipeline,
        features: SharedFeatures,
        key: str,
        text_embeddings: SharedAnchors,
        truth: Truth,
    ) -> None:
        shots = [len(truth.samples)] * trial.shots  # the same normal image as often as needed
        try:
            started = time.perf_counter()
            judge_cell(trial, pipeline, features, key, text_embeddings, truth, shots)  # with the words for one name
            first = time.perf_counter() - started
            started = time.perf_counter()
            judge_cell(trial, pipeline, features, key, text_embeddings, truth, shots)
            each = time.perf_counter() - started
        except Exception as error:
            self.failing[tell_failure(error)] += len(cells)
            return
        names = len({cell.category.words for cell in cells})
        images = sum(len(cell.category.judged) for cell in cells)
        self.seconds += names * max(0.0, first - each) + images * each / len(truth.places)


def _few(samples: Sequence[Sample]) -> tuple[Sample, ...]:
    """From both ends, where good and defective ones are."""
    return tuple(samples[:1] if len(samples) < _IMAGES else (*samples[: _IMAGES - 1], samples[-1]))
