"""The pictures of one image for the page: photograph, thumbnail, heat as a transparent layer, and crops of evidence."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from vlmad_core.contracts.images import open_image
from vlmad_core.errors import ConfigError, ImageError
from vlmad_core.run.colour import colours
from vlmad_core.run.disk import file_name
from vlmad_core.run.maps import read_map
from vlmad_core.run.overlay import Scale, opacity, picture_box
from vlmad_report.source import Box, Row

__all__ = ["Pictures", "make_pictures"]

_THUMBNAIL, _HEAT, _CROP = 288, 448, 256
_CONTEXT = 0.5
"""A crop shows this share of the region's longer side around it."""


@dataclass(frozen=True)
class Pictures:
    """What the page shows of one image.

    Attributes:
        files: Name to content, of those that could be made: ``photo/NAME.jpg``, ``thumb/NAME.jpg``, ``heat/NAME.webp``,
            ``crop/NAME.jpg`` (the suspicious region), ``normal/NAME.jpg`` (the nearest normal).
        name: ``NAME`` above.
        sha256: Of the image file's content; None if it is not there.
        problems: Sentences about what is missing.
    """

    name: str
    files: dict[str, bytes] = field(default_factory=dict)
    sha256: str | None = None
    problems: tuple[str, ...] = ()


def make_pictures(
    row: Row, folder: Path, places: Sequence[Path], scale: Scale, *, max_side: int = 1024, bits: int | str | None = None
) -> Pictures:
    """Read the image of a row, its map and its evidence, and encode what the page needs.

    An image that is no longer there is replaced by the picture in its overlay, where there is one.

    Args:
        row: Of the results.
        folder: Of the results.
        places: Folders from which relative paths of images may start; the first that has the file is used.
        scale: Colours of the heat.
        max_side: Longer side of the photograph, in pixels.
        bits: Of the values in 16-bit grey files, as they were scored.
    """
    name, files, problems, photo, sha256 = file_name(row.path), {}, [], None, None
    path = _find(row.path, places)
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        photo = open_image(path, bits=bits)
    except (OSError, ValueError, ImageError):
        if row.error is None:
            problems.append("the image is not there or cannot be read")
    is_fused = photo is None
    if photo is None and row.overlay:
        photo = _from_overlay(folder / row.overlay)
    if photo is not None:
        files[f"photo/{name}.jpg"] = _jpeg(photo, max_side, 85)
        files[f"thumb/{name}.jpg"] = _jpeg(photo, _THUMBNAIL, 80)
        if (region := _suspicious(row)) is not None and not is_fused:
            files[f"crop/{name}.jpg"] = _jpeg(_crop(photo, region), _CROP, 85)
    if row.anomaly_map and not is_fused:
        try:
            files[f"heat/{name}.webp"] = _heat(folder / row.anomaly_map, scale)
        except (ConfigError, OSError):
            problems.append("the anomaly map is not there or cannot be read")
    if row.nearest_normal is not None:
        normal = _nearest(row, folder, places, bits)
        if normal is None:
            why = row.nearest_normal.problem or "the nearest normal image is not there or cannot be read"
            problems.append(why.rstrip("."))
        else:
            files[f"normal/{name}.jpg"] = _jpeg(normal, _CROP, 85)
    return Pictures(name, files, sha256, tuple(problems))


def _suspicious(row: Row) -> Box | None:
    """The place that the nearest normal one is shown for, or else the region with the highest score."""
    if row.nearest_normal is not None and row.nearest_normal.region is not None:
        return row.nearest_normal.region
    return row.regions[0].box if row.regions else None


def _find(path: str, places: Sequence[Path]) -> Path:
    candidates = [place / path for place in places]
    return next((each for each in candidates if _exists(each)), Path(path))


def _exists(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # such as a name that is too long, or has a zero byte
        return False


def _from_overlay(path: Path) -> Image.Image | None:
    try:
        overlay = open_image(path)
    except (ImageError, OSError, ValueError):
        return None
    left, top, right, bottom = picture_box(overlay.size)
    return overlay.crop((left, top, right, bottom)) if bottom > top else None


def _nearest(row: Row, folder: Path, places: Sequence[Path], bits: int | str | None) -> Image.Image | None:
    assert row.nearest_normal is not None
    nearest = row.nearest_normal
    tries: list[Callable[[], Image.Image]] = []
    if nearest.crop:
        tries.append(lambda: open_image(folder / str(nearest.crop)))
    if nearest.path:
        tries.append(lambda: _crop(open_image(_find(nearest.path, places), bits=bits), nearest.box))
    for attempt in tries:
        try:
            return attempt()
        except (ImageError, OSError, ValueError):
            continue
    return None


def _crop(image: Image.Image, box: tuple[float, float, float, float] | None) -> Image.Image:
    """The box with some of what is around it, as a square where the image has room for one."""
    if box is None:
        return image
    left, top, right, bottom = box
    half = max(right - left, bottom - top, 16) * (1 + 2 * _CONTEXT) / 2
    x, y = (left + right) / 2, (top + bottom) / 2
    x0, x1 = max(0, round(x - half)), min(image.width, round(x + half))
    y0, y1 = max(0, round(y - half)), min(image.height, round(y + half))
    return image.crop((x0, y0, x1, y1)) if x1 > x0 and y1 > y0 else image


def _fitted(size: tuple[int, int], longest: int) -> tuple[int, int]:
    share = min(1.0, longest / max(size))
    return max(1, round(size[0] * share)), max(1, round(size[1] * share))


def _jpeg(image: Image.Image, longest: int, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.resize(_fitted(image.size, longest), Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _heat(path: Path, scale: Scale) -> bytes:
    """The colours of the map with their opacity, so that the browser can lay them over the photograph."""
    values = read_map(path).astype(np.float32)
    if values.ndim != 2:
        raise ConfigError(f"{path}: is not a map of two dimensions.")
    size = _fitted((values.shape[1], values.shape[0]), _HEAT)
    small = np.asarray(Image.fromarray(values).resize(size, Image.Resampling.BICUBIC))
    rgba = np.dstack([colours(scale.place(small)), 255 * opacity(small, scale)])
    buffer = io.BytesIO()
    Image.fromarray(np.rint(rgba).astype(np.uint8)).save(buffer, "WEBP", quality=80, method=2)
    return buffer.getvalue()
