"""Exact metrics on raw scores: every threshold counts, ties are treated right, nothing is binned.

Image metrics take one score and one label an image; on maps and masks the same functions are the pixel metrics.
Monotone changes of the scores change none of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlmad_core.metrics.curve import Curve
from vlmad_core.metrics.interval import auroc_interval
from vlmad_core.metrics.ranks import Array, Mask, exact_curve

__all__ = ["ImageMetrics", "auroc", "average_precision", "bootstrap", "f1max", "image_metrics"]


@dataclass(frozen=True)
class ImageMetrics:
    """How well scores separate abnormal images from normal ones; NaN where one kind is missing.

    Args:
        auroc: Area under the ROC curve, 0 to 1.
        low: Lower end of its interval, see :func:`~vlmad_core.metrics.interval.auroc_interval`.
        high: Upper end.
        ap: Average precision, 0 to 1.
        f1max: Largest F1 over all thresholds, 0 to 1.
        abnormal: Number of abnormal images.
        normal: Number of normal images.
    """

    auroc: float
    low: float
    high: float
    ap: float
    f1max: float
    abnormal: int
    normal: int


def image_metrics(scores: ArrayLike, labels: ArrayLike, *, level: float = 0.95) -> ImageMetrics:
    """AUROC with its confidence interval, average precision and F1max.

    Args:
        scores: ``[N]``; higher is more anomalous.
        labels: ``[N]``, true or above 0 for abnormal.
        level: Coverage of the interval.

    Raises:
        ValueError: Numbers of scores and labels that differ, or scores that are not finite.
    """
    curve = _curve(scores, labels)
    area, abnormal, normal = curve.auroc()[0], int(curve.hits.sum()), curve.normal
    low, high = auroc_interval(area, abnormal, normal, level=level)
    # Where nothing is normal every threshold is right: 1.0 would say something of the data, not of the scores.
    ap, f1 = (curve.ap()[0], curve.f1max()[0]) if normal else (math.nan, math.nan)
    return ImageMetrics(area, low, high, ap, f1, abnormal, normal)


def auroc(scores: ArrayLike, labels: ArrayLike) -> float:
    """Area under the ROC curve: the probability that an abnormal one scores above a normal one; ties count half.

    Args:
        scores: Any shape; higher is more anomalous.
        labels: Same shape; true or above 0 for abnormal.

    Returns:
        0 to 1; NaN where only one kind of label is there.

    Raises:
        ValueError: Numbers of scores and labels that differ, or scores that are not finite.

    >>> auroc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    0.75
    """
    return _curve(scores, labels).auroc()[0]


def average_precision(scores: ArrayLike, labels: ArrayLike) -> float:
    """Area under the precision-recall curve as a sum of steps, ``sum (R_k - R_{k-1}) P_k`` over distinct scores.

    Args:
        scores: Any shape; higher is more anomalous.
        labels: Same shape; true or above 0 for abnormal.

    Returns:
        0 to 1; NaN without an abnormal one.

    Raises:
        ValueError: Numbers of scores and labels that differ, or scores that are not finite.

    >>> round(average_precision([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]), 4)
    0.8333
    """
    return _curve(scores, labels).ap()[0]


def f1max(scores: ArrayLike, labels: ArrayLike) -> float:
    """Largest F1, ``2 TP / (2 TP + FP + FN)``, over all thresholds.

    Args:
        scores: Any shape; higher is more anomalous.
        labels: Same shape; true or above 0 for abnormal.

    Returns:
        0 to 1; NaN without an abnormal one.

    Raises:
        ValueError: Numbers of scores and labels that differ, or scores that are not finite.

    >>> f1max([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    0.8
    """
    return _curve(scores, labels).f1max()[0]


def bootstrap(
    metric: Callable[..., float],
    groups: Sequence[NDArray[np.generic]],
    *,
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of any metric, over images drawn with replacement (Efron and Tibshirani, 1993).

    It is too narrow for areas near 1 with few images; for an AUROC take
    :func:`~vlmad_core.metrics.interval.auroc_interval`.

    Args:
        metric: Called with the drawn rows of each group.
        groups: Arrays of equal length, one row an image; such as scores and labels.
        draws: How many times to draw; those for which the metric is NaN are left out.
        level: Share of the draws inside the interval.
        seed: Of the draws.

    Returns:
        Lower and upper end, in the unit of the metric; NaN twice where it was NaN for each draw.

    Raises:
        ValueError: Groups of different lengths, or no image.
    """
    count = len(groups[0])
    if count == 0 or len({len(group) for group in groups}) > 1:
        sizes = ", ".join(str(len(group)) for group in groups)
        raise ValueError(f"a bootstrap needs groups of one row an image, all of one length; got {sizes} rows.")
    rng = np.random.default_rng(seed)
    values = np.empty(draws)
    for draw in range(draws):
        rows = rng.integers(0, count, count)
        values[draw] = metric(*(group[rows] for group in groups))
    values = values[~np.isnan(values)]
    if values.size == 0:
        return math.nan, math.nan
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _curve(scores: ArrayLike, labels: ArrayLike) -> Curve:
    values, truth = _checked(scores, labels)
    hits = values[truth]
    rows = [(values, truth)] if values.ndim < 2 else list(zip(values, truth, strict=True))
    return exact_curve(hits, np.ones(hits.size), hits.size, rows)


def _checked(scores: ArrayLike, labels: ArrayLike) -> tuple[Array, Mask]:
    values, truth = np.atleast_1d(scores), np.asarray(labels) > 0
    if values.size != truth.size:
        raise ValueError(f"{values.size} scores and {truth.size} labels: each score needs one.")
    if not np.isfinite(values).all():
        raise ValueError(f"{int((~np.isfinite(values)).sum())} of {values.size} scores are NaN or infinite.")
    return values, truth.reshape(values.shape)
