"""A flow as a picture: boxes in columns, what is seen above and what is said below, drawn with PIL."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

from PIL import Image, ImageDraw, ImageFont

from vlmad_core.diagram import Arrow, Box, Flow

__all__ = ["draw"]

_SCALE = 2  # drawn twice as large, so that it is sharp where screens are
_PAD, _LINE, _GAP_Y, _MARGIN = 12, 19, 36, 28
_GAP_X, _SMALL = 52, 15
_INK, _FADED, _PAPER = "#1d2733", "#5b6775", "#ffffff"
_PART, _DATA, _EDGE = "#e8f0fb", "#f4f4ef", "#4a78b5"


def draw(flow: Flow, title: str) -> Image.Image:
    """An RGB picture of a flow.

    Args:
        flow: From :func:`vlmad_core.diagram.flow_of`.
        title: Written above.
    """
    places, size = _places(flow)
    picture = Image.new("RGB", (size[0] * _SCALE, size[1] * _SCALE), _PAPER)
    pen = ImageDraw.Draw(picture)
    _write(pen, _MARGIN, 16, title, 17, _INK, bold=True)
    for end, box in enumerate(flow.boxes):
        arriving = [arrow for arrow in flow.arrows if arrow.end == end]
        left, top, _, bottom = places[end]
        room = (bottom - top) - sum(_tall(arrow) for arrow in arriving)
        y = top + room / (len(arriving) + 1)
        for arrow in arriving:  # each arrives below its label
            y += _tall(arrow)
            at = (top + bottom) / 2 if len(arriving) == 1 and not arrow.label else y
            starts = [i for i, other in enumerate(flow.boxes) if other.column == flow.boxes[arrow.start].column]
            _arrow(pen, places[arrow.start], (left, round(at)), starts.index(arrow.start), _lines(arrow))
            y += room / (len(arriving) + 1)
        _box(pen, box, places[end])
    return picture


def _lines(arrow: Arrow) -> list[str]:
    """Its label, two names a line."""
    names = arrow.label.splitlines()
    return [", ".join(names[i : i + 2]) for i in range(0, len(names), 2)]


def _tall(arrow: Arrow) -> int:
    return _SMALL * len(_lines(arrow))


def _places(flow: Flow) -> tuple[list[tuple[int, int, int, int]], tuple[int, int]]:
    """Left, top, right, bottom of each box; columns beside each other, the boxes of one below each other."""
    columns = sorted({box.column for box in flow.boxes})
    heights = []
    for end, box in enumerate(flow.boxes):
        labels = sum(_tall(arrow) + 8 for arrow in flow.arrows if arrow.end == end)
        heights.append(max(2 * _PAD + _LINE * (1 + len(box.lines)), labels + 16))
    inside = {c: [i for i, box in enumerate(flow.boxes) if box.column == c] for c in columns}
    tall = {c: sum(heights[i] for i in inside[c]) + _GAP_Y * (len(inside[c]) - 1) for c in columns}
    middle, left = 56 + max(tall.values()) / 2, float(_MARGIN)
    places = [(0, 0, 0, 0)] * len(flow.boxes)
    for column, following in pairwise([*columns, None]):
        assert column is not None
        width = max(_width(flow.boxes[i]) for i in inside[column])
        top = middle - tall[column] / 2
        for i in inside[column]:
            places[i] = (round(left), round(top), round(left + width), round(top + heights[i]))
            top += heights[i] + _GAP_Y
        ends = {i for i in range(len(flow.boxes)) if flow.boxes[i].column == following}
        words = [line for arrow in flow.arrows if arrow.end in ends for line in _lines(arrow)]
        left += width + _GAP_X + max((_length(word, 12) for word in words), default=0)
    return places, (round(max(p[2] for p in places)) + _MARGIN, round(56 + max(tall.values())) + _MARGIN)


def _width(box: Box) -> float:
    return 2 * _PAD + max(_length(box.title, 15, bold=True), *(_length(line, 13) for line in box.lines))


def _box(pen: ImageDraw.ImageDraw, box: Box, place: tuple[int, int, int, int]) -> None:
    left, top, _, bottom = place
    radius = ((bottom - top) // 2 if box.data else 6) * _SCALE
    pen.rounded_rectangle([v * _SCALE for v in place], min(radius, 18 * _SCALE), _DATA if box.data else _PART, _EDGE, 2)
    _write(pen, left + _PAD, top + _PAD - 3, box.title, 15, _INK, bold=True)
    for i, line in enumerate(box.lines, start=1):
        _write(pen, left + _PAD, top + _PAD + i * _LINE - 1, line, 13, _FADED)


def _arrow(
    pen: ImageDraw.ImageDraw, start: tuple[int, int, int, int], end: tuple[int, int], lane: int, label: list[str]
) -> None:
    """To the right, then up or down in a lane of its own, then to the right again under its label."""
    y0, (x1, y1) = (start[1] + start[3]) // 2, end
    turn = start[2] + 12 + 10 * lane
    line = [(start[2], y0), (turn, y0), (turn, y1), (x1 - 4, y1)]
    pen.line([(x * _SCALE, y * _SCALE) for x, y in line], _EDGE, 3)
    pen.polygon([((x1 + dx) * _SCALE, (y1 + dy) * _SCALE) for dx, dy in ((0, 0), (-8, -5), (-8, 5))], _EDGE)
    for i, words in enumerate(label):
        _write(pen, start[2] + 36, y1 - 3 - _SMALL * (len(label) - i), words, 12, _FADED)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _length(text: str, size: int, *, bold: bool = False) -> float:
    return _font(size * _SCALE).getlength(text) / _SCALE + bold


def _write(pen: ImageDraw.ImageDraw, x: float, y: float, text: str, size: int, ink: str, *, bold: bool = False) -> None:
    at = (x * _SCALE, y * _SCALE)
    pen.text(at, text, ink, _font(size * _SCALE), stroke_width=1 if bold else 0, stroke_fill=ink if bold else None)
