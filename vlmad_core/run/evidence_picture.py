"""One picture of the reasons for one image: heat, suspicious place, nearest normal place, bars of contributions."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace

from PIL import Image, ImageDraw, ImageFont

from vlmad_core.contracts.data import Prediction
from vlmad_core.contracts.memory import budget
from vlmad_core.inspection.evidence import Evidence, Reason
from vlmad_core.run.explain import MOST_REASONS, NormalCrop, crop_around, evidence_json, normal_crop
from vlmad_core.run.overlay import Scale, heated, panel, picture_box, printable
from vlmad_core.run.results import Result, evidence_names

__all__ = ["draw_evidence", "evidence_files"]

_WIDTH, _PHOTO, _PHOTO_HEIGHT, _PAD, _CROP, _LINE = 1040, 520, 640, 16, 228, 27
_INK, _FAINT, _TRACK = (238, 238, 240), (160, 160, 168), (44, 44, 52)
_RAISES, _LOWERS, _PLACE = (252, 103, 31), (86, 160, 255), (64, 224, 208)
_DRAWING_BYTES = 12_000_000


def draw_evidence(
    image: Image.Image,
    prediction: Prediction,
    evidence: Evidence,
    normal: NormalCrop,
    scale: Scale | None = None,
    title: str = "",
    drawn: Image.Image | None = None,
) -> Image.Image:
    """The image with heat and its top region, that region beside the nearest normal one, and what adds to the score.

    Args:
        image: As it was given, 8-bit RGB, perhaps smaller.
        prediction: Of this image.
        evidence: Of this prediction.
        normal: The nearest normal place.
        scale: Colours; None: from this map alone.
        title: Beside the score, such as the name of the file.
        drawn: The overlay from `vlmad_core.run.overlay.draw`, where there is one: its heat is used again.
    """
    share = min(_PHOTO / image.width, _PHOTO_HEIGHT / image.height)
    width, height = max(1, round(image.width * share)), max(1, round(image.height * share))
    if drawn is None:
        scale = scale or Scale.of_picture(prediction.raw_map)
        resized = image.resize((width, height), Image.Resampling.BICUBIC)
        photo = heated(resized, prediction.map_at((height, width)), scale)
    else:
        photo = drawn.resize((width, height), Image.Resampling.BILINEAR, _photo_box(drawn, image.width / image.height))
    by = width / prediction.size[1], height / prediction.size[0]
    _outline(photo, evidence, by)
    reasons = evidence.reasons(MOST_REASONS)
    has_crops = evidence.nearest is not None
    right = 2 * _LINE + (_CROP + 3 * _LINE if has_crops else 0) + _bars_height(reasons)
    paper = panel(_WIDTH, max(height + _LINE, right) + 3 * _PAD + _LINE)
    pen, letters = ImageDraw.Draw(paper), ImageFont.load_default(17)
    pen.text((_PAD, _PAD), f"score {prediction.score:.4g}", _INK, letters)
    pen.text((_WIDTH - _PAD, _PAD), _shortened(printable(title), 60), _FAINT, letters, anchor="ra")
    top = 2 * _PAD + _LINE
    paper.paste(photo, (_PAD + (_PHOTO - width) // 2, top))
    small = ImageFont.load_default(14)
    pen.text((_PAD, top + height + 6), "outlined: the area around the highest value of the map", _FAINT, small)
    left, y = 2 * _PAD + _PHOTO, top
    if has_crops:
        y = _draw_pair(paper, (left, y), image, prediction, evidence, normal)
    _draw_bars(paper, (left, y, _WIDTH - _PAD), reasons, evidence)
    return paper


def evidence_files(
    result: Result,
    prediction: Prediction,
    image: Image.Image,
    scale: Scale | None,
    title: str = "",
    *,
    drawn: Image.Image | None = None,
    bits: int | str | None = None,
) -> tuple[Result, dict[str, bytes]]:
    """The files about the reasons for one image, by name, and its result with these names.

    Args:
        result: With its reasons.
        prediction: With its evidence.
        image: As it was given, 8-bit RGB, perhaps smaller.
        scale: Colours.
        title: Beside the score.
        drawn: The overlay, where there is one.
        bits: Of the values in 16-bit grey of the normal images.
    """
    evidence = prediction.evidence()
    normal = normal_crop(evidence, bits=bits)
    picture, numbers, crop = evidence_names(result.path)
    files = {numbers: evidence_json(evidence)}
    with budget.reserve(_DRAWING_BYTES):
        files[picture] = _jpeg(draw_evidence(image, prediction, evidence, normal, scale, title, drawn))
        if normal.image is not None:
            files[crop] = _jpeg(normal.image)
    nearest = result.nearest_normal
    if nearest is not None:
        box = None if normal.box is None else list(normal.box)
        nearest = {**nearest, "box": box, "crop": None if normal.image is None else crop}
        nearest |= {} if normal.problem is None else {"problem": normal.problem}
    return replace(result, evidence=picture, nearest_normal=nearest), files


def _jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _photo_box(drawn: Image.Image, aspect: float) -> tuple[float, float, float, float]:
    """Where the photograph lies in an overlay: between the bands, in the middle."""
    left, top, right, bottom = picture_box(drawn.size)
    half = min(right - left, (bottom - top) * aspect) / 2
    middle = (left + right) / 2
    return middle - half, top, middle + half, bottom


def _outline(photo: Image.Image, evidence: Evidence, by: tuple[float, float]) -> None:
    pen = ImageDraw.Draw(photo)
    for ring in evidence.place.polygon:
        points = [(x * by[0], y * by[1]) for x, y in ring]
        pen.line([*points, points[0]], (0, 0, 0), 5, joint="curve")
        pen.line([*points, points[0]], _PLACE, 3, joint="curve")


def _draw_pair(
    paper: Image.Image,
    place: tuple[int, int],
    image: Image.Image,
    prediction: Prediction,
    evidence: Evidence,
    normal: NormalCrop,
) -> int:
    """The suspicious region and the nearest normal one side by side; gives where what is below may start."""
    left, top = place
    assert evidence.nearest is not None
    pen, letters = ImageDraw.Draw(paper), ImageFont.load_default(14)
    down, across = image.height / prediction.size[0], image.width / prediction.size[1]
    x0, y0, x1, y1 = evidence.nearest.box
    here = crop_around(image, (x0 * across, y0 * down, x1 * across, y1 * down))
    for i, (crop, text) in enumerate(((here, "most suspicious here"), (normal.image, "nearest normal"))):
        x = left + i * (_CROP + _PAD)
        pen.rectangle((x, top, x + _CROP, top + _CROP), _TRACK)
        if crop is not None:
            shown = crop.copy()
            shown.thumbnail((_CROP, _CROP), Image.Resampling.LANCZOS)
            paper.paste(shown, (x + (_CROP - shown.width) // 2, top + (_CROP - shown.height) // 2))
        else:
            pen.text((x + _CROP / 2, top + _CROP / 2), "not known", _FAINT, letters, anchor="mm")
        pen.text((x, top + _CROP + 6), text, _INK, letters)
    y = top + _CROP + _LINE
    path = normal.problem if normal.image is None else evidence.nearest.path
    pen.text((left, y), _shortened(printable(path or ""), 66), _FAINT, letters)
    if evidence.score_without_place is not None:
        text = f"score if that area were as its nearest normals: {evidence.score_without_place:.4g}"
        pen.text((left, y + _LINE - 6), text, _INK, letters)
    return y + 2 * _LINE


def _bars_height(reasons: Sequence[Reason]) -> int:
    return (len(reasons) + 1) * _LINE


def _draw_bars(paper: Image.Image, place: tuple[int, int, int], reasons: Sequence[Reason], evidence: Evidence) -> None:
    left, top, right = place
    pen, letters = ImageDraw.Draw(paper), ImageFont.load_default(14)
    pen.text((left, top), "these add up to the score", _FAINT, letters)
    most = max((abs(one.value) for one in reasons), default=0) or 1
    middle, room = right - 150, 70
    for i, one in enumerate(reasons):
        y = top + (i + 1) * _LINE
        label = printable(one.label)
        while pen.textlength(label, letters) > middle - room - left - 8 and len(label) > 8:
            label = f"{label[:-5]}..."
        pen.text((left, y), label, _INK, letters)
        pen.rectangle((middle - room, y + 3, middle + room, y + 15), _TRACK)
        end = middle + room * one.value / most
        pen.rectangle((min(middle, end), y + 3, max(middle, end), y + 15), _RAISES if one.value > 0 else _LOWERS)
        pen.text((right, y), f"{one.value:+.4f}", _INK, letters, anchor="ra")


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"...{text[3 - most :]}"
