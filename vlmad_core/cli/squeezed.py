"""Says that images are much larger than what the encoder takes, so that small defects vanish before it sees them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vlmad_core.errors import ImageError

if TYPE_CHECKING:
    from vlmad_core.pipeline.pipeline import Pipeline

__all__ = ["note_squeezed", "note_squeezed_images"]


def note_squeezed(
    pipeline: Pipeline, given: tuple[int, int], reduction: Sequence[float], tell: Callable[[str], None]
) -> None:
    """Say how large a cell of the map is in one image, and what finds defects that are smaller.

    Args:
        pipeline: That reads it.
        given: ``(height, width)`` of the image.
        reduction: Pixels of the image to one of the finest input, down and across.
        tell: Is called with the sentence.
    """
    (height, width), (down, across) = given, reduction
    size = f"{width} x {height} pixels become {round(width / across)} x {round(height / down)}"
    patch = getattr(pipeline.backbone.vision, "patch", None)
    if patch is None:  # an exported detector, which takes one image of one size
        tell(f"{size} for the encoder, {down * across:.0f} to one; a defect of a few pixels may not be found.")
        return
    cell = patch[1] * across, patch[0] * down
    tell(
        f"{size} for the encoder: a cell of the map stands for {cell[0]:.0f} x {cell[1]:.0f} pixels, and a defect of "
        f"less than about {min(cell) / 2:.0f} may not be found. --tiles auto also reads such images in tiles: slower, "
        "and fit and calibrate need it too."
    )


def note_squeezed_images(pipeline: Pipeline, paths: Sequence[Path], tell: Callable[[str], None]) -> None:
    """:func:`note_squeezed` for the first of these images that is squeezed, by their headers."""
    from vlmad_core.contracts.decode import size_of
    from vlmad_core.contracts.views import squeezed

    for path in paths:
        try:
            given = size_of(path)
            found = squeezed(pipeline.preprocess.views_of(given))
        except ImageError:  # said when it is read
            continue
        if found is not None:
            note_squeezed(pipeline, given, found, tell)
            return
