"""How fast the methods of a benchmark are: one by one, apart from their cells, on a few of the same images."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from vlmad_core.benchmark.cells import Cell, build_cell, path_of
from vlmad_core.benchmark.features import failure_message
from vlmad_core.benchmark.speed import measure
from vlmad_core.contracts.device import AUTO
from vlmad_core.contracts.images import ImageLike
from vlmad_core.contracts.towers import Backbone
from vlmad_core.pipeline.build import make_backbone
from vlmad_core.pipeline.pipeline import Pipeline
from vlmad_core.registry.registry import Registry
from vlmad_core.report.rows import Row
from vlmad_core.report.speed import SPEED, Speed, read_speed, write_speed

__all__ = ["time_cells", "time_detector"]

_SECONDS = 6.0
"""Of the clock for each method, about."""
_FEWEST, _MOST = 10, 100
_IMAGES = 16


def time_cells(
    cells: Iterable[Cell],
    rows: Mapping[str, Row],
    folder: Path,
    registry: Registry,
    *,
    device: str = AUTO,
    progress: Callable[[str], None] = lambda message: None,
    on_message: Callable[[str], None] = lambda text: None,
) -> None:
    """Measure every method, backbone, size and number of shots that has results and is not in ``speed.jsonl`` yet.

    Each is timed at batch 1, on its first category with the normal images of its first draw.

    Args:
        cells: Of the plan, by backbone.
        rows: By cell; what is not done is not timed.
        folder: ``speed.jsonl`` is written there, after each method.
        registry: Where to look for parts.
        device: Where backbones run.
        progress: Called with what goes on.
        on_message: Called with a sentence for each method that could not be timed.
    """
    there = {_key(one) for one in (read_speed(folder / SPEED) if (folder / SPEED).exists() else [])}
    wanted: dict[tuple[object, ...], Cell] = {}
    for cell in cells:
        row = rows[cell.key]
        if row["status"] == "done":
            wanted.setdefault((cell.method, cell.backbone, tuple(row["image_size"] or ()), cell.shots), cell)
    missing = [cell for key, cell in wanted.items() if key not in there]
    for spec, group in groupby(missing, key=lambda cell: cell.spec.backbone):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the run reported them
            backbone = make_backbone(spec, device=device, registry=registry)
            for cell in group:
                progress(f"speed of {cell.method} on {cell.backbone}, {cell.shots} shots")
                try:
                    write_speed(folder / SPEED, _time(cell, rows[cell.key], backbone, registry))
                except OSError:  # the disk: the whole run has to know
                    raise
                except Exception as error:
                    on_message(f"no speed of {cell}: {failure_message(error)}")


def _time(cell: Cell, row: Row, backbone: Backbone, registry: Registry) -> Sequence[Speed]:
    pipeline, class_name = build_cell(cell, backbone, registry), cell.category.class_name
    if cell.shots:
        pipeline.fit([sample.image for sample in cell.references], class_name)
    broken = {one["path"] for one in row["unreadable"]}
    images = [
        sample.image for sample in cell.category.test_samples if path_of(sample, cell.category.root) not in broken
    ][:_IMAGES]
    return time_detector(cell, pipeline, images)


def time_detector(cell: Cell, pipeline: Pipeline, images: Sequence[ImageLike]) -> list[Speed]:
    """Measure the detector of a cell at batch 1, for some seconds, on images that can be read."""
    class_name = cell.category.class_name
    pipeline.predict(images[0], class_name)
    started = time.perf_counter()
    pipeline.predict(images[-1], class_name)
    repeats = int(min(_MOST, max(_FEWEST, _SECONDS / 2 / (time.perf_counter() - started))))
    about: dict[str, Any] = {"method": cell.method, "backbone": cell.backbone, "shots": cell.shots}
    return measure(pipeline, images, class_name=class_name, batch_sizes=(1,), repeats=repeats, **about)


def _key(speed: Speed) -> tuple[object, ...]:
    return speed.method, speed.backbone, speed.image_size, speed.shots
