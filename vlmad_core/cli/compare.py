"""``vlmad compare``: whether one method of a benchmark is better than another on the same images."""

from __future__ import annotations

import math
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlmad_core.cli import terminal

if TYPE_CHECKING:
    from vlmad_core.report.compare import Comparison


class ImageMetric(StrEnum):
    """What images are compared by."""

    image_auroc = "image_auroc"
    image_ap = "image_ap"
    image_f1max = "image_f1max"


def compare_command(
    folder: Annotated[Path, typer.Argument(help="Folder of a benchmark.")],
    first: Annotated[str, typer.Argument(help="Label of a method; LABEL:4 for its runs with 4 normal images.")],
    second: Annotated[str, typer.Argument(help="The one to compare it with.")],
    metric: Annotated[ImageMetric, typer.Option(help="What images are compared by.")] = ImageMetric.image_auroc,
    backbone: Annotated[
        str | None, typer.Option(help="Label of the backbone, where the methods ran on several.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Compare two methods of a benchmark on the images that both scored.

    The values with their 95 % intervals, the difference in each category and in the mean over all with its interval,
    and p. Where the interval of the difference holds 0, no difference was shown; that is no proof that there is none.
    """
    from vlmad_core.report.compare import compare, comparison_table

    found = compare(folder, first, second, metric=metric.value, backbone=backbone)
    if as_json:
        terminal.print_json([_plain(one) for one in found])
        return
    table = comparison_table(found, first, second, metric.value)
    terminal.table(table.columns, table.plain(), right=(first, second, "difference", "p"))
    terminal.note(table.caption)
    for note, letter in table.notes.items():
        terminal.note(f"[{letter}] {note}")


def _plain(one: Comparison) -> dict[str, Any]:
    """JSON has no NaN."""
    pair = None if one.paired is None else asdict(one.paired)
    if pair is not None:
        pair = {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in pair.items()}
    return {**asdict(one), "paired": pair, "verdict": one.verdict}
