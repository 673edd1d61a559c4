"""What each method costs, measured one by one after everything else; what was measured is not measured again."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from vlmad_core.benchmark.cells import Cell, build_cell
from vlmad_core.benchmark.timing import time_detector
from vlmad_core.contracts.images import ImageLike
from vlmad_core.contracts.towers import Backbone
from vlmad_core.pipeline.build import make_backbone
from vlmad_core.pipeline.pipeline import Pipeline
from vlmad_core.registry.registry import Registry
from vlmad_core.report.speed import SPEED, Speed, read_speed, write_speed

__all__ = ["SPEED", "measured", "ready", "representatives", "time_all"]


def representatives(cells: Iterable[Cell], shots: Sequence[int]) -> list[Cell]:
    """One cell for each method and number of normal images: the first category, the first draw."""
    found: dict[tuple[str, int], Cell] = {}
    for cell in cells:
        if cell.status == "waiting" and cell.shots in shots:
            found.setdefault((cell.method, cell.shots), cell)
    return list(found.values())


def ready(cell: Cell, registry: Registry, shared: dict[str, Backbone] | None = None) -> Pipeline:
    """The detector of a cell, with its normal images seen.

    Args:
        cell: Which.
        registry: Where to look for parts.
        shared: Backbones that were built already; one that is built here is added.

    Raises:
        VlmadError: It cannot be built, or a normal image cannot be read.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the benchmark told them
        shared, key = {} if shared is None else shared, cell.spec.backbone.model_dump_json()
        if key not in shared:
            shared[key] = make_backbone(cell.spec.backbone, registry=registry)
        pipeline = build_cell(cell, shared[key], registry)
    pipeline.class_name = cell.category.class_name
    if cell.shots:
        pipeline.fit([sample.image for sample in cell.references], cell.category.class_name)
    return pipeline


def time_all(
    cells: Sequence[Cell], folder: Path, registry: Registry, progress: Callable[[int, int], None] | None = None
) -> list[Speed]:
    """Measure every cell that has no measurement yet, at batch 1.

    Args:
        cells: Of :func:`representatives`.
        folder: ``speed.jsonl`` is written there.
        registry: Where to look for parts.
        progress: Called with methods done, and with all.
    """
    path = folder / SPEED
    for done, cell in enumerate(cells):
        if progress is not None:
            progress(done, len(cells))
        if any((speed.method, speed.shots) == (cell.method, cell.shots) for speed in measured(folder)):
            continue
        images: list[ImageLike] = [sample.image for sample in cell.category.test_samples[:16]]
        write_speed(path, time_detector(cell, ready(cell, registry), images))
    return measured(folder)


def measured(folder: Path) -> list[Speed]:
    """What was measured so far."""
    return read_speed(folder / SPEED) if (folder / SPEED).exists() else []
