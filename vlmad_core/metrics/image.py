"""Exact metrics on raw scores: every threshold counts, ties are treated right, nothing is binned.

Image metrics take one score and one label an image; on maps and masks the same functions are the pixel metrics.
Monotone changes of the scores change none of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlmad_core.metrics.curve import Curve, Numbers
from vlmad_core.metrics.pixel import aupro, pixel_metrics
from vlmad_core.metrics.ranks import Array, Mask, exact_curve

__all__ = [
    "ImageMetrics",
    "aupro",
    "auroc",
    "average_precision",
    "bootstrap",
    "bootstrap_auroc",
    "f1max",
    "image_metrics",
    "pixel_metrics",
]

AT_ONCE = 1 << 20
"""Drawn scores held at a time, which bounds the memory of a bootstrap."""


@dataclass(frozen=True)
class ImageMetrics:
    """How well scores tell abnormal images from normal ones; NaN where the data cannot say.

    Args:
        auroc: Area under the ROC curve.
        low: Lower end of its bootstrap interval.
        high: Upper end.
        ap: Average precision.
        f1max: Largest F1 over all thresholds.
        abnormal: Images.
        normal: Images.
    """

    auroc: float
    low: float
    high: float
    ap: float
    f1max: float
    abnormal: int
    normal: int


def image_metrics(
    scores: ArrayLike, labels: ArrayLike, *, draws: int = 1000, level: float = 0.95, seed: int = 0
) -> ImageMetrics:
    """AUROC with a bootstrap interval over images, average precision and F1max.

    Args:
        scores: ``[N]``; higher is more anomalous.
        labels: ``[N]``, true or above 0 for abnormal.
        draws: Of the bootstrap.
        level: Share of the draws inside the interval.
        seed: Of the draws.

    Raises:
        ValueError: Numbers of scores and labels that differ, or scores that are not finite.
    """
    curve = _curve(scores, labels)
    low, high = bootstrap_auroc(scores, labels, draws=draws, level=level, seed=seed)
    # Where nothing is normal every threshold is right: 1.0 would say something of the data, not of the scores.
    ap, f1 = (curve.ap()[0], curve.f1max()[0]) if curve.normal else (float("nan"), float("nan"))
    return ImageMetrics(curve.auroc()[0], low, high, ap, f1, int(curve.hits.sum()), curve.normal)


def auroc(scores: ArrayLike, labels: ArrayLike) -> float:
    """Area under the ROC curve: the chance that an abnormal one scores above a normal one; ties count half.

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
    """Area under the precision-recall curve as a sum of steps; NaN without an abnormal one.

    >>> round(average_precision([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]), 4)
    0.8333
    """
    return _curve(scores, labels).ap()[0]


def f1max(scores: ArrayLike, labels: ArrayLike) -> float:
    """Largest F1 over all thresholds; NaN without an abnormal one.

    >>> f1max([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    0.8
    """
    return _curve(scores, labels).f1max()[0]


def bootstrap(
    metric: object, groups: Sequence[NDArray[np.generic]], *, draws: int = 1000, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Percentile interval of a metric over images drawn with replacement.

    Args:
        metric: Called with the drawn rows of each group.
        groups: Arrays of equal length, one row an image; scores and labels.
        draws: How many times to draw; those for which the metric is NaN are left out.
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
    return _interval(np.array(values), level)


def bootstrap_auroc(
    scores: ArrayLike, labels: ArrayLike, *, draws: int = 1000, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """What ``bootstrap(auroc, …)`` gives, all draws at once: scores are sorted once, a draw is how often each counts.

    Args:
        scores: ``[N]``; higher is more anomalous.
        labels: ``[N]``, true or above 0 for abnormal.
        draws: How many times to draw; those with images of one kind alone are left out.
        level: Share of the draws inside the interval.
        seed: Of the draws.

    Returns:
        NaN twice where no draw had images of both kinds.
    """
    values, truth = _checked(scores, labels)
    values, truth, draw, count = values.ravel(), truth.ravel(), np.random.default_rng(seed), values.size
    if count == 0:
        return float("nan"), float("nan")
    order = np.argsort(values)
    place, truth, values = np.argsort(order), truth[order], values[order]
    first = np.searchsorted(values, values[truth])  # for each abnormal one, the scores below it
    last = np.searchsorted(values, values[truth], side="right")  # and those below or with it
    found, rounds = [], max(1, AT_ONCE // count)
    for start in range(0, draws, rounds):
        size = min(rounds, draws - start)
        drawn = place[draw.integers(0, count, (size, count))] * size + np.arange(size)[:, None]
        times = np.bincount(drawn.ravel(), minlength=count * size).reshape(count, size).astype(np.float64)
        below = np.zeros((count + 1, size))
        np.cumsum(np.where(truth[:, None], 0, times), axis=0, out=below[1:])
        wins = np.einsum("ij,ij->j", times[truth], below[first] + below[last]) / 2
        pairs = times[truth].sum(0) * below[-1]
        found.append(np.divide(wins, pairs, out=np.full(size, np.nan), where=pairs > 0))
    return _interval(np.concatenate(found), level)


def _interval(values: Numbers, level: float) -> tuple[float, float]:
    values = values[~np.isnan(values)]
    if values.size == 0:
        return float("nan"), float("nan")
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
