"""Pictures of the worst cases: before and after, each with its map, on one scale."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from vlmad_core.files import write_whole
from vlmad_core.run.overlay import Scale, font, heated
from vlmad_robustness.adversary import attacked_file
from vlmad_robustness.corruptions import CORRUPTIONS
from vlmad_robustness.data import Images
from vlmad_robustness.lighting import LIGHTING
from vlmad_robustness.measure import Measured, corrupted, worst_view
from vlmad_robustness.plan import Cell
from vlmad_robustness.run import ATTACKED, Outcome
from vlmad_robustness.subject import Judged, Subject
from vlmad_robustness.summary import Summary

__all__ = ["Case", "draw_cases"]

_SIDE, _TITLE = 224, 22
_BY_NAME = {corruption.name: corruption for corruption in (*CORRUPTIONS, *LIGHTING)}


@dataclass(frozen=True)
class Case:
    """A picture in the report.

    Args:
        file: PNG, relative to the report.
        text: What it shows.
    """

    file: str
    text: str


def draw_cases(
    subject: Subject, outcome: Outcome, summaries: dict[str, Summary], out: Path, *, count: int = 4
) -> list[Case]:
    """The images that suffered most, of the conditions with the most wrong decisions, then of each attack.

    Args:
        subject: The detector.
        outcome: Results.
        summaries: Of each condition.
        out: Folder of the report; pictures go to ``pictures`` in it.
        count: Conditions shown.
    """
    cases: list[Case] = []
    for cell in _worst_conditions(outcome, summaries, count):
        measured = outcome.measured[cell.id]
        for index, place in _worst_images(measured, outcome.images):
            plain = outcome.images.pictures[index]
            if cell.kind == "worst":
                value = measured.more["values"][place]
                changed, what = plain if value is None else worst_view(cell.name, plain, value), f"worst {cell.name}"
                what += f" ({'as it is' if value is None else f'{value:g}'})"
            else:
                changed, what = corrupted(_BY_NAME[cell.name], plain, cell.level, index), f"{cell.name} {cell.level}"
            name = f"{cell.kind}-{cell.name}-{cell.level}-{'defect' if outcome.images.labels[index] else 'normal'}"
            cases.append(_case(subject, outcome.images, index, changed, what, name.replace(" ", "-"), out))
    for direction in ("raise", "hide"):
        found = outcome.measured.get(Cell("attack", "apgd", max(outcome.plan.epsilons), direction).id)
        if found is None:
            continue
        index = _most_moved(found, outcome, direction)
        file = attacked_file(out / ATTACKED, direction, index)
        if file.exists():
            changed = np.asarray(Image.open(file).convert("RGB"))
            what = f"APGD, epsilon {max(outcome.plan.epsilons)}/255, {direction}"
            cases.append(_case(subject, outcome.images, index, changed, what, f"attack-{direction}", out, attack=True))
    return cases


def _worst_conditions(outcome: Outcome, summaries: dict[str, Summary], count: int) -> list[Cell]:
    """Of each name its most severe condition; those with the most wrong decisions, then the lowest AUROC."""
    last: dict[str, Cell] = {}
    for cell in outcome.cells:
        known = cell.id in outcome.measured and cell.kind in ("corruption", "worst")
        key = f"{cell.kind}:{cell.name}"
        if known and (key not in last or cell.level > last[key].level):
            last[key] = cell

    def badness(cell: Cell) -> tuple[float, float]:
        summary = summaries[cell.id]
        return (-(summary.false_alarms.share + summary.misses.share), summary.auroc)

    return sorted(last.values(), key=badness)[:count]


def _worst_images(measured: Measured, images: Images) -> list[tuple[int, int]]:
    """The normal image with the highest score and the defective one with the lowest: number and place."""
    found = []
    for wanted, choose in ((False, max), (True, min)):
        pairs = [
            (score, index, place)
            for place, (score, index) in enumerate(zip(measured.scores, measured.images, strict=True))
            if bool(images.labels[index]) is wanted
        ]
        if pairs:
            _, index, place = choose(pairs)
            found.append((index, place))
    return found


def _most_moved(measured: Measured, outcome: Outcome, direction: str) -> int:
    clean = outcome.measured["clean:working size:0"]
    before = dict(zip(clean.images, clean.scores, strict=True))
    sign = 1 if direction == "raise" else -1
    moved = [(sign * (score - before[i]), i) for score, i in zip(measured.scores, measured.images, strict=True)]
    return max(moved)[1]


def _case(
    subject: Subject,
    images: Images,
    index: int,
    changed: NDArray[np.uint8],
    what: str,
    name: str,
    out: Path,
    *,
    attack: bool = False,
) -> Case:
    plain = images.pictures[index]
    before, after = subject.judge(iter([plain, changed]))
    kind = "defective" if images.labels[index] else "normal"
    panels: list[tuple[str, Image.Image]] = [("as it is", _square(plain)), (what, _square(changed))]
    if attack:
        small = np.asarray(
            Image.fromarray(plain).resize((changed.shape[1], changed.shape[0]), Image.Resampling.BICUBIC)
        )
        difference = np.clip(128 + 16.0 * (changed.astype(np.float32) - small), 0, 255).astype(np.uint8)
        panels.append(("difference x 16", _square(difference)))
    scale = _scale(before, after)
    for text, one, picture in (("before", before, plain), ("after", after, changed)):
        heat = heated(_square(picture), one.prediction.map_at((_SIDE, _SIDE)), scale)
        panels.append((f"{text}: {one.score:.4f} {'ALARM' if one.alarm else 'pass'}", heat))
    file = f"pictures/{name}.png"
    _write(out / file, panels)
    threshold = subject.rule.threshold
    return Case(
        file,
        f"{what}, {kind} image `{Path(images.paths[index]).name}`: score {before.score:.4f} → {after.score:.4f}, "
        f"threshold {threshold:.4f}; {'alarm' if before.alarm else 'pass'} → {'alarm' if after.alarm else 'pass'}.",
    )


def _scale(before: Judged, after: Judged) -> Scale:
    """From the median of the map before to the highest value of both, so that the two maps can be compared."""
    low = float(np.median(before.prediction.raw_map))
    high = max(float(before.prediction.raw_map.max()), float(after.prediction.raw_map.max()))
    return Scale(low, max(high, low + 1e-6))


def _square(picture: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(picture).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)


def _write(path: Path, panels: Sequence[tuple[str, Image.Image]]) -> None:
    gap = 6
    sheet = Image.new("RGB", (len(panels) * (_SIDE + gap) - gap, _SIDE + _TITLE), "white")
    pen = ImageDraw.Draw(sheet)
    for i, (text, picture) in enumerate(panels):
        sheet.paste(picture, (i * (_SIDE + gap), _TITLE))
        pen.text((i * (_SIDE + gap) + 2, 4), text, fill=(20, 20, 20), font=font(560))
    path.parent.mkdir(parents=True, exist_ok=True)
    stream = io.BytesIO()
    sheet.save(stream, "PNG")
    write_whole(path, stream.getvalue())
