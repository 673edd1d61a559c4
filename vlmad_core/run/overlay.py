"""A picture with its anomaly map as heat on top, on a scale fixed for a run: equal values have equal colours."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vlmad_core.contracts.data import Prediction
from vlmad_core.errors import ConfigError
from vlmad_core.pipeline.pipeline import Pipeline
from vlmad_core.run.colour import colours

__all__ = ["Scale", "draw", "draw_legend", "font", "opacity", "panel", "picture_box"]

_LONGEST, _SHORTEST, _NARROWEST = 1600, 512, 360
_PAPER, _INK, _FAINT = (18, 18, 22), (238, 238, 240), (160, 160, 168)


@dataclass(frozen=True)
class Scale:
    """Which values have which colours.

    Args:
        low: No heat at and below it.
        high: Full heat at and above it.
        normal: The highest value seen in maps of normal images, where it is known.
    """

    low: float
    high: float
    normal: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ConfigError(
                f"a colour scale needs two numbers, the lower one first; got {self.low:g} and {self.high:g}."
            )

    @classmethod
    def of(cls, pipeline: Pipeline, given: tuple[float, float] | None = None) -> Self:
        """The scale of a detector: as given; else about what normal images show, where it saw enough; else 0 to 1.

        With normal images, low is their median and the middle of the scale the highest value that one of them reached.
        """
        median, top = pipeline.normal_range.tolist()
        known = math.isfinite(median) and math.isfinite(top)
        if given is not None:
            return cls(*given, top if known else None)
        return cls(median, 2 * top - median, top) if known and top > median else cls(0.0, 1.0)

    def place(self, values: np.ndarray) -> np.ndarray:
        """Values to [0, 1] along the scale."""
        return np.clip((values - self.low) / (self.high - self.low), 0, 1)


def draw(image: Image.Image, prediction: Prediction, scale: Scale, title: str = "") -> Image.Image:
    """The image with heat, a line that tells the score above it, and the scale below it.

    Args:
        image: As it was given, 8-bit RGB.
        prediction: Of this image.
        scale: Which values have which colours.
        title: Said beside the score, such as the name of the file.
    """
    share = min(_LONGEST / max(image.size), max(1.0, _SHORTEST / max(image.size)))
    width, height = (max(1, round(side * share)) for side in image.size)
    picture = heated(image.resize((width, height), Image.Resampling.BICUBIC), prediction.map_at((height, width)), scale)
    above, below = _bands(max(width, _NARROWEST))
    sheet = panel(max(width, _NARROWEST), above + height + below)
    sheet.paste(picture, ((sheet.width - width) // 2, above))
    _draw_title(sheet, above, f"score {prediction.score:.4g}", title)
    draw_legend(sheet, (0, above + height, sheet.width, sheet.height), scale)
    return sheet


def heated(picture: Image.Image, values: np.ndarray, scale: Scale) -> Image.Image:
    """Blend colours over a picture of the same size; what normal images show too stays nearly transparent."""
    alpha = opacity(values, scale)[..., None]
    mixed = np.asarray(picture, dtype=np.float32) * (1 - alpha) + colours(scale.place(values)) * alpha
    return Image.fromarray(np.rint(mixed).astype(np.uint8))


def opacity(values: np.ndarray, scale: Scale) -> np.ndarray:
    """Of the heat, in [0, 1]: rises fast above the highest normal value, or the middle of the scale if not known."""
    place = scale.place(values)
    knee = float(scale.place(np.float32(scale.normal))) if scale.normal is not None else 0.5  # type: ignore[arg-type]
    knee = min(max(knee, 0.05), 0.95)
    rise = np.clip((place - knee) / (1 - knee), 0, 1)
    alpha: np.ndarray = np.where(place < knee, 0.12 * (place / knee) ** 2, 0.12 + 0.6 * np.sqrt(rise))
    return alpha


def panel(width: int, height: int) -> Image.Image:
    """Empty paper."""
    return Image.new("RGB", (width, height), _PAPER)


def font(width: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font at a size that suits paper of this width."""
    return ImageFont.load_default(max(13, round(width / 40)))


def picture_box(size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Where the picture lies in what :func:`draw` made, as (left, top, right, bottom), from its ``(width, height)``."""
    above, below = _bands(size[0])
    return 0, above, size[0], size[1] - below


def draw_legend(paper: Image.Image, box: tuple[int, int, int, int], scale: Scale) -> None:
    """The bar of colours with a number at each end, and a tick where the highest normal value is."""
    left, top, right, bottom = box
    letters = font(right - left)
    pad, line = round(letters.size * 0.8), round(letters.size * 1.4)  # type: ignore[union-attr]
    first, last, floor = left + pad, right - pad, bottom - line - pad // 2
    ramp = colours(np.linspace(0, 1, last - first, dtype=np.float32))
    bar = np.rint(np.broadcast_to(ramp, (max(4, floor - top - pad), last - first, 3))).astype(np.uint8)
    paper.paste(Image.fromarray(np.ascontiguousarray(bar)), (first, top + pad))
    pen = ImageDraw.Draw(paper)
    below = floor + pad // 3
    low, high = f"{scale.low:.3g}", f"{scale.high:.3g}"
    pen.text((first, below), low, _FAINT, letters)
    pen.text((last, below), high, _FAINT, letters, anchor="ra")
    if scale.normal is not None and scale.low < scale.normal < scale.high:
        x = first + float(scale.place(np.float32(scale.normal))) * (last - first)  # type: ignore[arg-type]
        pen.line((x, top + pad // 2, x, floor + pad // 3), _INK, max(2, pad // 6))
        said = f"highest normal {scale.normal:.3g}"
        room = pen.textlength(said, letters) / 2 + pad
        ends = first + pen.textlength(low, letters), last - pen.textlength(high, letters)
        if ends[0] + room < ends[1] - room:
            pen.text((min(max(x, ends[0] + room), ends[1] - room), below), said, _INK, letters, anchor="ma")


def _bands(width: int) -> tuple[int, int]:
    """Heights of the paper above and below the picture, from the width alone, so that they can be found again."""
    size = max(13, round(width / 40))
    return round(size * 2.0), round(size * 3.6)


def _draw_title(paper: Image.Image, height: int, score: str, title: str) -> None:
    letters, pen = font(paper.width), ImageDraw.Draw(paper)
    pad = round(letters.size * 0.8)  # type: ignore[union-attr]
    pen.text((pad, height / 2), score, _INK, letters, anchor="lm")
    room = paper.width - 3 * pad - pen.textlength(score, letters)
    if pen.textlength(title, letters) > room:
        while title and pen.textlength("... " + title, letters) > room:
            title = title[1:]
        title = "..." + title
    pen.text((paper.width - pad, height / 2), title, _FAINT, letters, anchor="rm")
