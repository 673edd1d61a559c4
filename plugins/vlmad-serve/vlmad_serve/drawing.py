"""Pictures of a result, drawn when they are asked for: thumbnail, heat as a transparent layer, overlay."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from vlmad_core.contracts.data import Prediction
from vlmad_core.contracts.images import open_image
from vlmad_core.run.colour import colours
from vlmad_core.run.maps import read_map
from vlmad_core.run.overlay import Scale, draw, opacity

__all__ = ["draw_heat", "draw_overlay", "draw_photo"]


def draw_photo(path: Path, longest: int, bits: int | str | None) -> bytes:
    """The image as JPEG, upright, with its longer side at most ``longest``; ``bits`` as the detector reads it."""
    image = open_image(path, bits=bits)
    image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    return _encoded(image, "JPEG", quality=85)


def draw_heat(path: Path, scale: Scale | None) -> bytes:
    """The colours of a map with their opacity as WebP, to be laid over the image."""
    values = read_map(path)
    scale = scale or Scale.of_picture(values)
    rgba = np.dstack([colours(scale.place(values)), 255 * opacity(values, scale)])
    return _encoded(Image.fromarray(np.rint(rgba).astype(np.uint8)), "WEBP", quality=80, method=2)


def draw_overlay(
    image: Path, map_path: Path, score: float, scale: Scale | None, title: str, bits: int | str | None
) -> bytes:
    """The image with its heat, outline, score and legend as JPEG, as ``vlmad predict`` draws it."""
    picture = open_image(image, bits=bits)
    prediction = Prediction(score, read_map(map_path), (picture.height, picture.width))
    return _encoded(draw(picture, prediction, scale, title), "JPEG", quality=88)


def _encoded(image: Image.Image, kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
