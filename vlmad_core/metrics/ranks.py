"""Where the scores of defects stand among those of the normal pixels: the one costly step of the exact metrics.

Defects are few, so their scores are sorted once; the normal pixels are copied and sorted in four parts, two at a time
in buffers that are used again, and the scores of defects are looked up in each. That is O(n log n), and in memory about
half the size of the maps and a hundred bytes for each defective pixel. Where the curve is cut at a false-positive rate,
the normal pixels that score below it are left out, which saves most of the sorting.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlmad_core.metrics.curve import Counts, Curve, Numbers

__all__ = ["Array", "Image", "Mask", "exact_curve"]

Array = NDArray[np.generic]
Mask = NDArray[np.bool_]
Image = tuple[Array, Mask | None]
"""Scores of an image in any shape, and which of its pixels are not normal; None where all are."""

THREADS = 2
PARTS = 4
EVERY, ENOUGH = 61, 10_000
"""One in how many pixels is sampled to estimate a rank, and how many of those there must be."""
BLOCK = 1 << 12
"""Scores looked up at a time: they and the normal pixels between them stay in the processor's cache."""


def exact_curve(scores: Array, shares: Numbers, regions: int, images: Sequence[Image], *, limit: float = 1.0) -> Curve:
    """The curve from the scores themselves.

    Args:
        scores: ``[M]`` of the defective pixels.
        shares: ``[M]`` what each adds to the overlap.
        regions: What all shares sum to.
        images: Where the normal pixels are.
        limit: False-positive rate beyond which the curve is not needed, which saves time; it is exact up to there.
    """
    order = np.argsort(scores)[::-1]
    scores, shares = scores[order], shares[order]
    starts = np.flatnonzero(np.append(True, scores[1:] != scores[:-1]))[: scores.size]
    distinct = scores[starts]
    normal = sum(_size(image) for image in images)
    above, equal, kept = _looked_up(distinct, images, _floor(images, limit))
    if kept < limit * normal:  # the floor was drawn from a sample that misled
        above, equal, _ = _looked_up(distinct, images, None)
    return Curve(
        hits=np.diff(np.append(starts, scores.size)),
        shares=np.add.reduceat(shares, starts) if starts.size else np.empty(0),
        above=above,
        equal=equal,
        normal=normal,
        regions=regions,
    )


def _floor(images: Sequence[Image], limit: float) -> Any:
    """A score that somewhat more normal pixels reach than the limit asks for, estimated from a few of them; or None."""
    picked = [
        values.ravel()[::EVERY] if mask is None else values.ravel()[::EVERY][~mask.ravel()[::EVERY]]
        for values, mask in images
    ]
    sample = np.concatenate([np.empty(0, np.uint8), *picked])
    place = int(sample.size * (0.98 - limit))
    if sample.size < ENOUGH or place <= 0:
        return None
    return np.partition(sample, place)[place]


def _looked_up(distinct: Array, images: Sequence[Image], floor: Any) -> tuple[Counts, Counts, int]:
    """Of the normal pixels from the floor up: those above and at each score, and all of them."""
    count = min(PARTS if floor is None else THREADS, len(images))
    parts = [images[first::count] for first in range(count)]
    shared = [parts[first::THREADS] for first in range(min(THREADS, count))]
    if len(shared) > 1:
        with ThreadPoolExecutor(THREADS) as pool:
            counted = list(pool.map(partial(_count, distinct, floor), shared))
    else:
        counted = [_count(distinct, floor, *shared)]
    above = np.sum([above for above, _, _ in counted], axis=0)
    equal = np.sum([equal for _, equal, _ in counted], axis=0)
    return above, equal, sum(kept for _, _, kept in counted)


def _count(distinct: Array, floor: Any, parts: Sequence[Sequence[Image]] = ()) -> tuple[Counts, Counts, int]:
    above, equal, total = np.zeros(distinct.size, np.int64), np.zeros(distinct.size, np.int64), 0
    buffer = np.empty(
        max((sum(_size(image) for image in part) for part in parts), default=0),
        dtype=np.result_type(np.uint8, *{values.dtype for part in parts for values, _ in part}),
    )
    for part in parts:
        end = 0
        for values, mask in part:
            if floor is not None:
                kept = values >= floor
                picked = values[kept if mask is None else kept & ~mask]  # gathered once: that is what costs
            else:
                picked = values.ravel() if mask is None else values[~mask]
            buffer[end : end + picked.size] = picked
            end += picked.size
        normals = buffer[:end]
        normals.sort()
        total += end
        for start in range(0, distinct.size, BLOCK):
            block = distinct[start : start + BLOCK]  # from the highest down
            low, high = np.searchsorted(normals, block[-1]), np.searchsorted(normals, block[0], side="right")
            window = normals[low:high]
            last = np.searchsorted(window, block, side="right")
            above[start : start + BLOCK] += end - low - last
            equal[start : start + BLOCK] += last - np.searchsorted(window, block)
    return above, equal, total


def _size(image: Image) -> int:
    values, mask = image
    return values.size - (0 if mask is None else int(np.count_nonzero(mask)))
