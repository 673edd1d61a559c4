"""Scores of tiles and of whole images are of two kinds: which one a calibration has, and whether an image is of it."""

from __future__ import annotations

from collections.abc import Iterable

from vlmad_core.errors import ConfigError
from vlmad_core.inspection.calibration import Calibration, ImageScore

__all__ = ["check_one_kind", "other_kind"]


def check_one_kind(images: Iterable[ImageScore]) -> None:
    """Refuse images of which some were read in tiles and others were not.

    Raises:
        ConfigError: There are both, or some of which it is not known.
    """
    first: dict[bool | None, ImageScore] = {}
    for image in images:
        first.setdefault(image.is_tiled, image)
    if None in first and len(first) > 1:
        raise ConfigError(
            "the calibration is of an earlier version, which did not keep whether its images were read in tiles, so "
            "none can be added to it: calibrate with all images again (--renew)."
        )
    if len(first) > 1:
        tiled, whole = (first[kind].name or first[kind].digest for kind in (True, False))
        raise ConfigError(
            f"'{tiled}' is read in tiles and '{whole}' is too small for that, so their scores are of two kinds and no "
            "threshold holds for both: calibrate with images of one size, with a number of tiles, which cuts all of "
            "them (--tiles 6), with tiles off (--tiles off), or fit without a calibration (--no-calibrate)."
        )


def other_kind(calibration: Calibration | None, tiles: int, size: tuple[int, int] | None, path: str | None) -> str:
    """Why a score is not of the kind of a calibration; empty where it is, or where nothing is known.

    Args:
        calibration: Of a detector that reads large images in tiles.
        tiles: That the image was read in; 0: none.
        size: ``(height, width)`` of the image; None: not known.
        path: Of the image.
    """
    images = () if calibration is None else (*calibration.held_out, *calibration.references)
    kinds = {image.is_tiled for image in images} - {None}
    if size is None or not kinds or bool(tiles) in kinds:
        return ""
    where = f"{path or 'an image'}: {size[1]} x {size[0]} pixels"
    advice = "Give images of the same size, or calibrate anew with images of this size, or with tiles off (--tiles off)"
    if tiles:
        return (
            f"{where} are read in tiles, and no normal image of the calibration was large enough for that, so that its "
            f"score would be of another kind than theirs. {advice}."
        )
    return (
        f"{where} are too few for tiles, and every normal image of the calibration was read in tiles, so that its "
        f"score would be of another kind than theirs. {advice}."
    )
