"""What each method costs, as a table."""

from __future__ import annotations

from collections.abc import Sequence

from vlmad_core.report.means import as_text
from vlmad_core.report.render import DASH, Cell, Table
from vlmad_core.report.speed import Speed

__all__ = ["speed_table"]

_HEADS = ("p50 [ms]", "p95 [ms]", "p99 [ms]", "images/s", "memory [MB]", "parameters [M]", "learned [M]", "GFLOP")


def speed_table(speeds: Sequence[Speed]) -> Table:
    """A line for each measurement.

    Args:
        speeds: As in ``speed.jsonl``.
    """
    several = len({_place(one) for one in speeds}) > 1
    lines = [
        (
            Cell(one.method, notes=(f"On {_place(one)}.",) if several else ()),
            Cell(one.backbone),
            Cell(as_text(one.image_size)),
            Cell(DASH if one.shots is None else str(one.shots)),
            Cell(str(one.batch)),
            *(Cell(value=value) for value in (one.p50_ms, one.p95_ms, one.p99_ms)),
            Cell(value=one.images_per_second),
            Cell(value=one.peak_memory_mb),
            *(Cell(value=count / 1e6) for count in (one.parameters, one.learned)),
            Cell(value=one.flops / 1e9),
        )
        for one in speeds
    ]
    at = "" if several or not speeds else f" On {_place(speeds[0])}."
    fewest = min((one.images for one in speeds), default=0)
    caption = (
        "Speed, from the file to the map at the size of the image: milliseconds for one image by itself, over at least "
        f"{fewest} images.{at} Memory: most held at a time, {' or '.join(sorted({one.memory for one in speeds}))}, "
        "model and process included. GFLOP: for one image, two for each multiply-add."
    )
    return Table(("method", "backbone", "size", "shots", "batch", *_HEADS), tuple(lines), 5, caption)


def _place(one: Speed) -> str:
    return f"{one.machine}, {one.device}, {one.dtype}, {one.threads} thread{'s' * (one.threads > 1)}"
