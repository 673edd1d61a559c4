"""The files that people read: tables as Markdown, LaTeX, CSV and HTML, and plots as PNG and SVG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from vlmad_core.errors import ConfigError
from vlmad_core.files import write_whole
from vlmad_core.report import plots, published
from vlmad_core.report.rows import Row
from vlmad_core.report.speed import SPEED, read_speed
from vlmad_core.report.speed_table import speed_table
from vlmad_core.report.tables import Table, by_category, page, table

__all__ = ["means_table", "present"]

_EACH = ("image_auroc", "pixel_auroc", "aupro", "aupro_200", "au_spro")
"""Metrics that get a table of their own, and a plot."""


def means_table(rows: Sequence[Row]) -> Table | None:
    """Means over categories; None without results, or where the rows must not be averaged."""
    try:
        return table(_shown(rows)) if any(row["status"] == "done" for row in rows) else None
    except ConfigError:
        return None


def present(rows: Sequence[Row], folder: Path) -> Iterator[str]:
    """Write ``tables/`` and ``plots/``; gives a sentence for each thing that could not be made."""
    shown = _shown(rows)
    if not any(row["status"] == "done" for row in shown):
        return
    metrics = [name for name in _EACH if any(row.get(name) is not None for row in shown)]
    try:
        tables = {"means": table(shown)} | {f"{name} by category": by_category(shown, name) for name in metrics}
        comparison = published.against(shown)
        speeds = read_speed(folder / SPEED) if (folder / SPEED).exists() else []
    except ConfigError as error:
        yield f"no tables: {error}"
        return
    if comparison is not None:
        tables["published"] = comparison
    if speeds:
        tables["speed"] = speed_table(speeds)
    (folder / "tables").mkdir(parents=True, exist_ok=True)
    for name, one in tables.items():
        for suffix, text in (
            ("md", one.markdown()),
            ("tex", one.latex()),
            ("csv", one.csv()),
        ):
            write_whole(folder / "tables" / f"{name.replace(' ', '-')}.{suffix}", text.encode())
    write_whole(folder / "tables" / "tables.html", page(*tables.values(), title="Benchmark").encode())
    (folder / "plots").mkdir(parents=True, exist_ok=True)
    try:
        for name in metrics:
            plots.bars(shown, folder / "plots" / name.replace("_", "-"), metric=name)
            if len({row["shots"] for row in shown}) > 1:
                plots.shots(shown, folder / "plots" / f"{name.replace('_', '-')}-shots", metric=name)
        if speeds and metrics:
            plots.speed(shown, speeds, folder / "plots" / "speed", metric=metrics[0])
    except ConfigError as error:
        yield f"no plots: {error}"


def _shown(rows: Sequence[Row]) -> list[Row]:
    """A cell that was skipped is no line of a table."""
    return [row for row in rows if row["status"] != "skipped"]
