"""Which images are held out when, and how good scores of held-out images are: every image counts, whatever the fold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Difference", "assign_folds", "compare", "fold_auroc"]

_DRAWS = 2000


@dataclass(frozen=True)
class Difference:
    """Two methods on the same held-out images.

    Args:
        difference: AUROC of the first less that of the second.
        low: Lower end of the 95 % interval.
        high: Upper end.
        better: Share of the draws of images in which the first is better; half of a draw where they are equal.
    """

    difference: float
    low: float
    high: float
    better: float


def assign_folds(labels: ArrayLike, count: int, *, seed: int) -> NDArray[np.int64]:
    """Fold of each image, ``[N]`` from 0: images of each label divided evenly, at random.

    >>> sorted(assign_folds([0, 0, 0, 0, 1, 1], 2, seed=0)[4:].tolist())
    [0, 1]
    """
    truth, rng = np.asarray(labels, bool), np.random.default_rng(seed)
    folds = np.zeros(len(truth), np.int64)
    for label in (False, True):
        rows = np.flatnonzero(truth == label)
        folds[rng.permutation(rows)] = np.arange(len(rows)) % count
    return folds


def fold_auroc(scores: ArrayLike, labels: ArrayLike, folds: ArrayLike) -> float:
    """Share of the pairs of a defective and a normal image of one fold that are ranked right; half for equal scores.

    Scores of different folds come from different detectors, so they are never compared.

    >>> fold_auroc([1, 2, 30, 20], [0, 1, 0, 1], [0, 0, 1, 1])
    0.5
    """
    won, pairs = _pairs(scores, labels, folds)
    return float(won.sum() / pairs.sum())


def compare(first: ArrayLike, second: ArrayLike, labels: ArrayLike, folds: ArrayLike, *, seed: int = 0) -> Difference:
    """Two methods by a paired bootstrap over images, normal and defective ones drawn apart."""
    (one, pairs), (two, _) = (_pairs(scores, labels, folds) for scores in (first, second))
    rng, (bad, good) = np.random.default_rng(seed), pairs.shape
    found = []
    for _ in range(_DRAWS):
        counts = np.bincount(rng.integers(bad, size=bad), minlength=bad)[:, None]
        counts = counts * np.bincount(rng.integers(good, size=good), minlength=good)[None]
        total = (counts * pairs).sum()
        if total:
            found.append((counts * (one - two)).sum() / total)
    draws = np.array(found)
    low, high = np.percentile(draws, [2.5, 97.5])
    better = float((draws > 1e-12).mean() + (np.abs(draws) <= 1e-12).mean() / 2)
    return Difference(float((one - two).sum() / pairs.sum()), float(low), float(high), better)


def _pairs(scores: ArrayLike, labels: ArrayLike, folds: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """``[bad, good]``: how far a pair is won (0, half or 1), and whether it is of one fold; others are 0."""
    values, truth, fold = np.asarray(scores, float), np.asarray(labels, bool), np.asarray(folds)
    bad, good = values[truth][:, None], values[~truth][None]
    same = fold[truth][:, None] == fold[~truth][None]
    return ((bad > good) + (bad == good) / 2) * same, same
