"""AUPRO at 200 equal steps of the score, as in the code of APRIL-GAN and AnomalyCLIP: for their published tables alone.

It is another number than the exact one: the false-positive rates that are kept are stretched to begin at 0 and end at
the limit, nothing is interpolated, and monotone changes of the maps change it. Never put both in one table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from vlmad_core.metrics.pixel import as_images, region_shares
from vlmad_core.metrics.ranks import Array

__all__ = ["SteppedAupro", "stepped_aupro"]


@dataclass(frozen=True)
class SteppedAupro:
    """The 200-step variant and how much it rests on.

    Args:
        value: 0 to 1; NaN where the variant has no number.
        kept: Steps whose false-positive rate is below the limit; with few of them the value says little.
        reason: Why there is no number; empty where there is one.
    """

    value: float
    kept: int
    reason: str = ""


def stepped_aupro(
    maps: Sequence[ArrayLike] | Array,
    masks: Sequence[ArrayLike | None] | Array,
    *,
    steps: int = 200,
    limit: float = 0.3,
) -> SteppedAupro:
    """AUPRO over thresholds lowest, lowest + step, … below the highest score, a pixel counting where it is above one.

    Steps with a false-positive rate below the limit are kept, their rates stretched over 0 to 1, and the area under the
    mean overlap of the regions is taken by trapezoids.

    Args:
        maps: ``[N, H, W]``, or N maps of any sizes.
        masks: As the maps, above 0 for defect; None in a sequence stands for an image without a defect.
        steps: Between the lowest and the highest score of all maps.
        limit: False-positive rate below which steps are kept.

    Raises:
        ValueError: Shapes that differ, NaN or infinite values in a map, a limit or steps out of range.
    """
    if not 0 < limit <= 1 or steps < 1:
        raise ValueError(f"limit must be above 0 and at most 1 and steps 1 or more, got {limit} and {steps}.")
    images = as_images(maps, masks)
    lowest = min((float(values.min()) for values, _ in images), default=0.0)
    highest = max((float(values.max()) for values, _ in images), default=0.0)
    if lowest == highest:
        return SteppedAupro(float("nan"), 0, "All scores are the same, so there are no steps between them.")
    thresholds = np.arange(lowest, highest, (highest - lowest) / steps)
    regions, normal = 0, np.zeros(thresholds.size + 1)
    overlap = np.zeros(thresholds.size + 1)
    for values, mask in images:
        # A score above the first k thresholds belongs to step k.
        step = np.searchsorted(thresholds, values.ravel()).reshape(values.shape)
        if mask is not None:
            shares, count = region_shares(mask)
            regions += count
            overlap += np.bincount(step[mask], weights=shares, minlength=overlap.size)
            step = step[~mask]
        normal += np.bincount(step.ravel(), minlength=normal.size)
    if regions == 0 or normal.sum() == 0:
        return SteppedAupro(float("nan"), 0, "There is no defect." if regions == 0 else "There is no normal pixel.")
    # Above threshold i lies what belongs to the steps after i.
    pro = (overlap[::-1].cumsum()[::-1] / regions)[1:]
    rates = (normal[::-1].cumsum()[::-1] / normal.sum())[1:]
    kept = rates < limit
    pro, rates = pro[kept], rates[kept]
    if np.unique(rates).size < 2:
        reason = f"The {pro.size} steps below the limit share one false-positive rate, so there is nothing to stretch."
        return SteppedAupro(float("nan"), pro.size, reason)
    stretched = (rates - rates.min()) / (rates.max() - rates.min())
    return SteppedAupro(float(-np.trapezoid(pro, stretched)), pro.size)
