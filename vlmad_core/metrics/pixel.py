"""Exact pixel metrics of maps that fit in memory: every threshold counts, ties are treated right, nothing is binned.

All metrics come from one sort.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from vlmad_core.errors import ConfigError
from vlmad_core.metrics.curve import Curve, Numbers, PixelMetrics
from vlmad_core.metrics.ranks import Array, Image, Mask, exact_curve

__all__ = ["as_images", "aupro", "one_map", "pixel_curve", "pixel_metrics", "region_shares"]


def pixel_metrics(
    maps: Sequence[ArrayLike] | Array,
    masks: Sequence[ArrayLike | None] | Array,
    *,
    limits: Sequence[float] = (0.3, 0.05),
) -> PixelMetrics:
    """Pixel AUROC, average precision, F1max and AUPRO at each limit, all exact, from one sort.

    Args:
        maps: ``[N, H, W]``, or N maps ``[H, W]`` of any sizes; higher is more anomalous.
        masks: As the maps, above 0 for defect; None in a sequence stands for an image without a defect.
        limits: False-positive rates at which AUPRO is cut, above 0 and at most 1.

    Raises:
        ValueError: Shapes that differ, NaN or infinite values in a map, a limit out of range.
    """
    return pixel_curve(maps, masks).metrics(limits)


def aupro(maps: Sequence[ArrayLike] | Array, masks: Sequence[ArrayLike | None] | Array, *, limit: float = 0.3) -> float:
    """Area under the per-region-overlap curve up to a false-positive rate, divided by it (Bergmann et al., IJCV 2021).

    A region is a connected component of a mask, corners counting as contact. The curve has a point for every distinct
    value of the maps, joined by straight lines and cut at the limit by interpolation.

    Args:
        maps: ``[N, H, W]``, or N maps of any sizes.
        masks: As the maps, above 0 for defect; None in a sequence stands for an image without a defect.
        limit: False-positive rate at which the curve is cut, above 0 and at most 1.

    Returns:
        0 to 1; NaN without a defect or without a normal pixel.

    Raises:
        ValueError: Shapes that differ, NaN or infinite values in a map, a limit out of range.
    """
    return pixel_curve(maps, masks, limit=limit).aupro(limit)[0]


def pixel_curve(
    maps: Sequence[ArrayLike] | Array, masks: Sequence[ArrayLike | None] | Array, *, limit: float = 1.0
) -> Curve:
    """What every threshold finds up to a false-positive rate; maps and masks as of ``pixel_metrics``."""
    images = as_images(maps, masks)
    found = [(values[mask], *region_shares(mask)) for values, mask in images if mask is not None]
    empty = np.empty(0, dtype=images[0][0].dtype if images else np.float32)
    scores = np.concatenate([empty, *(scores for scores, _, _ in found)])
    shares = np.concatenate([np.empty(0), *(shares for _, shares, _ in found)])
    regions = sum(count for _, _, count in found)
    return exact_curve(scores, shares, regions, images, limit=limit)


def as_images(maps: Sequence[ArrayLike] | Array, masks: Sequence[ArrayLike | None] | Array) -> list[Image]:
    """Each map with its mask, checked; arguments as of ``pixel_metrics``."""
    if len(maps) != len(masks):
        raise ValueError(f"{len(maps)} maps and {len(masks)} masks: each map needs one, or None for a normal image.")
    return [one_map(values, mask, index) for index, (values, mask) in enumerate(zip(maps, masks, strict=True))]


def one_map(values: ArrayLike, mask: ArrayLike | None, index: int) -> Image:
    """A map and its mask, checked; the mask is None where nothing in it is a defect."""
    checked = np.asarray(values)
    truth = None if mask is None else np.asarray(mask) > 0
    if checked.ndim != 2 or checked.size == 0 or (truth is not None and truth.shape != checked.shape):
        shape = "no mask" if truth is None else f"a mask {truth.shape}"
        raise ValueError(
            f"Map {index} is {checked.shape} with {shape}; both must be [height, width], of one size, with pixels."
        )
    if checked.dtype in (np.float16, np.bool_):
        checked = checked.astype(np.float32)
    if not np.isfinite(checked).all():
        raise ValueError(f"Map {index} holds NaN or infinite values, which have no place in an order.")
    return checked, truth if truth is not None and truth.any() else None


def region_shares(mask: Mask) -> tuple[Numbers, int]:
    """One over the area of its region for each defective pixel in order of rows, and the number of regions.

    With these weights the sum over all pixels above a threshold is the sum of the regions' overlaps.

    Raises:
        ConfigError: SciPy is not installed.
    """
    try:
        from scipy.ndimage import label
    except ImportError as error:
        raise ConfigError("regions of masks need SciPy: pip install 'vlmad-core[evaluation]'.") from error

    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    labels, count = label(box, structure=np.ones((3, 3), dtype=int))
    labels = labels[box]
    return (1 / np.maximum(np.bincount(labels), 1))[labels], int(count)
