"""Evidence of a stored result: the image is scored once more, this time with reasons."""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Literal

from vlmad_core.contracts.images import open_image, read
from vlmad_core.errors import ImageError
from vlmad_core.inspection.evidence import Evidence
from vlmad_core.pipeline.pipeline import Pipeline
from vlmad_core.run.explain import crop_around

__all__ = ["draw_normal_place", "evidence_of"]


def evidence_of(pipeline: Pipeline, path: Path) -> Evidence:
    """Why an image has its score, in one pass through the detector.

    Raises:
        ImageError: The file is not there any more.
    """
    with closing(read([path], pipeline.preprocess, batch_size=1, workers=1)) as batches:
        ((picture,),) = batches
    if picture.error:
        raise ImageError(picture.error)
    ((_, evidence),) = pipeline.explain_batch([picture])
    return evidence


def draw_normal_place(
    evidence: Evidence,
    path: Path,
    normals: Mapping[str, Path],
    side: Literal["image", "normal"],
    bits: int | str | None,
) -> bytes:
    """The suspicious place of an image, or the nearest normal place, as JPEG.

    Args:
        evidence: Of the image.
        path: The image.
        normals: Hash to file, of the normal images that are here.
        side: Which of the two.
        bits: How the detector reads the values of a file.

    Raises:
        ImageError: There is no such place, or its image is not here.
    """
    near = evidence.nearest
    if near is None:
        raise ImageError("the detector remembers no normal image.")
    if side == "image":
        crop = crop_around(open_image(path, bits=bits), near.box)
    else:
        if near.normal_box is None or near.sha256 not in normals:
            raise ImageError("the normal image is not here.")
        image = open_image(normals[near.sha256], bits=bits)
        left, top, right, bottom = near.normal_box
        crop = crop_around(image, (left * image.width, top * image.height, right * image.width, bottom * image.height))
    buffer = io.BytesIO()
    crop.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()
