# Copied from vlmad_core/run/overlay.py by plugins/vlmad-edge/build/shared.py; edit that file.
"""A picture with its anomaly map as heat on top, on a scale fixed for a run: equal values have equal colours."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

from vlmad_edge.shared.memory import budget
from vlmad_edge.shared.errors import ConfigError
from vlmad_edge.shared.colour import colours

if TYPE_CHECKING:
    from vlmad_edge.prediction import Prediction
    from typing import Any as Pipeline

__all__ = [
    "Scale",
    "draw",
    "draw_jpeg",
    "draw_legend",
    "font",
    "heated",
    "opacity",
    "panel",
    "picture_box",
    "printable",
    "scale_of",
]

_LONGEST, _SHORTEST, _NARROWEST = 1600, 512, 360
Basis: TypeAlias = Literal["normals", "picture", "given"]
_FAR = 2.0
_DRAWING_BYTES = 60 * _LONGEST * _LONGEST
_PAPER, _INK, _FAINT = (18, 18, 22), (238, 238, 240), (160, 160, 168)


@dataclass(frozen=True)
class Scale:
    """Which values have which colours.

    Args:
        low: No heat at and below it.
        high: Full heat at and above it.
        normal: What lies above it is outlined; None: nothing is.
        basis: Where the numbers come from: ``"normals"``, the cells of held-out normal images; ``"picture"``, the
            spread of this one map; ``"given"``, the user.
        share: ``normal`` is the calibrated threshold of regions, which on average at most this share of the pixels of a
            good image exceeds; None: it is not.
    """

    low: float
    high: float
    normal: float | None = None
    basis: Basis = "given"
    share: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ConfigError(
                f"a colour scale needs two numbers, the lower one first; got {self.low:g} and {self.high:g}."
            )

    @classmethod
    def of(cls, pipeline: Pipeline, given: tuple[float, float] | None = None) -> Self | None:
        """The scale of all pictures of a detector: as given, or of its normal images; None where it has fewer than two.

        With normal images, low is the median of their cells, scored by a memory of the others, and the middle of the
        scale is what 99.5 % of these cells do not exceed.
        """
        median, usual = pipeline.normal_range.tolist()
        scale = cls.of_range((median, usual))
        return scale if given is None else cls(*given, None if scale is None else scale.normal)

    @classmethod
    def of_range(cls, normal_range: tuple[float, float] | None) -> Self | None:
        """From the median and the usual maximum of normal cells; None where they are not known."""
        if normal_range is None or not math.isfinite(sum(normal_range)) or not normal_range[0] < normal_range[1]:
            return None
        median, usual = normal_range
        return cls(median, 2 * usual - median, usual, "normals")

    @classmethod
    def of_picture(cls, values: np.ndarray) -> Self:
        """A scale from one map alone, where no normal images say what is usual.

        Low is the median and high the highest value. Outlined is what lies further above the median than twice the
        distance of the 90th percentile, which is 2.6 standard deviations where the values are normally distributed.
        """
        median, ninth, highest = (float(v) for v in np.quantile(values, [0.5, 0.9, 1.0]))
        if not highest > median:
            return cls(median, median + 1.0, None, "picture")
        return cls(median, highest, median + _FAR * (ninth - median), "picture")

    def place(self, values: np.ndarray) -> np.ndarray:
        """Values to [0, 1] along the scale."""
        return np.clip((values - self.low) / (self.high - self.low), 0, 1)

    @property
    def words(self) -> tuple[str, str, str]:
        """What stands at the low end of the legend, in its middle, and at the high end.

        Numbers stand there only where the user gave them: they are values of the map, and the score is none.
        """
        normal = "outline: above 99.5 % of normal cells"
        if self.share is not None:
            normal = f"outline: calibrated, at most {100 * self.share:.3g} % of a good image"
        if self.basis == "given":
            outline = "" if self.normal is None else normal
            return f"map value {self.low:.3g}", outline, f"{self.high:.3g}"
        if self.basis == "normals":
            return "as normal", normal, "unusual"
        return "as most of the picture", "outline: stands out from it", "its highest"


def draw(image: Image.Image, prediction: Prediction, scale: Scale | None = None, title: str = "") -> Image.Image:
    """The image with heat, a line that tells the score above it, and the scale below it.

    Args:
        image: As it was given, 8-bit RGB.
        prediction: Of this image.
        scale: Which values have which colours; None: from this map alone.
        title: Shown beside the score, such as the name of the file.
    """
    scale = scale or Scale.of_picture(prediction.raw_map)
    share = min(_LONGEST / max(image.size), max(1.0, _SHORTEST / max(image.size)))
    width, height = (max(1, round(side * share)) for side in image.size)
    picture = heated(image.resize((width, height), Image.Resampling.BICUBIC), prediction.map_at((height, width)), scale)
    above, below = _bands(max(width, _NARROWEST))
    sheet = panel(max(width, _NARROWEST), above + height + below)
    sheet.paste(picture, ((sheet.width - width) // 2, above))
    _draw_title(sheet, above, f"score {prediction.score:.4g}", title)
    draw_legend(sheet, (0, above + height, sheet.width, sheet.height), scale)
    return sheet


def scale_of(record: Mapping[str, Any]) -> Scale | None:
    """The scale that ``run.json`` holds; None where each picture has one of its own."""
    return None if record["scale"] is None else Scale(**record["scale"])


def draw_jpeg(
    image: Image.Image, prediction: Prediction, scale: Scale | None, title: str = ""
) -> tuple[bytes, Image.Image]:
    """:func:`draw` as the bytes of a JPEG and as it is, within the memory that all writers share."""
    buffer = io.BytesIO()
    with budget.reserve(_DRAWING_BYTES):
        drawn = draw(image, prediction, scale, title)
        drawn.save(buffer, "JPEG", quality=90)
    return buffer.getvalue(), drawn


def printable(text: str) -> str:
    """Text that a font can draw in one line: control characters and broken letters become question marks."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def heated(picture: Image.Image, values: np.ndarray, scale: Scale) -> Image.Image:
    """Blend colours over a picture of the same size, and outline what lies above :attr:`Scale.normal`."""
    alpha = opacity(values, scale)[..., None]
    mixed = np.asarray(picture, dtype=np.float32) * (1 - alpha) + colours(scale.place(values)) * alpha
    result = Image.fromarray(np.rint(mixed).astype(np.uint8))
    if scale.normal is not None:
        _outline(result, values > scale.normal)
    return result


