"""Bilinear resizing of an anomaly map, equal to what the core does with torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["bilinear"]


def bilinear(values: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """``[h, w]`` to ``[height, width]``; centres of pixels are aligned, the border is repeated.

    >>> bilinear(np.array([[0.0, 1.0]], np.float32), (1, 4)).tolist()
    [[0.0, 0.25, 0.75, 1.0]]
    """
    values = values.astype(np.float32, copy=False)
    if values.shape == tuple(size):
        return values
    for axis in (0, 1):
        low, high, share = _places(values.shape[axis], size[axis])
        share = share[:, None] if axis == 0 else share
        values = values.take(low, axis) * (1 - share) + values.take(high, axis) * share
    return values


def _places(old: int, new: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """The two neighbours of each new cell and the share of the second one."""
    place = (np.arange(new, dtype=np.float32) + np.float32(0.5)) * np.float32(old / new) - np.float32(0.5)
    place = np.maximum(place, 0)
    low = np.minimum(place.astype(np.intp), old - 1)
    return low, np.minimum(low + 1, old - 1), (place - low).astype(np.float32)
