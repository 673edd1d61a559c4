"""Where methods are weak: category by category, group by group, and image by image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vlmad_core.errors import ConfigError
from vlmad_core.report.render import Cell, Table
from vlmad_core.report.tables import by_category
from vlmad_study.advice import main_methods
from vlmad_study.document import Block, Heading, Photo, Photos, Shown, Text
from vlmad_study.gallery import ROWS, Tile, read_gallery
from vlmad_study.groups import groups_of
from vlmad_study.material import Material
from vlmad_study.standing import Standing

__all__ = ["gallery_blocks", "weaknesses"]


def weaknesses(study: Material) -> list[Block]:
    """Each category of the main methods, and groups of categories where they are known."""
    if study.advice is None:
        return []
    rows = [row for one in study.advice.ranked for row in one.rows.rows if row["status"] == "done"]
    categories = list(study.advice.best.rows.categories)
    blocks: list[Block] = [Heading("Weaknesses, category by category")]
    if len(categories) > 1:
        blocks.append(Text(_weakest(study.advice.best)))
    for metric in ("image_auroc", "aupro"):
        if any(row.get(metric) is not None for row in rows):
            try:
                blocks.append(Shown(by_category(rows, metric, by=["method", "shots"])))
            except ConfigError as error:
                blocks.append(Text(f"No table: {error}", "note"))
    groups = groups_of(study.datasets[0], categories)
    if groups:
        blocks.append(Shown(_by_group(study.advice.ranked, groups)))
    return blocks


def _weakest(best: Standing) -> str:
    """The weakest category of the recommended method, and whether it is weaker than the strongest."""
    means = {name: best.rows.one(name, "image_auroc") for name in best.rows.categories}
    there = {name: mean for name, mean in means.items() if mean.value is not None}
    order = sorted(there, key=lambda name: there[name].value or 0.0)
    low, high = there[order[0]], there[order[-1]]
    told = f"The recommended method is weakest on “{order[0]}”, image AUROC {100 * (low.value or 0):.1f} %"
    if low.interval is None or high.interval is None:
        return f"{told}, and strongest on “{order[-1]}”, {100 * (high.value or 0):.1f} %."
    apart = low.interval[1] < high.interval[0]
    return (
        f"{told} ({100 * low.interval[0]:.1f} to {100 * low.interval[1]:.1f}), and strongest on “{order[-1]}”, "
        f"{100 * (high.value or 0):.1f} % ({100 * high.interval[0]:.1f} to {100 * high.interval[1]:.1f}). "
        + (
            "The intervals do not overlap."
            if apart
            else "The intervals overlap, so these images do not show that one is harder."
        )
    )


def _by_group(ranked: Sequence[Standing], groups: dict[str, tuple[str, ...]]) -> Table:
    lines = []
    for one in ranked:
        cells = []
        for members in groups.values():
            values = [one.rows.one(name, "image_auroc").value for name in members]
            known = [value for value in values if value is not None]
            cells.append(Cell(value=100 * float(np.mean(known)) if known else None))
        lines.append((Cell(one.method), Cell(str(one.shots)), *cells))
    heads = ("method", "normal images", *(f"{name} ({len(members)})" for name, members in groups.items()))
    return Table(heads, tuple(lines), 1, "Image AUROC by group of categories, in percent; a category may be in two.")


def gallery_blocks(study: Material) -> list[Block]:
    """The best and worst images of each method."""
    folder = study.pictures / "gallery"
    ranked = main_methods(study.advice) if study.advice is not None else []
    place = {(one.method, one.shots): i for i, one in enumerate(ranked)}
    galleries = [tiles for tiles in read_gallery(folder).values() if tiles]
    galleries = [tiles for tiles in galleries if (tiles[0].method, tiles[0].shots) in place]
    if not galleries:
        return []
    galleries.sort(key=lambda tiles: place[tiles[0].method, tiles[0].shots])
    blocks: list[Block] = [
        Heading("Best and worst images"),
        Text(
            "Left the picture, right with heat: clear where the method sees what normal images show too, from purple "
            "over red to "
            "yellow where it sees more. The blue line runs around the true defect. Colours have one scale for each "
            "method. "
            "Images are ordered by how far their score is from those of the normal images of their category; the rank "
            "is among "
            "the judged images of the category, 1 is the most anomalous.",
        ),
    ]
    for tiles in galleries:
        shots = tiles[0].shots
        with_ = f", {shots} normal image{'s' * (shots > 1)}" if shots else ""
        blocks.append(Heading(f"{tiles[0].method}{with_}", 3))
        for row, title in ROWS.items():
            photos = [Photo(folder / tile.picture, _caption(tile)) for tile in tiles if tile.row == row]
            if photos:
                blocks.append(Photos(title, tuple(photos)))
    return blocks


def _caption(tile: Tile) -> str:
    name = tile.image.rpartition("/")[2]
    return f"{tile.category}, {tile.kind}/{name}: score {tile.score:.3g}, rank {tile.rank} of {tile.of}"
