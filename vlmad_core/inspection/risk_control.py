"""The threshold for regions of a map: conformal risk control over the share of normal pixels above it.

Angelopoulos, Bates, Fisch, Lei, Schuster, *Conformal Risk Control*, 2022 (ICLR 2024), Theorem 1: if each normal image
has a loss ``L_i(t)`` in [0, B] that does not rise with t, then for the lowest t with
``n/(n+1) mean_i L_i(t) + B/(n+1) <= alpha`` the expected loss of a new normal image is at most alpha. Here the loss is
the share of the image's pixels that are above t, so B is 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlmad_core.errors import ConfigError
from vlmad_core.inspection.conformal import as_scores, check_rate, normals_needed

__all__ = ["TAIL_SHARES", "map_tail", "pixel_threshold"]

TAIL_SHARES: tuple[float, ...] = (0.0, *(10 ** (i / 5 - 5) for i in range(25)), 1.0)
"""Shares of a map for which `map_tail` keeps a value: 0, then five a decade from 0.00001 to 0.63, then 1."""


def map_tail(anomaly_map: ArrayLike | NDArray[np.floating]) -> tuple[float, ...]:
    """The upper tail of a map: for each of `TAIL_SHARES`, the lowest value that at most that share of pixels exceed.

    It stands for the whole map in a calibration: 27 numbers instead of a million. The first is the maximum.

    Args:
        anomaly_map: Scores of pixels, any shape, in the size in which regions will be searched.

    Raises:
        ConfigError: The map is empty or has a value that is not finite.
    """
    pixels = np.sort(as_scores(anomaly_map, "pixels of the map"))[::-1]
    if not pixels.size:
        raise ConfigError("the anomaly map has no pixels.")
    exceeding = np.floor(np.asarray(TAIL_SHARES) * pixels.size).astype(np.int64)
    return tuple(pixels[np.minimum(exceeding, pixels.size - 1)].tolist())


def pixel_threshold(tails: Sequence[Sequence[float]], max_share: float) -> float:
    """Lowest threshold at which the expected share of flagged pixels of a normal image is at most ``max_share``.

    A pixel is flagged if it is above the threshold, not at it. Between two of `TAIL_SHARES` the larger one is counted,
    so the loss is never smaller than the true share and the bound holds for the true share.

    Args:
        tails: `map_tail` of each normal image that the detector did not use, one (the most flagged) for each group.
        max_share: Of the pixels, in (0, 1).

    Raises:
        ConfigError: So few images cannot carry the share: ``1 / (n + 1) > max_share``.
    """
    check_rate(max_share, "the share of flagged normal pixels")
    n, needed = len(tails), normals_needed(max_share)
    if n < needed:
        raise ConfigError(
            f"at most {max_share:.4g} of the normal pixels flagged needs {needed} normal images, and there are {n}. "
            f"Add {needed - n} more, or allow a larger share."
        )
    values = np.asarray(tails, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != len(TAIL_SHARES):
        raise ConfigError(f"the tail of a map must have {len(TAIL_SHARES)} values, not {values.shape[1:]}.")
    # At a value the loss of its image falls from the next larger share to this one; in order of descending thresholds
    # it rises by these steps.
    steps = np.diff(np.asarray(TAIL_SHARES))
    points = values[:, :-1].reshape(-1)
    rises = np.tile(steps, n)
    order = np.argsort(-points, kind="stable")
    points, rises = points[order], rises[order]
    is_last_of_ties = np.append(points[1:] != points[:-1], True)
    # Just below points[j] the sum of losses is the cumulative rise; at points[j] it is what the points above gave.
    sums = np.cumsum(rises)
    allowed = max_share * (n + 1) - 1
    above = np.append(0.0, sums[is_last_of_ties][:-1])
    candidates = points[is_last_of_ties]
    # A sum of many rounded steps must not pass by rounding: allow less, never more.
    fits = above <= max(0.0, allowed - 1e-12 * n) if allowed > 0 else above <= 0
    lowest = candidates[fits][-1]
    return float(lowest)
