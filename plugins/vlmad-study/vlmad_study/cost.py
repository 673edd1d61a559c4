"""What methods cost: estimated on one image before a section runs, and measured one by one for the report."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from vlmad_core.benchmark import Cell, build_cell, measure
from vlmad_core.contracts import Backbone, ImageLike, open_image
from vlmad_core.contracts.device import AUTO
from vlmad_core.contracts.images import to_pixels
from vlmad_core.errors import VlmadError
from vlmad_core.pipeline import Pipeline, make_backbone
from vlmad_core.registry import Registry
from vlmad_core.report import SPEED, Speed, read_speed, write_speed

__all__ = ["Timing", "first_cells", "measure_costs", "measured", "ready", "time_cells"]

_SECONDS = 5.0
"""For each method, about."""
_FEWEST, _MOST = 5, 60
_IMAGES = 16


def first_cells(cells: Iterable[Cell], shots: Sequence[int]) -> list[Cell]:
    """One cell for each method and number of normal images: the first category, the first draw."""
    found: dict[tuple[str, int], Cell] = {}
    for cell in cells:
        if cell.status == "waiting" and cell.shots in shots:
            found.setdefault((cell.method, cell.shots), cell)
    return list(found.values())


def ready(cell: Cell, registry: Registry, shared: dict[str, Backbone] | None = None, *, device: str = AUTO) -> Pipeline:
    """The detector of a cell, fitted to its normal images.

    Args:
        cell: Which.
        registry: Where to look for parts.
        shared: Backbones that were built already, by their part as JSON; one that is built here is added.
        device: Where a backbone that is built here runs.

    Raises:
        VlmadError: It cannot be built, or a normal image cannot be read.
    """
    pipeline = _built(cell, registry, {} if shared is None else shared, device)
    pipeline.class_name = cell.category.class_name
    if cell.shots:
        pipeline.fit([sample.image for sample in cell.references], cell.category.class_name)
    return pipeline


def _built(cell: Cell, registry: Registry, shared: dict[str, Backbone], device: str) -> Pipeline:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the benchmark passed them on
        key = cell.spec.backbone.model_dump_json()
        if key not in shared:
            shared[key] = make_backbone(cell.spec.backbone, device=device, registry=registry)
        return build_cell(cell, shared[key], registry)


@dataclass(frozen=True)
class Timing:
    """How long the cells of a section take, from measurements on one image.

    Args:
        features: Seconds for the features of one image, by the methods that share them.
        scoring: Seconds for one image of one cell, once its features are there.
    """

    features: dict[tuple[str, ...], float]
    scoring: float

    def seconds(self, cells: Sequence[Cell]) -> float:
        """For these cells: features once an image and category, scores once an image and cell."""
        waiting = [cell for cell in cells if cell.status == "waiting"]
        total = self.scoring * sum(len(cell.category.test_samples) for cell in waiting)
        for methods, each in self.features.items():
            images: dict[int, set[int]] = {}
            for cell in waiting:
                if cell.method in methods:
                    some = (*cell.category.test_samples, *cell.references)
                    images.setdefault(id(cell.category), set()).update(map(id, some))
            total += each * sum(map(len, images.values()))
        return total


def time_cells(cells: Sequence[Cell], registry: Registry, check: Callable[[], None], *, device: str = AUTO) -> Timing:
    """Time every way to extract features on one image, and the scores of one method.

    Args:
        cells: Of all plans of a section.
        registry: Where to look for parts.
        check: Called before each measurement; what it raises stops them.
        device: Where backbones run.
    """
    shared: dict[str, Backbone] = {}
    seconds: dict[str, float] = {}
    methods: dict[str, dict[str, None]] = {}
    waiting = sorted((c for c in cells if c.status == "waiting"), key=lambda c: c.spec.prompts is not None)
    scoring = 0.0
    for cell in waiting:  # those without text first: encoding it costs much, and is done once a class name
        key = json.dumps([cell.spec.backbone.model_dump(), cell.spec.extractor.model_dump(), str(cell.detector)])
        methods.setdefault(key, {})[cell.method] = None
        if key in seconds:
            continue
        check()
        try:
            pipeline = _built(cell, registry, shared, device)
            seconds[key] = _time_features(pipeline, cell.category.test_samples[0].image)
            if not scoring:
                scoring = _time_scores(pipeline, cell, seconds[key])
        except VlmadError:  # the benchmark says why
            seconds[key] = 0.0
    return Timing({tuple(methods[key]): value for key, value in seconds.items()}, scoring)


def _time_features(pipeline: Pipeline, image: ImageLike) -> float:
    """Seconds for one image; the lower of two, since another program may have run meanwhile."""
    backbone, preprocess, times = pipeline.backbone, pipeline.preprocess, []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the benchmark passes them on
        pixels = to_pixels(open_image(image, bits=preprocess.bits), preprocess)[None].to(
            backbone.device, backbone.dtype
        )
    for _ in range(2):
        started = time.perf_counter()
        with torch.no_grad():
            pipeline.extractor(backbone.vision, pixels)
        times.append(time.perf_counter() - started)
    return min(times)


def _time_scores(pipeline: Pipeline, cell: Cell, features: float) -> float:
    """Seconds for all that a method does with the features of one image."""
    image, class_name = cell.category.test_samples[0].image, cell.category.class_name
    if cell.shots:
        pipeline.fit([image], class_name)
    pipeline.predict(image, class_name)
    started = time.perf_counter()
    pipeline.predict(image, class_name)
    return max(1e-4, time.perf_counter() - started - features)


def measure_costs(
    cells: Sequence[Cell],
    folder: Path,
    registry: Registry,
    progress: Callable[[int, int], None],
    *,
    device: str = AUTO,
) -> list[Speed]:
    """Measure every cell that has no measurement yet, at batch 1; each is on the disk before the next begins.

    Args:
        cells: Of :func:`first_cells`, the most important first.
        folder: ``speed.jsonl`` is written there.
        registry: Where to look for parts.
        progress: Called with methods done and methods in all; what it raises stops the measurements.
        device: Where backbones run.
    """
    known = {(speed.method, speed.shots) for speed in measured(folder)}
    shared: dict[str, Backbone] = {}
    for done, cell in enumerate(cells):
        progress(done, len(cells))
        if (cell.method, cell.shots) in known:
            continue
        pipeline, class_name = ready(cell, registry, shared, device=device), cell.category.class_name
        images: list[ImageLike] = [sample.image for sample in cell.category.test_samples[:_IMAGES]]
        pipeline.predict(images[0], class_name)
        started = time.perf_counter()
        pipeline.predict(images[-1], class_name)
        repeats = int(min(_MOST, max(_FEWEST, _SECONDS / 2 / (time.perf_counter() - started))))
        about = {"method": cell.method, "backbone": cell.backbone, "shots": cell.shots}
        speeds = measure(
            pipeline,
            images,
            class_name=class_name,
            batch_sizes=(1,),
            repeats=repeats,
            warmup=1,
            **about,  # type: ignore[arg-type]
        )
        write_speed(folder / SPEED, speeds)
    return measured(folder)


def measured(folder: Path) -> list[Speed]:
    """What was measured so far."""
    return read_speed(folder / SPEED) if (folder / SPEED).exists() else []
