"""Exact metrics on raw scores: every threshold counts, ties are treated right, nothing is binned.

Image metrics take one score and one label an image; on maps and masks the same functions are the pixel metrics.
Monotone changes of the scores change none of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["aupro", "auroc", "average_precision", "bootstrap", "f1max"]

Numbers = NDArray[np.float64]


def auroc(scores: ArrayLike, labels: ArrayLike) -> float:
    """Area under the ROC curve: the chance that an abnormal one scores above a normal one; ties count half.

    Args:
        scores: Any shape; higher is more anomalous.
        labels: Same shape; true or above 0 for abnormal.

    Returns:
        0 to 1; NaN where only one kind of label is there.

    >>> auroc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    0.75
    """
    hits, alarms = _curve(scores, labels)
    if hits[-1] == 0 or alarms[-1] == 0:
        return float("nan")
    return float(np.trapezoid(hits, alarms) / (hits[-1] * alarms[-1]))


def average_precision(scores: ArrayLike, labels: ArrayLike) -> float:
    """Area under the precision-recall curve as a sum of steps; NaN without an abnormal one.

    >>> round(average_precision([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]), 4)
    0.8333
    """
    hits, alarms = _curve(scores, labels)
    if hits[-1] == 0:
        return float("nan")
    return float(np.sum(np.diff(hits) * (hits / np.maximum(hits + alarms, 1))[1:]) / hits[-1])


def f1max(scores: ArrayLike, labels: ArrayLike) -> float:
    """Largest F1 over all thresholds; NaN without an abnormal one.

    >>> f1max([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    0.8
    """
    hits, alarms = _curve(scores, labels)
    if hits[-1] == 0:
        return float("nan")
    return float(np.max(2 * hits / (hits + alarms + hits[-1])))


def aupro(maps: ArrayLike, masks: ArrayLike, *, limit: float = 0.3) -> float:
    """Area under the per-region-overlap curve up to a false-positive rate, divided by it (Bergmann et al., IJCV 2021).

    A region is a connected component of a mask, corners counting as contact. The curve has a point for every distinct
    value of the maps, joined by straight lines and cut at the limit by interpolation.

    Args:
        maps: ``[N, H, W]``.
        masks: ``[N, H, W]``, above 0 for defect.
        limit: False-positive rate at which the curve is cut, above 0 and at most 1.

    Returns:
        0 to 1; NaN without a defect or without a normal pixel.

    Raises:
        ValueError: Shapes that differ, or a limit out of range.
    """
    from scipy.ndimage import label

    values, truth = np.asarray(maps), np.asarray(masks) > 0
    if values.shape != truth.shape or values.ndim != 3 or not 0 < limit <= 1:
        raise ValueError(f"maps {values.shape} and masks {truth.shape} must be [N, H, W]; limit {limit} in (0, 1].")
    # A defect pixel weighs one over the area of its region, so that the sum over all pixels above a threshold is the
    # sum of the regions' overlaps; a normal pixel weighs one in the false positives.
    weights = np.zeros(truth.shape, dtype=np.float64)
    regions = 0
    for weight, mask in zip(weights, truth, strict=True):
        labels, count = label(mask, structure=np.ones((3, 3), dtype=int))
        areas = np.bincount(labels.ravel(), minlength=count + 1).astype(np.float64)
        weight[mask] = 1 / areas[labels[mask]]
        regions += count
    normal = ~truth.ravel()
    if regions == 0 or not normal.any():
        return float("nan")
    overlap, alarms = _cumulated(values.ravel(), weights.ravel() / regions, normal / normal.sum())
    last = np.interp(limit, alarms, overlap)
    inside = alarms < limit
    area = np.trapezoid(np.append(overlap[inside], last), np.append(alarms[inside], limit))
    return float(area / limit)


def bootstrap(
    metric: object, groups: Sequence[NDArray[np.generic]], *, draws: int = 1000, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Percentile interval of a metric over images drawn with replacement.

    Args:
        metric: Called with the drawn rows of each group.
        groups: Arrays of equal length, one row an image; scores and labels.
        draws: How many times to draw.
        level: Share of the draws inside the interval.
        seed: Of the draws.
    """
    if not callable(metric):
        raise TypeError("metric must be callable")
    draw, count = np.random.default_rng(seed), len(groups[0])
    values = []
    for _ in range(draws):
        rows = draw.integers(0, count, count)
        values.append(float(metric(*(group[rows] for group in groups))))
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _curve(scores: ArrayLike, labels: ArrayLike) -> tuple[Numbers, Numbers]:
    """Abnormal and normal ones at or above each distinct score, from none to all."""
    values, truth = np.asarray(scores).ravel(), np.asarray(labels).ravel() > 0
    if values.shape != truth.shape:
        raise ValueError(f"{values.size} scores and {truth.size} labels.")
    return _cumulated(values, truth.astype(np.float64), ~truth)


def _cumulated(values: NDArray[np.generic], *weights: NDArray[np.generic]) -> tuple[Numbers, Numbers]:
    """Sums of weights over the values at or above each distinct value, beginning with 0."""
    order = np.argsort(values, kind="stable")[::-1]
    ends = np.append(np.flatnonzero(np.diff(values[order])), values.size - 1)
    first, second = (np.append(0.0, np.cumsum(w[order], dtype=np.float64)[ends]) for w in weights)
    return first, second
