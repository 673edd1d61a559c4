"""After the sections: weak categories, best and worst images, what was left out, and how it was done."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from vlmad_core.errors import ConfigError
from vlmad_core.report import Row, Table, by_category
from vlmad_core.report.render import Cell
from vlmad_core.version import __version__
from vlmad_study.class_names import groups_of
from vlmad_study.gallery import ROWS, Tile, read_gallery
from vlmad_study.ranking import Ranked
from vlmad_study.recommendation import main_methods
from vlmad_study.report.content import Content
from vlmad_study.report.render import Markdown, bullets, heading, paragraph, photo_rows, table
from vlmad_study.time_limit import minutes

__all__ = ["appendix", "categories", "examples"]

NOT_TUNED = (
    "Nothing was tuned on this data: every threshold, temperature, weight and prompt is the default of its method, no "
    "method that is ranked here was trained on this data set, and normal images were drawn by seed."
)


def categories(content: Content) -> list[Markdown]:
    """Each category of the ready methods, and groups of categories where they are known."""
    found = content.recommendation
    if found is None or len(found.best.rows.categories) < 2:
        return []
    rows = [row for one in found.ranked for row in one.rows.rows if row["status"] == "done"]
    blocks = [heading("Category by category"), paragraph(_weakest(found.best))]
    for metric in ("image_auroc", "aupro"):
        if any(row.get(metric) is not None for row in rows):
            try:
                blocks.append(table(by_category(rows, metric, by=["method", "shots"])))
            except ConfigError as error:
                blocks.append(paragraph(f"No table: {error}"))
    groups = groups_of(content.datasets[0], found.best.rows.categories)
    return [*blocks, table(_by_group(found.ranked, groups))] if groups else blocks


def examples(content: Content) -> list[Markdown]:
    """The best and worst images of each main method."""
    folder = content.images / "examples"
    ranked = main_methods(content.recommendation) if content.recommendation is not None else []
    order = {(one.method, one.shots): i for i, one in enumerate(ranked)}
    galleries = [tiles for tiles in read_gallery(folder).values() if tiles]
    galleries = [tiles for tiles in galleries if (tiles[0].method, tiles[0].shots) in order]
    if not galleries:
        return []
    galleries.sort(key=lambda tiles: order[tiles[0].method, tiles[0].shots])
    about = (
        "Left the image, right with its anomaly map: clear where the method sees what normal images show too, from "
        "purple over red to yellow where it sees more. The light blue line surrounds the true defect. Colours have one "
        "scale for each method. Rank 1 is the highest score among the test images of the category."
    )
    blocks = [heading("Best and worst images"), paragraph(about)]
    for tiles in galleries:
        shots = f", {tiles[0].shots} normal image{'s' * (tiles[0].shots > 1)}" if tiles[0].shots else ""
        blocks.append(heading(f"{tiles[0].method}{shots}", 3))
        for row, title in ROWS.items():
            photos = [(folder / tile.picture, _caption(tile)) for tile in tiles if tile.row == row]
            if photos:
                blocks += [paragraph(title), photo_rows(photos, content.out)]
    return blocks


def appendix(content: Content) -> list[Markdown]:
    """What is missing, and everything that is needed to repeat it."""
    missing = [*content.scope.cuts.values()]
    missing += dict.fromkeys(sentence for some in content.left_out.values() for sentence in some)
    unread = {
        (f["path"], f["error"]) for some in content.rows.values() for r in some for f in r.get("unreadable") or ()
    }
    missing += [f"Could not be read: {path} ({error})" for path, error in sorted(unread)]
    blocks = [heading("What was left out"), bullets(missing) if missing else paragraph("Nothing.")]
    blocks += [heading("How it was done"), paragraph(NOT_TUNED), bullets(_facts(content))]
    where = (
        "Every number is in SECTION/rows.jsonl, every score of every image in SECTION/scores/, and the summary in "
        "study.json. The same command with the same --out measures nothing twice; with more --minutes it completes "
        "what was cut."
    )
    return [*blocks, paragraph(where)]


def _weakest(best: Ranked) -> str:
    means = {name: best.rows.one(name, "image_auroc") for name in best.rows.categories}
    known = {name: mean for name, mean in means.items() if mean.value is not None}
    order = sorted(known, key=lambda name: known[name].value or 0.0)
    low, high = known[order[0]], known[order[-1]]
    if low.value == high.value:
        return "The recommended method has the same image AUROC on every category."
    text = f"The recommended method is weakest on “{order[0]}”, image AUROC {100 * (low.value or 0):.1f} %"
    if low.interval is None or high.interval is None:
        return f"{text}, and strongest on “{order[-1]}”, {100 * (high.value or 0):.1f} %."
    apart = low.interval[1] < high.interval[0]
    return (
        f"{text} ({100 * low.interval[0]:.1f} to {100 * low.interval[1]:.1f}), and strongest on “{order[-1]}”, "
        f"{100 * (high.value or 0):.1f} % ({100 * high.interval[0]:.1f} to {100 * high.interval[1]:.1f}). "
        "The intervals " + ("do not overlap." if apart else "overlap, so these images do not show that one is harder.")
    )


def _by_group(ranked: Sequence[Ranked], groups: dict[str, tuple[str, ...]]) -> Table:
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


def _caption(tile: Tile) -> str:
    name = tile.image.rpartition("/")[2]
    return f"{tile.category}, {tile.kind}/{name}: score {tile.score:.3g}, rank {tile.rank} of {tile.of}"


def _facts(content: Content) -> list[str]:
    rows = [row for some in content.rows.values() for row in some if row["status"] == "done"]
    info, scope = content.info, content.scope
    sha = info.provenance.get("sha256", "")
    weights = info.provenance.get("weights", "not named") + (f" (sha256 {sha[:16]})" if sha else "")
    normals = ", ".join(map(str, scope.shots)) or "none"
    facts = [
        f"Backbone '{info.label}': {info.depth} blocks, {info.size[0]} x {info.size[1]} pixels, "
        f"{'with' if info.has_text else 'without'} a text encoder; weights {weights}.",
        *_images(content, rows),
        f"Normal images: {normals}; draws with seeds 0 to {scope.seeds - 1} in section shots, seed 0 elsewhere.",
        f"Class names: {'; '.join(_class_names(content))}.",
        f"vlmad {__version__}, torch {torch.__version__}; {torch.get_num_threads()} threads.",
        f"{len(rows)} rows in {minutes(float(content.record.get('seconds', 0.0)))} over all calls; limit of a call "
        f"{content.settings.minutes:g} minutes; sections {', '.join(content.settings.sections)}.",
    ]
    trained = sorted({row["method"] for row in rows if row["trained_on"]})
    if trained:
        facts.append(
            f"Trained here, {content.settings.epochs} epochs on at most {scope.train_images} images each: "
            f"{'; '.join(trained)}. Other options are those of each paper, without mosaics."
        )
    return facts


def _images(content: Content, rows: Sequence[Row]) -> list[str]:
    facts = []
    for dataset in content.datasets:
        counts: dict[str, tuple[int, int]] = {}
        for row in rows:
            if row["dataset"] == dataset:
                most = counts.get(row["category"], (0, 0))
                counts[row["category"]] = max(most[0], row["good"]), max(most[1], row["defective"])
        text = "; ".join(f"{name} {good} normal + {bad} defective" for name, (good, bad) in counts.items())
        facts.append(f"Tested on {dataset}: {text}.")
    return facts


def _class_names(content: Content) -> list[str]:
    names = {row["category"]: row["class_name"] for row in content.rows["shots"] or content.rows["features"]}
    return [f"{category} “{name}”" for category, name in names.items()]
