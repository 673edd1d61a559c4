"""Connected regions of a mask without scipy: runs of pixels in each row, joined where they touch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["label"]


def label(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], list[tuple[slice, slice]]]:
    """Number the regions whose pixels touch at an edge or a corner, as ``scipy.ndimage.label`` does.

    Args:
        mask: ``[H, W]``.

    Returns:
        ``[H, W]`` with 0 outside and 1, 2, ... in the regions, in the order of their first pixels row by row; and rows
        and columns of each.

    >>> label(np.array([[True, False, True], [False, False, True]]))[0].tolist()
    [[1, 0, 2], [0, 0, 2]]
    """
    edges = np.diff(np.pad(mask.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    rows, starts = np.nonzero(edges == 1)
    _, ends = np.nonzero(edges == -1)
    parents = list(range(len(rows)))
    for upper, lower in _touching(rows.tolist(), starts.tolist(), ends.tolist()):
        a, b = _root(parents, upper), _root(parents, lower)
        parents[max(a, b)] = min(a, b)  # the earlier run is the root, so that numbers follow the first pixels
    roots = np.array([_root(parents, run) for run in range(len(rows))], dtype=np.intp)
    numbers = np.unique(roots, return_inverse=True)[1].reshape(-1)
    labels = np.zeros(mask.shape, np.int32)
    labels[mask] = np.repeat(numbers + 1, ends - starts)
    count = int(numbers.max()) + 1 if len(numbers) else 0
    low, high = np.full((count, 2), max(mask.shape, default=0) + 1), np.zeros((count, 2), np.intp)
    np.minimum.at(low, numbers, np.stack([rows, starts], 1))
    np.maximum.at(high, numbers, np.stack([rows + 1, ends], 1))
    boxes = [
        (slice(top, bottom), slice(left, right))
        for (top, left), (bottom, right) in zip(low.tolist(), high.tolist(), strict=True)
    ]
    return labels, boxes


def _root(parents: list[int], run: int) -> int:
    while parents[run] != run:
        parents[run] = parents[parents[run]]
        run = parents[run]
    return run


def _touching(rows: list[int], starts: list[int], ends: list[int]) -> list[tuple[int, int]]:
    """Pairs of runs in neighbouring rows that touch at an edge or a corner; both rows are walked once."""
    pairs, above, here = [], 0, 0
    while here < len(rows) and above < len(rows):
        if rows[above] + 1 < rows[here] or (rows[above] + 1 == rows[here] and ends[above] < starts[here]):
            above += 1
        elif rows[above] + 1 > rows[here] or starts[above] > ends[here]:
            here += 1
        else:
            pairs.append((above, here))
            if ends[above] < ends[here]:
                above += 1
            else:
                here += 1
    return pairs
