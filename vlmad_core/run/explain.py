"""Reasons for the results of a run: fields of a result, and the place in the nearest normal image as a picture."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import lru_cache

from PIL import Image

from vlmad_core.contracts.data import Prediction
from vlmad_core.contracts.decode import decode
from vlmad_core.errors import ImageError
from vlmad_core.inspection.evidence import Box, Evidence
from vlmad_core.run.results import Result

__all__ = ["MOST_REASONS", "NormalCrop", "crop_around", "evidence_json", "explained", "normal_crop"]

MOST_REASONS = 8
"""Lines of ``reasons`` in a result; the last one holds the rest, so that they add up to the score."""

_CONTEXT = 0.5
_CROP = 320
_CACHED = 4


@dataclass(frozen=True, eq=False)
class NormalCrop:
    """The nearest normal place, as a picture.

    Args:
        image: That place with some of what is around it; None where it cannot be had.
        box: The place in pixels of the normal image; None likewise.
        problem: Why not, in a sentence.
    """

    image: Image.Image | None = None
    box: Box | None = None
    problem: str | None = None


def explained(result: Result, prediction: Prediction) -> Result:
    """The result with its reasons; the files that belong to them are added when they are written."""
    evidence = prediction.evidence()
    reasons = [{"label": one.label, "value": one.value} for one in evidence.reasons(MOST_REASONS)]
    nearest = None
    if evidence.nearest is not None:
        near = evidence.nearest
        nearest = {"path": near.path, "sha256": near.sha256, "region": list(near.box), "level": near.level}
    return replace(result, reasons=reasons, nearest_normal=nearest, score_without_region=evidence.score_without_place)


def normal_crop(evidence: Evidence, *, bits: int | str | None = None) -> NormalCrop:
    """Read the nearest normal image and cut out the place, if the file is still the one of the fit.

    Args:
        evidence: Of a prediction.
        bits: Of the values in 16-bit grey.
    """
    nearest = evidence.nearest
    if nearest is None:
        return NormalCrop()
    if not nearest.is_known or nearest.normal_box is None:
        return NormalCrop(problem="the detector does not know which image and place it is; fit it again to know.")
    try:
        image, digest = _read(nearest.path, bits)
    except ImageError as error:
        return NormalCrop(problem=str(error))
    if nearest.sha256 and digest != nearest.sha256:
        return NormalCrop(problem=f"{nearest.path}: is another file now than the one that the detector was fitted on.")
    left, top, right, bottom = nearest.normal_box
    box = (left * image.width, top * image.height, right * image.width, bottom * image.height)
    return NormalCrop(crop_around(image, box), box)


@lru_cache(maxsize=_CACHED)
def _read(path: str, bits: int | str | None) -> tuple[Image.Image, str]:
    found = decode(path, bits=bits, digest=True)
    return found.image, found.sha256


def crop_around(image: Image.Image, box: Box) -> Image.Image:
    """A box with half of its longer side around it, as a square where the image has room, at most 320 pixels wide."""
    left, top, right, bottom = box
    half = max(right - left, bottom - top, 16) * (1 + 2 * _CONTEXT) / 2
    x, y = (left + right) / 2, (top + bottom) / 2
    first = max(0, round(x - half)), max(0, round(y - half))
    cut = image.crop((*first, min(image.width, round(x + half)), min(image.height, round(y + half))))
    share = _CROP / max(cut.size)
    return cut.resize((max(1, round(cut.width * share)), max(1, round(cut.height * share))), Image.Resampling.BICUBIC)


def evidence_json(evidence: Evidence) -> bytes:
    """Everything about the reasons for one image, with every sentence."""
    return (json.dumps(evidence.to_dict(), allow_nan=False) + "\n").encode()