def opacity(values: np.ndarray, scale: Scale) -> np.ndarray:
    """Of the heat, in [0, 1]: rises fast above the highest normal value, or the middle of the scale if not known."""
    place = scale.place(values)
    knee = 0.5
    if scale.normal is not None and scale.basis != "picture":
        knee = float(scale.place(np.float32(scale.normal)))  # type: ignore[arg-type]
    knee = min(max(knee, 0.05), 0.95)
    rise = np.clip((place - knee) / (1 - knee), 0, 1)
    alpha: np.ndarray = np.where(place < knee, 0.12 * (place / knee) ** 2, 0.12 + 0.5 * np.sqrt(rise))
    return alpha


def _outline(picture: Image.Image, inside: np.ndarray) -> None:
    """A white line with a dark edge around an area, so that it is seen on any picture."""
    if not inside.any():
        return
    area = Image.fromarray(inside.astype(np.uint8) * 255)
    width = max(1, round(max(picture.size) / 500))
    grown = area.filter(ImageFilter.MaxFilter(2 * width + 1))
    edge = grown.filter(ImageFilter.MaxFilter(3))
    for ring, colour in ((ImageChops.subtract(edge, grown), _PAPER), (ImageChops.subtract(grown, area), _INK)):
        picture.paste(colour, mask=ring)


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


def draw_legend(paper: Image.Image, box: tuple[int, int, int, int], scale: Scale | None) -> None:
    """The bar of colours with what its ends mean, and a tick where the outline begins.

    Args:
        paper: Drawn on.
        box: Left, top, right, bottom.
        scale: None: each picture has a scale of its own.
    """
    left, top, right, bottom = box
    letters = font(right - left)
    pad, line = round(letters.size * 0.8), round(letters.size * 1.4)  # type: ignore[union-attr]
    first, last, floor = left + pad, right - pad, bottom - line - pad // 2
    ramp = colours(np.linspace(0, 1, last - first, dtype=np.float32))
    bar = np.rint(np.broadcast_to(ramp, (max(4, floor - top - pad), last - first, 3))).astype(np.uint8)
    paper.paste(Image.fromarray(np.ascontiguousarray(bar)), (first, top + pad))
    pen = ImageDraw.Draw(paper)
    below, center = floor + pad // 3, (first + last) / 2
    low, middle, high = ("", "each picture on its own scale", "") if scale is None else scale.words
    pen.text((first, below), low, _FAINT, letters)
    pen.text((last, below), high, _FAINT, letters, anchor="ra")
    if scale is not None and scale.normal is not None and scale.low < scale.normal < scale.high:
        center = first + float(scale.place(np.float32(scale.normal))) * (last - first)  # type: ignore[arg-type]
        pen.line((center, top + pad // 2, center, floor + pad // 3), _INK, max(2, pad // 6))
    room = pen.textlength(middle, letters) / 2 + pad
    ends = first + pen.textlength(low, letters), last - pen.textlength(high, letters)
    if ends[0] + room < ends[1] - room:
        pen.text((min(max(center, ends[0] + room), ends[1] - room), below), middle, _INK, letters, anchor="ma")


def _bands(width: int) -> tuple[int, int]:
    """Heights of the paper above and below the picture, from the width alone, so that they can be found again."""
    size = max(13, round(width / 40))
    return round(size * 2.0), round(size * 3.6)


def _draw_title(paper: Image.Image, height: int, score: str, title: str) -> None:
    letters, pen, title = font(paper.width), ImageDraw.Draw(paper), printable(title)
    pad = round(letters.size * 0.8)  # type: ignore[union-attr]
    pen.text((pad, height / 2), score, _INK, letters, anchor="lm")
    room = paper.width - 3 * pad - pen.textlength(score, letters)
    if pen.textlength(title, letters) > room:
        while title and pen.textlength("... " + title, letters) > room:
            title = title[1:]
        title = "..." + title
    pen.text((paper.width - pad, height / 2), title, _FAINT, letters, anchor="rm")
