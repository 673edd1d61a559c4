"""The chapter on what each method costs."""

from __future__ import annotations

from vlmad_core.errors import ConfigError
from vlmad_core.report import plots
from vlmad_core.report.render import Cell, Table
from vlmad_study.document import Block, Heading, Picture, Shown, Text
from vlmad_study.material import Material

__all__ = ["cost_blocks"]

_HEADS = (
    "method",
    "normal images",
    "p50 [ms]",
    "p95 [ms]",
    "p99 [ms]",
    "images/s",
    "memory [MB]",
    "parameters [M]",
    "GFLOP an image",
)


def cost_blocks(study: Material) -> list[Block]:
    """A table at batch 1, and a picture of accuracy against speed."""
    blocks: list[Block] = [Heading("5 Efficiency: what it costs")]
    speeds = sorted(study.speeds, key=lambda one: one.p50_ms or 0.0)
    if not speeds:
        return [*blocks, Text("Nothing was measured.")]
    fast, slow = speeds[0], speeds[-1]
    blocks.append(
        Text(
            f"“{fast.method}” is the fastest, {fast.p50_ms or 0:.0f} ms for one image in the median; “{slow.method}” "
            "the slowest, "
            f"{slow.p50_ms or 0:.0f} ms, {(slow.p50_ms or 0) / max(1e-9, fast.p50_ms or 0):.0f} times as long."
        )
    )
    lines = tuple(
        (
            Cell(one.method),
            Cell(str(one.shots or 0)),
            *(Cell(value=value) for value in (one.p50_ms, one.p95_ms, one.p99_ms, one.images_per_second)),
            Cell("\u2013" if one.peak_memory_mb is None else f"{one.peak_memory_mb:,.0f}"),
            Cell(value=one.parameters / 1e6),
            Cell(value=one.flops / 1e9),
        )
        for one in speeds
    )
    about = (
        f"From the file to the map at the size of the image, one image at a time, on {fast.machine}, {fast.device}, "
        f"{fast.threads} threads, {fast.dtype}, {fast.image_size[0]} x {fast.image_size[1]} pixels. p50, p95, p99: of "
        "one image "
        f"by itself, over at least {min(one.images for one in speeds)} of them. Memory: of the whole process, which "
        "also holds "
        "Python and torch. Other programs on the machine make all of it slower."
    )
    blocks.append(Shown(Table(_HEADS, lines, 1, about)))
    there = {(one.method, one.shots) for one in speeds}
    rows = [r for r in study.rows.get("shots", []) if r["status"] == "done" and (r["method"], r["shots"]) in there]
    if rows:
        try:
            path = study.pictures / "efficiency"
            picture = plots.speed(rows, speeds, path, by=["method", "shots"])[0]
            blocks.append(Picture(picture, "Image AUROC against images a second"))
        except ConfigError as error:
            blocks.append(Text(f"No picture: {error}"))
    return blocks
