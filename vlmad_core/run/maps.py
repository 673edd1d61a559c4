"""Anomaly maps as files: 16-bit grey PNG on a fixed scale, which can be undone, or float32 npy."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
from PIL import Image, PngImagePlugin

from vlmad_core.contracts.data import Prediction
from vlmad_core.contracts.memory import budget
from vlmad_core.errors import ConfigError
from vlmad_core.pipeline.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vlmad_core.contracts.parts import Scorer

__all__ = ["MapFormat", "encode", "highest", "read_map", "shrunk"]

MapFormat = Literal["png16", "npy", "none"]
_UNIT = "vlmad-unit"
_BYTES, _ROWS = 11, 256
MOST_SIDE = 12_000
"""The longest side that a map is written with: more would not fit into the memory that all writers share."""


def highest(pipeline: Pipeline) -> float:
    """The scale of maps that are saved as PNG: the highest value that a map of this pipeline can have.

    Where a scorer states no maximum it counts as 1, which is usual; values beyond are then cut, with a warning.
    """
    scorers = cast("Iterable[Scorer]", pipeline.scorers)
    tops = [1.0 if scorer.maximum is None else scorer.maximum for scorer in scorers]
    return sum(tops) if pipeline.fuse.map == "sum" else max(tops)


def shrunk(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """``(height, width)`` with the longer side at most ``longest``.

    >>> shrunk((6000, 3000), 4096)
    (4096, 2048)
    """
    share = min(1.0, longest / max(size))
    return max(1, round(size[0] * share)), max(1, round(size[1] * share))


def encode(prediction: Prediction, kind: MapFormat, maximum: float, max_side: int) -> tuple[bytes, bool]:
    """The file of a map, and whether values had to be cut at 0 or ``maximum``, which only png16 does."""
    size = shrunk(prediction.size, max_side)
    with budget.reserve(size[0] * size[1] * _BYTES):
        values = prediction.map_at(size)
        buffer = io.BytesIO()
        if kind == "npy":
            np.save(buffer, values.astype(np.float32, copy=False), allow_pickle=False)
            return buffer.getvalue(), False
        slack = maximum / 65535  # rounding is no news
        cut = bool(values.min() < -slack or values.max() > maximum + slack)
        pixels = np.empty(values.shape, np.uint16)
        for top in range(0, len(values), _ROWS):  # a strip at a time: no second copy of the whole in float
            strip = values[top : top + _ROWS]
            pixels[top : top + _ROWS] = np.rint(np.clip(strip, 0, maximum) * (65535 / maximum))
        del values, strip
        note = PngImagePlugin.PngInfo()
        note.add_text(_UNIT, repr(maximum / 65535))
        Image.fromarray(pixels).save(buffer, "PNG", pnginfo=note, compress_level=1)
        return buffer.getvalue(), cut


def read_map(path: str | Path) -> np.ndarray:
    """A map that :func:`vlmad_core.run.run` wrote, as float32 on the detector's own scale.

    Raises:
        ConfigError: Not such a file.
    """
    path = Path(path)
    try:
        if path.suffix == ".npy":
            values: np.ndarray = np.load(path, allow_pickle=False)
        else:
            with Image.open(path, formats=["PNG"]) as image:
                values = np.asarray(image, dtype=np.float32) * np.float32(image.info[_UNIT])
    except (OSError, KeyError, ValueError, EOFError) as error:
        raise ConfigError(f"{path}: is not a map written by vlmad ({error}).") from error
    if values.ndim != 2 or not np.issubdtype(values.dtype, np.floating) or not np.isfinite(values).all():
        raise ConfigError(f"{path}: is not a map written by vlmad (it must be [height, width] finite floats).")
    return values
