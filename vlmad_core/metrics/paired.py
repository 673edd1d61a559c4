"""Is one detector better than another: tests on the same images, since those are what both found easy or hard.

DeLong's test is exact enough and instant, for image AUROC. The paired bootstrap takes any metric. Both say when there
are too few images for their answer to mean much.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import erfc, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlmad_core.metrics.curve import Numbers
from vlmad_core.metrics.interval import auroc_interval

__all__ = ["Paired", "delong", "paired_bootstrap"]

FEW = 10
"""Images of a kind below which the normal approximation and the percentiles are too rough to rely on."""


@dataclass(frozen=True)
class Paired:
    """Two detectors compared on the same images.

    Args:
        first: The metric of the first detector.
        second: Of the second.
        difference: ``first - second``.
        low: Lower end of the interval of the difference.
        high: Upper end.
        p: Probability of a difference this large either way if there were none; NaN where it is not known.
        method: ``"delong"`` or ``"bootstrap"``.
        caution: Why not to rely on it, as a sentence; empty where there is no reason.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    p: float
    method: str
    caution: str = ""


def delong(first: ArrayLike, second: ArrayLike, labels: ArrayLike, *, level: float = 0.95) -> Paired:
    """Test whether two detectors differ in AUROC (DeLong et al., Biometrics 1988; midranks of Sun and Xu, 2014).

    O(n log n). The interval is the normal approximation; where the images show no spread at all, as when both detectors
    are perfect, it is that of two independent samples.

    Args:
        first: ``[N]`` scores of the first detector; higher is more anomalous.
        second: ``[N]`` scores of the second, of the same images.
        labels: ``[N]`` above 0 for abnormal.
        level: Coverage of the interval.

    Raises:
        ValueError: Lengths that differ, scores that are not finite, or fewer than two images of a kind.
    """
    both, truth = _checked((first, second), labels, level)
    abnormal, normal = int(truth.sum()), int((~truth).sum())
    if min(abnormal, normal) < 2:
        raise ValueError(f"DeLong's test needs two images of each kind; got {normal} normal and {abnormal} abnormal.")
    # How often each abnormal one is above a normal one, and each normal one below an abnormal one.
    wins = np.stack([(_midranks(s)[truth] - _midranks(s[truth])) / normal for s in both])
    losses = np.stack([1 - (_midranks(s)[~truth] - _midranks(s[~truth])) / abnormal for s in both])
    one, two = wins.mean(1)
    variance = float(np.var(wins[0] - wins[1], ddof=1) / abnormal + np.var(losses[0] - losses[1], ddof=1) / normal)
    difference, error = float(one - two), sqrt(variance)
    caution = _few(truth)
    margin = NormalDist().inv_cdf((1 + level) / 2) * error
    low, high = max(-1.0, difference - margin), min(1.0, difference + margin)
    if error > 1e-12:
        p = erfc(abs(difference) / error / sqrt(2))
    else:
        p = 1.0 if abs(difference) < 1e-12 else float("nan")
        if not np.array_equal(_midranks(both[0]), _midranks(both[1])):
            low, high = _independent((float(one), float(two)), abnormal, normal, level)
            unknown = "" if p == 1 else ", and p is unknown"
            caution = (
                f"The images show no spread of the difference; its interval is that of independent samples{unknown}."
            )
    return Paired(float(one), float(two), difference, low, high, p, "delong", caution)


def paired_bootstrap(
    metric: Callable[..., float],
    first: Sequence[Any] | NDArray[Any],
    second: Sequence[Any] | NDArray[Any],
    truth: Sequence[Any] | NDArray[Any],
    *,
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Paired:
    """Compare two detectors in any metric over images drawn with replacement, the same ones for both.

    Args:
        metric: Called as ``metric(scores, truth)`` with the drawn rows; for instance ``aupro`` on maps and masks.
        first: One row an image: ``[N]`` scores or ``[N, H, W]`` maps of the first detector.
        second: The same of the second.
        truth: One row an image: labels or masks.
        draws: How many times to draw; those for which the metric is NaN are left out.
        level: Share of the draws inside the interval.
        seed: Of the draws.

    Raises:
        ValueError: Lengths that differ, or no image.
    """
    groups = [np.asarray(group) for group in (first, second, truth)]
    count = len(groups[0])
    if count == 0 or len({len(group) for group in groups}) > 1 or draws < 1 or not 0 < level < 1:
        sizes = ", ".join(str(len(group)) for group in groups)
        raise ValueError(
            "Scores of two detectors and the truth need one row an image each, draws 1 or more and the level between "
            f"0 and 1; got {sizes} rows, draws {draws}, level {level}."
        )
    one, two = float(metric(groups[0], groups[2])), float(metric(groups[1], groups[2]))
    draw, found = np.random.default_rng(seed), np.empty(draws)
    for turn in range(draws):
        rows = draw.integers(0, count, count)
        drawn = groups[2][rows]
        found[turn] = float(metric(groups[0][rows], drawn)) - float(metric(groups[1][rows], drawn))
    found = found[~np.isnan(found)]
    abnormal = np.any(groups[2].reshape(count, -1) > 0, axis=1)
    if found.size == 0:
        nan = float("nan")
        return Paired(one, two, one - two, nan, nan, nan, "bootstrap", "No draw had images of both kinds.")
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    # The draws on the far side of no difference, counting the sample itself, so that it is never 0.
    side = 1 + min(int((found <= 0).sum()), int((found >= 0).sum()))
    p = min(1.0, 2 * side / (found.size + 1))
    return Paired(one, two, one - two, float(low), float(high), p, "bootstrap", _few(np.asarray(abnormal)))


def _checked(pair: tuple[ArrayLike, ArrayLike], labels: ArrayLike, level: float) -> tuple[Numbers, NDArray[np.bool_]]:
    scores, truth = [np.asarray(s, dtype=np.float64).ravel() for s in pair], np.asarray(labels).ravel() > 0
    if len({truth.size, *(s.size for s in scores)}) > 1:
        raise ValueError(f"{scores[0].size} and {scores[1].size} scores for {truth.size} labels: one each an image.")
    both = np.stack(scores)
    if not np.isfinite(both).all() or not 0 < level < 1:
        raise ValueError(f"Scores must be finite and the level between 0 and 1; got level {level} and {both}.")
    return both, truth


def _independent(areas: tuple[float, float], abnormal: int, normal: int, level: float) -> tuple[float, float]:
    """Interval of a difference from those of its two sides (Newcombe, Statistics in Medicine 1998, method 10)."""
    (one, two), ends = areas, [auroc_interval(area, abnormal, normal, level=level) for area in areas]
    (low_one, high_one), (low_two, high_two) = ends
    return (
        max(-1.0, one - two - sqrt((one - low_one) ** 2 + (high_two - two) ** 2)),
        min(1.0, one - two + sqrt((high_one - one) ** 2 + (two - low_two) ** 2)),
    )


def _midranks(scores: Numbers) -> Numbers:
    """Ranks from 1, ties sharing the middle of theirs."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def _few(truth: NDArray[np.bool_]) -> str:
    normal, abnormal = int((~truth).sum()), int(truth.sum())
    if min(normal, abnormal) >= FEW:
        return ""
    return f"Only {normal} normal and {abnormal} abnormal images: below {FEW} of a kind the interval is rough."
