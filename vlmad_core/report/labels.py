"""Words beside points, so that none lies on another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

__all__ = ["place"]

_STEPS = 14
"""How far a label may be pushed away, in its own heights."""


def place(axes: Any, points: Sequence[tuple[float, float, str, str]], *, ink: str) -> None:
    """Write a label for each point: the first free place around it, and a thin line where that is far.

    Args:
        axes: Of matplotlib, with its limits and scales set.
        points: x, y, label, colour of the line that leads to it.
        ink: Colour of text.
    """
    figure = axes.figure
    figure.canvas.draw()  # the layout is final from here on
    figure.set_layout_engine("none")
    renderer = figure.canvas.get_renderer()
    unit = renderer.points_to_pixels(1.0)
    frame = axes.get_window_extent(renderer)
    centres = [tuple(axes.transData.transform((x, y))) for x, y, *_ in points]
    radius = 7 * unit
    taken = [(x - radius, y - radius, x + radius, y + radius) for x, y in centres]
    for (x, y, label, colour), (across, up) in sorted(zip(points, centres, strict=True), key=lambda item: -item[1][1]):
        text = axes.annotate(label, (x, y), (0, 0), textcoords="offset points", fontsize=9, color=ink)
        size = text.get_window_extent(renderer)
        best, least = None, float("inf")
        for left, bottom in _around(across, up, size.width, size.height, radius):
            box = (left, bottom, left + size.width, bottom + size.height)
            over = sum(_overlap(box, other) for other in taken) + 10 * _outside(box, frame)
            if over < least:
                best, least = box, over
            if over == 0:
                break
        assert best is not None
        taken.append(best)
        text.set_position(((best[0] - across) / unit, (best[1] - up) / unit))
        if abs((best[1] + best[3]) / 2 - up) > 1.2 * size.height:
            near = min(max(across, best[0]), best[2]), best[1] if best[1] > up else best[3]
            (end,) = axes.transData.inverted().transform([near])
            axes.plot([x, end[0]], [y, end[1]], color=colour, linewidth=1, zorder=1)


def _around(x: float, y: float, width: float, height: float, radius: float) -> Iterator[tuple[float, float]]:
    """Lower left corners, the nearest first."""
    for step in range(_STEPS):
        far = step * height * 0.75
        for up in {far, -far}:
            yield x + radius * 1.3, y - height / 2 + up
            yield x - radius * 1.3 - width, y - height / 2 + up
            yield x - width / 2, (y + radius * 1.2 + up) if up >= 0 else (y - radius * 1.2 - height + up)
        if step == 0:
            yield x - width / 2, y - radius * 1.2 - height


Box = tuple[float, float, float, float]


def _overlap(one: Box, other: Box) -> float:
    across = min(one[2], other[2]) - max(one[0], other[0])
    up = min(one[3], other[3]) - max(one[1], other[1])
    return across * up if across > 0 and up > 0 else 0.0


def _outside(box: Box, frame: Any) -> float:
    inside = _overlap(box, (frame.x0, frame.y0, frame.x1, frame.y1))
    return max(0.0, (box[2] - box[0]) * (box[3] - box[1]) - inside - 1e-6)
