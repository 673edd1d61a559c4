"""The best and worst images of a method: the anomaly map on top, the true defect outlined."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vlmad_core.benchmark import Cell, path_of
from vlmad_core.contracts import Backbone, Prediction, open_image
from vlmad_core.contracts.device import AUTO
from vlmad_core.datasets import Sample, mask_of
from vlmad_core.errors import VlmadError
from vlmad_core.files import write_whole
from vlmad_core.registry import Registry
from vlmad_core.run.disk import file_name
from vlmad_core.run.overlay import Scale, heated
from vlmad_study.cost import ready

__all__ = ["ROWS", "Tile", "draw_gallery", "read_gallery"]

ROWS = {
    "missed": "Missed: the defective images with the lowest scores",
    "alarms": "False alarms: the normal images with the highest scores",
    "found": "Found: the defective images with the highest scores",
}
EACH = 4
_SIDE, _GAP = 224, 4
_OUTLINE = (0, 229, 255)
_INDEX = "gallery.json"


@dataclass(frozen=True)
class Tile:
    """One image of the gallery.

    Args:
        method: Label.
        shots: Normal images that it was fitted to.
        row: Of :data:`ROWS`.
        picture: Path of the JPEG in the folder of the gallery.
        image: Path in the data set.
        category: Of it.
        kind: Of defect, as the data set calls it.
        score: Raw.
        rank: By score among the judged images of the category, 1 is the most anomalous.
        of: How many those are.
    """

    method: str
    shots: int
    row: str
    picture: str
    image: str
    category: str
    kind: str
    score: float
    rank: int
    of: int


@dataclass(frozen=True)
class _Scored:
    """An image of the data set with its score."""

    cell: Cell
    sample: Sample
    path: str
    score: float
    rank: int
    of: int
    distance: float  # from the median of normal scores, in their standard deviations: comparable between categories


def draw_gallery(
    cells: Sequence[Cell],
    scores: Path,
    out: Path,
    registry: Registry,
    progress: Callable[[int, int], None],
    *,
    device: str = AUTO,
) -> list[Tile]:
    """Draw the best and worst images of each method; what is there is not drawn again.

    Args:
        cells: Of the first draw: every category of each method and number of normal images.
        scores: Folder with the scores of each cell.
        out: Folder for the gallery.
        registry: Where to look for parts.
        progress: Called with methods done and methods in all; what it raises stops the drawing.
        device: Where backbones run.
    """
    methods: dict[tuple[str, int], list[Cell]] = {}
    for cell in cells:
        methods.setdefault((cell.method, cell.shots), []).append(cell)
    tiles = read_gallery(out)
    for done, ((method, shots), own) in enumerate(methods.items()):
        progress(done, len(methods))
        key = sorted(cell.key for cell in own)
        if tiles.get(json.dumps([method, shots, key])) is None:
            tiles[json.dumps([method, shots, key])] = _draw(own, scores, out, registry, device)
            index = {name: [asdict(tile) for tile in some] for name, some in tiles.items()}
            write_whole(out / _INDEX, json.dumps(index, indent=1).encode())
    wanted = [json.dumps([m, s, sorted(cell.key for cell in own)]) for (m, s), own in methods.items()]
    return [tile for name in wanted for tile in tiles[name]]


def read_gallery(out: Path) -> dict[str, list[Tile]]:
    """What was drawn so far, by method."""
    try:
        record: Mapping[str, Any] = json.loads((out / _INDEX).read_text(encoding="utf-8"))
        return {name: [Tile(**tile) for tile in tiles] for name, tiles in record.items()}
    except (OSError, ValueError, TypeError):
        return {}


def _draw(cells: Sequence[Cell], scores: Path, out: Path, registry: Registry, device: str) -> list[Tile]:
    scored = [one for cell in cells for one in _read(cell, scores)]
    bad = sorted((one for one in scored if one.sample.label), key=lambda one: one.distance)
    good = sorted((one for one in scored if not one.sample.label), key=lambda one: -one.distance)
    missed = bad[:EACH]
    rows = {"missed": missed, "alarms": good[:EACH], "found": [one for one in bad[::-1] if one not in missed][:EACH]}
    wanted = [one for some in rows.values() for one in some]
    # Scores of a few usual normal images too, for the scale of colours.
    usual = good[EACH :: max(1, len(good) // EACH)][:EACH]
    predictions = _predict([*wanted, *usual], registry, device)
    if not predictions:
        return []
    normal, defective = (*rows["alarms"], *usual), (*rows["missed"], *rows["found"])
    scale = _scale(*([predictions[one.path].raw_map for one in some] for some in (normal, defective)))
    folder = out / file_name(f"{cells[0].method}/{cells[0].shots}")
    folder.mkdir(parents=True, exist_ok=True)
    tiles = []
    for row, some in rows.items():
        for number, one in enumerate(some, 1):
            picture = _tile(one.sample, predictions[one.path], scale, one.cell.bits)
            data = io.BytesIO()
            picture.save(data, "JPEG", quality=88)
            path = folder / f"{row}-{number}.jpg"
            write_whole(path, data.getvalue())
            tiles.append(
                Tile(
                    method=one.cell.method,
                    shots=one.cell.shots,
                    row=row,
                    picture=path.relative_to(out).as_posix(),
                    image=one.path,
                    category=one.cell.category.name,
                    kind=one.sample.kind,
                    score=one.score,
                    rank=one.rank,
                    of=one.of,
                )
            )
    return tiles


def _read(cell: Cell, scores: Path) -> list[_Scored]:
    """Every image of a cell; nothing where the cell failed."""
    try:
        lines = [json.loads(line) for line in (scores / f"{cell.key}.jsonl").read_text(encoding="utf-8").splitlines()]
    except OSError:
        return []
    samples = {path_of(sample, cell.category.root): sample for sample in cell.category.test_samples}
    normal = np.array([line["score"] for line in lines if not line["label"]])
    if not normal.size:
        return []
    middle, spread = float(np.median(normal)), float(normal.std()) or 1e-9
    order = sorted((line["score"] for line in lines), reverse=True)
    return [
        _Scored(
            cell=cell,
            sample=samples[line["path"]],
            path=line["path"],
            score=line["score"],
            rank=order.index(line["score"]) + 1,
            of=len(lines),
            distance=(line["score"] - middle) / spread,
        )
        for line in lines
        if line["path"] in samples
    ]


def _predict(wanted: Sequence[_Scored], registry: Registry, device: str) -> dict[str, Prediction]:
    """By path; each category with the normal images of its own cell, on one backbone."""
    found: dict[str, Prediction] = {}
    cells, shared = {one.cell.key: one.cell for one in wanted}, dict[str, Backbone]()
    for key, cell in cells.items():
        own = [one for one in wanted if one.cell.key == key]
        pipeline = ready(cell, registry, shared, device=device)
        made = pipeline.predict([one.sample.image for one in own], cell.category.class_name)
        found |= zip([one.path for one in own], made, strict=True)
    return found


def _scale(normal: Sequence[np.ndarray], bad: Sequence[np.ndarray]) -> Scale:
    """From the median of normal maps, with their top in between, to the top of all maps."""
    flat = np.concatenate([map_.ravel() for map_ in normal or bad])
    low, top = float(np.median(flat)), float(np.quantile(flat, 0.998))
    high = max([float(np.quantile(map_, 0.998)) for map_ in bad] or [top])
    high = max(high, top + (top - low), low + 1e-6)
    return Scale(low, high, min(top, high))


def _tile(sample: Sample, prediction: Prediction, scale: Scale, bits: int | str | None) -> Image.Image:
    """The image as it is and with its map, side by side, the defect outlined in both."""
    image = open_image(sample.image, bits=bits)
    share = _SIDE / max(image.size)
    width, height = (max(1, round(side * share)) for side in image.size)
    plain = image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
    hot = heated(plain, prediction.map_at((height, width)), scale)
    edge = _edge(sample, (height, width))
    paper = Image.new("RGB", (2 * width + _GAP, height), (255, 255, 255))
    for i, picture in enumerate((plain, hot)):
        pixels = np.array(picture)
        pixels[edge] = _OUTLINE
        paper.paste(Image.fromarray(pixels), (i * (width + _GAP), 0))
    return paper


def _edge(sample: Sample, size: tuple[int, int]) -> np.ndarray:
    """A line around the mask, two pixels wide, outside of it so that small defects stay in sight."""
    none = np.zeros(size, bool)
    try:
        mask = mask_of(sample, size) if sample.label and sample.masks else none
    except VlmadError:
        return none
    near, wide = mask, mask
    for turn in range(4):
        padded = np.pad(wide, 1)
        wide = padded[1:-1, 1:-1] | padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
        near = wide if turn == 1 else near
    edge: np.ndarray = wide & ~near
    return edge
