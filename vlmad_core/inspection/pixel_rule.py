"""The threshold for regions that follows from a calibration, and what it promises."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlmad_core.errors import ConfigError
from vlmad_core.inspection.calibration import Basis, Calibration, ImageScore, Source
from vlmad_core.inspection.conformal import check_rate, normals_needed
from vlmad_core.inspection.risk_control import pixel_threshold

__all__ = ["PIXEL_SHARES", "PixelRule", "make_pixel_rule"]

PIXEL_SHARES = (0.01, 0.05)
"""Shares that are tried in this order where none is asked for; the first that the normals can carry is used."""


@dataclass(frozen=True)
class PixelRule:
    """Threshold of regions.

    Attributes:
        threshold: A pixel above it is flagged, in units of the map.
        max_share: Of the pixels of a normal image that are flagged, on average.
        source: How the maps of the normals were obtained.
        is_proved: Only for held-out normals.
        promise: The same as one sentence.
    """

    threshold: float
    max_share: float
    source: Source
    is_proved: bool
    promise: str


def make_pixel_rule(calibration: Calibration, max_share: float | None = None) -> PixelRule:
    """Compute the threshold for regions by conformal risk control.

    Args:
        calibration: With the map tails of all normals of a kind.
        max_share: Of the pixels of a normal image, in (0, 1). None: the first of `PIXEL_SHARES` that they can carry.

    Raises:
        ConfigError: There are no maps, or too few for the share; the text names the number that would do.
    """
    if max_share is not None:
        check_rate(max_share, "the share of flagged normal pixels")
    bases = [basis for basis in calibration.bases if all(image.tail for image in basis.images)]
    if not bases:
        raise ConfigError(
            "the calibration has no maps of normal images, so regions have no threshold. Calibrate again."
        )
    for share in PIXEL_SHARES if max_share is None else (max_share,):
        for basis in bases:
            if basis.scores.size >= normals_needed(share):
                return _rule(basis, share)
    best = max(bases, key=lambda basis: basis.scores.size)
    return _rule(best, share)  # which refuses, with the number that would do


def _rule(basis: Basis, share: float) -> PixelRule:
    tails = group_tails(basis.images)
    threshold = pixel_threshold(tails.tolist(), share)
    is_proved = basis.source == "held-out"
    text = f"t most {share:.4g} of the pixels of a good image are flagged on average"
    how = f"conformal risk control, {basis.source}, {len(tails)} normal images or groups of them"
    promise = (
        f"A{text} ({how})."
        if is_proved
        else f"It is expected that a{text}; it is proved for held-out images only ({how})."
    )
    return PixelRule(threshold, share, basis.source, is_proved, promise)


def group_tails(images: tuple[ImageScore, ...]) -> NDArray[np.float64]:
    """The highest tail of each group, value by value: ``[groups, len(TAIL_SHARES)]``. No image of it flags more."""
    highest: dict[str, NDArray[np.float64]] = {}
    for i, image in enumerate(images):
        key, tail = f"group {image.group}" if image.group else f"image {i}", np.asarray(image.tail, dtype=np.float64)
        highest[key] = np.maximum(tail, highest.get(key, tail))
    return np.stack(list(highest.values()))
