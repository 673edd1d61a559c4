"""Distribution-free statistics of the scores of normal images: p-values, thresholds, and what they bound.

All of it needs one assumption: a new good image and the normal images are exchangeable (made and photographed alike).
Nothing is assumed about the distribution of the scores. Sources: Vovk, Gammerman, Shafer, *Algorithmic Learning in a
Random World*, 2005 (p-values); Lei et al., JASA 2018 (split conformal); Barber et al., Annals of Statistics 2021
(jackknife+ and CV+); Wilks 1941 (tolerance bounds by order statistics).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlmad_core.errors import ConfigError

__all__ = [
    "Numbers",
    "as_scores",
    "binomial_interval",
    "check_rate",
    "cross_validation_bound",
    "group_maxima",
    "normals_needed",
    "p_values",
    "rate_interval",
    "split_rank",
    "threshold_rank",
    "tolerance_rank",
    "upper_threshold",
]

_LOWEST_RATE = 1e-9
"""Below it a rate would need a billion images, and the sums lose their meaning."""

Numbers = NDArray[np.float64]


def as_scores(values: ArrayLike, what: str = "scores") -> Numbers:
    """Values as a flat float64 array.

    Raises:
        ConfigError: One of them is NaN or infinite.
    """
    array = np.asarray(values, dtype=np.float64).reshape(-1)
    wrong = np.flatnonzero(~np.isfinite(array))
    if wrong.size:
        raise ConfigError(
            f"{wrong.size} of {array.size} {what} are not finite numbers, the first is number {wrong[0] + 1} "
            f"({array[wrong[0]]}). Check the images and the detector that gave them."
        )
    return array


def check_rate(value: float, what: str) -> float:
    """The value, if it is a rate between 0 and 1 that some number of images can carry.

    Raises:
        ConfigError: It is not; 0 would need infinitely many normal images, and 1 flags everything.
    """
    if 0 < value < _LOWEST_RATE:
        raise ConfigError(f"{what} must be at least {_LOWEST_RATE:g}, not {value}; no number of images carries less.")
    if not 0 < value < 1:
        raise ConfigError(f"{what} must be above 0 and below 1, not {value}; 0.01 means 1 %.")
    return float(value)


def p_values(normals: ArrayLike, scores: ArrayLike) -> Numbers:
    """Conformal p-values ``(1 + #{normals >= score}) / (n + 1)``, one for each score, in [1 / (n + 1), 1].

    If a good image is exchangeable with the normals, ``P(p <= alpha) <= alpha`` for every alpha (Vovk 2005). A tie
    counts as a normal that is at least as high, so the p-value errs on the side of no alarm.

    >>> p_values([0.1, 0.2, 0.3], [0.25, 0.3, 0.4]).tolist()
    [0.5, 0.5, 0.25]

    Raises:
        ConfigError: There is no normal score, or a number is not finite.
    """
    ordered = np.sort(as_scores(normals, "scores of normal images"))
    if not ordered.size:
        raise ConfigError("there is no score of a normal image, so there is no p-value. Calibrate with normal images.")
    at_least = ordered.size - np.searchsorted(ordered, as_scores(scores), side="left")
    return np.asarray((1 + at_least) / (ordered.size + 1), dtype=np.float64)


def split_rank(n: int, alpha: float) -> int:
    """Largest k with ``k / (n + 1) <= alpha``: ``p <= alpha`` means a score above the k-th highest normal.

    0 if n normals cannot carry alpha. Computed with the same division as the p-values, so that both decide alike.
    """
    rank = math.floor(alpha * (n + 1))
    while rank / (n + 1) > alpha:
        rank -= 1
    while (rank + 1) / (n + 1) <= alpha:
        rank += 1
    return rank


def tolerance_rank(n: int, alpha: float, confidence: float) -> int:
    """Largest k for which the rate above the k-th highest of n independent normals is at most alpha with confidence.

    That rate is distributed as Beta(k, n - k + 1), or lower if scores tie, so k is the largest with
    ``P(Binomial(n, alpha) >= k) >= confidence``; 0 if there is none (Wilks 1941).
    """
    ranks = np.arange(1, n + 1)
    from scipy.special import betainc  # takes half a second, so only where it is used

    return int(np.count_nonzero(betainc(ranks, n - ranks + 1, alpha) >= confidence))


def threshold_rank(n: int, alpha: float, confidence: float | None = None) -> int:
    """`split_rank` without a confidence, `tolerance_rank` with one."""
    return split_rank(n, alpha) if confidence is None else tolerance_rank(n, alpha, confidence)


def normals_needed(alpha: float, confidence: float | None = None) -> int:
    """Fewest normal images, or groups of them, that can carry a false-alarm rate.

    Args:
        alpha: False-alarm rate, in (0, 1).
        confidence: None for a rate that holds on average: n with ``1 / (n + 1) <= alpha``. Otherwise the probability
            with which it must hold: n with ``1 - (1 - alpha)^n >= confidence``.

    >>> [normals_needed(alpha) for alpha in (0.1, 0.05, 0.01)]
    [9, 19, 99]
    >>> [normals_needed(alpha, 0.95) for alpha in (0.1, 0.05, 0.01)]
    [29, 59, 299]
    """
    check_rate(alpha, "the false-alarm rate")
    if confidence is None:
        n = max(1, math.floor(1 / alpha) - 2)
    else:
        n = max(1, math.floor(math.log1p(-check_rate(confidence, "the confidence")) / math.log1p(-alpha)) - 1)
    while threshold_rank(n, alpha, confidence) < 1:
        n += 1
    return n


def upper_threshold(normals: ArrayLike, alpha: float, confidence: float | None = None) -> float:
    """Threshold in units of the score; an image above it (not at it) is an alarm.

    Without a confidence this is split conformal: above it means ``p <= alpha``, and a good image is above it with
    probability at most alpha, on average over the drawing of the normals. With a confidence, the rate of these very
    normals is at most alpha with that probability.

    Args:
        normals: Scores of normal images that the detector did not use, one value a group.
        alpha: False-alarm rate, in (0, 1).
        confidence: In (0, 1), or None.

    Raises:
        ConfigError: So few normals cannot carry alpha; the text names the number that can.
    """
    ordered = np.sort(as_scores(normals, "scores of normal images"))
    check_rate(alpha, "the false-alarm rate")
    if confidence is not None:
        check_rate(confidence, "the confidence")
    rank = threshold_rank(ordered.size, alpha, confidence)
    if rank < 1:
        needed = normals_needed(alpha, confidence)
        with_confidence = "" if confidence is None else f" with {confidence:.4g} confidence"
        raise ConfigError(
            f"a false-alarm rate of {alpha:.4g}{with_confidence} needs {needed} independent normal images, and there "
            f"are {ordered.size}. Add {needed - ordered.size} more, or choose a higher rate."
        )
    return float(ordered[-rank])


def cross_validation_bound(alpha: float, n: int, folds: int) -> float:
    """Bound on the rate of ``p <= alpha`` where each normal was scored without its own fold (CV+).

    ``2 alpha + min(2 (1 - 1/K) / (n/K + 1), (1 - K/n) / (K + 1))``, Theorem 4 of Barber et al. 2021; with one
    normal a fold (leave-one-out) it is ``2 alpha``, their Theorem 1. The second term of the minimum is proved for folds
    of one size and is left out where K does not divide n.

    The theorem compares each normal with the new image *scored by the same fold's detector*. Scoring the new image by
    the detector of all normals raises its p-value, and keeps the bound, where more references can only lower a score,
    as in a plain nearest-neighbour memory. For other detectors nothing is proved.

    >>> cross_validation_bound(0.05, 40, 40), round(cross_validation_bound(0.05, 40, 10), 4)
    (0.1, 0.1682)

    Args:
        alpha: Level of the p-values, in (0, 1).
        n: Normals, or groups of them.
        folds: From 2 to n.

    Raises:
        ConfigError: A number is out of range.
    """
    check_rate(alpha, "the false-alarm rate")
    if not 2 <= folds <= n:
        raise ConfigError(f"the number of folds must be from 2 to the number of normals ({n}), not {folds}.")
    excess = 2 * (folds - 1) / (n + folds)
    if n % folds == 0:
        excess = min(excess, (1 - folds / n) / (folds + 1))
    return min(1.0, 2 * alpha + excess)


def group_maxima(scores: ArrayLike, groups: Sequence[str]) -> Numbers:
    """The highest score of each group, since images of one object are not independent; a group "" is one image.

    A p-value against these bounds the rate of objects with an alarm on any of their images, hence that of images too.

    >>> group_maxima([0.1, 0.4, 0.2, 0.3], ["a", "a", "", ""]).tolist()
    [0.4, 0.2, 0.3]
    """
    highest: dict[str, float] = {}
    for i, (score, group) in enumerate(zip(as_scores(scores).tolist(), groups, strict=True)):
        key = f"group {group}" if group else f"image {i}"
        highest[key] = max(score, highest.get(key, -math.inf))
    return np.fromiter(highest.values(), np.float64, len(highest))


def rate_interval(n: int, rank: int, level: float = 0.95) -> tuple[float, float]:
    """Where the false-alarm rate of one calibration lies with the given probability, both tails cut equally.

    Above the k-th highest of n independent normals the rate of good images is distributed as Beta(k, n - k + 1), if
    scores do not tie: its mean ``k / (n + 1)`` is what split conformal bounds, this is the spread around it.
    """
    tail = (1 - level) / 2
    from scipy.special import betaincinv  # takes half a second, so only where it is used

    low, high = betaincinv(rank, n - rank + 1, [tail, 1 - tail])
    return float(low), float(high)


def binomial_interval(count: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """Clopper-Pearson interval of a rate that was counted ``count`` times in ``total`` independent trials.

    >>> [round(end, 3) for end in binomial_interval(18, 20)]
    [0.683, 0.988]
    """
    tail = (1 - level) / 2
    from scipy.special import betaincinv  # takes half a second, so only where it is used

    low = betaincinv(count, total - count + 1, tail) if count else 0.0
    high = betaincinv(count + 1, total - count, 1 - tail) if count < total else 1.0
    return float(low), float(high)
