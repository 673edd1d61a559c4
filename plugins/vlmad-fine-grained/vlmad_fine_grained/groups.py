"""Patch tokens into groups by k-means; pure functions of arrays."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sklearn.cluster import KMeans

__all__ = ["fit_groups", "group_tokens"]

Array = NDArray[np.float64]


def fit_groups(tokens: Array, groups: int, *, seed: int = 0, starts: int = 3) -> KMeans:
    """K-means of tokens; the same for the same seed.

    Args:
        tokens: ``[M, D]``.
        groups: At most; tokens that are all alike have fewer.
        seed: Of the starts.
        starts: Of which the best is kept.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # tokens that are all alike have fewer groups
        return KMeans(min(groups, len(tokens)), n_init=starts, random_state=seed).fit(tokens)


def group_tokens(images: Array, groups: int, *, seed: int = 0) -> NDArray[np.int64]:
    """The number of the group of each token, each image by itself: ``[B, M, D]`` to ``[B, M]``."""
    return np.stack([fit_groups(tokens, groups, seed=seed, starts=1).labels_ for tokens in images]).astype(np.int64)
