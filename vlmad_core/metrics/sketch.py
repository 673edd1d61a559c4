"""Pixel metrics of more maps than memory holds: exact while they fit, then binned, with a bound that is proven.

**Bins.** The bits of a float32, with the sign turned over, order as integers exactly as the floats do. A bin is a run
of ``2**shift`` such integers. The shift is the smallest with which all scores so far fit into the bins, so maps
within a narrow range are counted value by value, and a heavy tail costs resolution near nothing: with all of the
floats to cover, a bin is still no wider than ``2**-13`` of its scores. No range has to be known before.

**What is kept** of a bin: its defective pixels, the sum of their shares (one over the area of their region), its normal
pixels, its lowest and its highest score. All are sums or extremes, so nothing is lost when bins are joined.

**Bound.** Let the scores in bin b lie between those of its neighbours, so that all counts at the ends of bins are
exact. A metric is the area under a curve (or, for F1max, the best point of one) that passes through these ends, and
between two of them it rises and moves right monotonically. So

* AUROC: inside a bin with ``p`` of ``P`` defective and ``n`` of ``N`` normal pixels the curve stays in a rectangle of
  area ``p n / (P N)``. The bin is taken as a tie, the rectangle's diagonal, and whatever order the scores hide, the
  area under them differs from it by half the rectangle at most: ``|error| <= sum of p n / (2 P N)``.
* AUPRO: the same with the sum of shares in place of ``p`` and the number of regions in place of ``P``; of the
  rectangle, only the part left of the limit counts, and the bound takes the larger side of the diagonal there.
* Average precision: bounded by the orders with all defects first and all normal pixels first; see ``Curve.ap``.
* F1max: the ends are thresholds that exist; inside a bin no threshold beats all of its defects and none of its normal
  pixels.

A bin whose lowest and highest score are the same is a true tie and adds nothing. The bounds are computed from the
counts of the data at hand, and ``PixelMetrics.bounds`` reports them; they hold for every data set, however adversarial.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlmad_core.metrics.curve import Curve, PixelMetrics
from vlmad_core.metrics.pixel import one_map, region_shares
from vlmad_core.metrics.ranks import Array, Image, exact_curve

__all__ = ["PixelSketch"]

Keys = NDArray[np.uint32]
TOP = np.uint32(1 << 31)
LARGEST = float(np.finfo(np.float32).max)


class PixelSketch:
    """Pixel metrics of a stream of maps, in bounded memory.

    >>> sketch = PixelSketch()
    >>> sketch.update([[0.1, 0.2], [0.3, 0.9]], [[0, 0], [0, 1]])
    >>> result = sketch.result()
    >>> result.auroc, result.exact
    (1.0, True)

    Args:
        memory: Bytes of scores to keep; while they suffice, results are exact. Beyond, only bins are kept.
        bins: How many; each takes 32 bytes.
    """

    def __init__(self, *, memory: int = 1 << 30, bins: int = 1 << 22) -> None:
        if memory < 0 or bins < 1:
            raise ValueError(f"memory must be 0 or more bytes and bins 1 or more, got {memory} and {bins}.")
        self.memory = memory
        self.maps = 0
        self.regions = 0
        self._limit = bins
        self._kept: list[tuple[Array, Array, NDArray[np.float64]]] = []  # normal scores, defects' scores, shares
        self._bytes = 0
        self._bins: _Bins | None = None

    @property
    def nbytes(self) -> int:
        """Bytes held now."""
        return self._bytes + (self._bins.nbytes if self._bins else 0)

    def update(self, anomaly_map: ArrayLike, mask: ArrayLike | None = None) -> None:
        """Take in one map; nothing of what is given is kept, only copies.

        Args:
            anomaly_map: ``[height, width]``, finite; sizes may differ between maps.
            mask: The same shape, above 0 for defect; None for an image without one.

        Raises:
            ValueError: Shapes that differ, NaN or infinite values; the map then counts for nothing.
        """
        values, truth = one_map(anomaly_map, mask, self.maps)
        defects, shares, regions = values[:0].ravel(), np.empty(0), 0
        if truth is not None:
            defects = values[truth]
            shares, regions = region_shares(truth)
        normals = values.flatten() if truth is None else values[~truth]
        self.maps += 1
        self.regions += regions
        if self._bins is not None:
            self._bins.add(normals, defects, shares)
            return
        self._kept.append((normals, defects, shares))
        self._bytes += normals.nbytes + defects.nbytes + shares.nbytes
        if self._bytes > self.memory:
            self._bins = _Bins(self._limit)
            while self._kept:
                self._bins.add(*self._kept.pop())
            self._bytes = 0

    def result(self, limits: tuple[float, ...] = (0.3, 0.05)) -> PixelMetrics:
        """The metrics of all maps so far, with their bounds; more maps may follow.

        Args:
            limits: False-positive rates at which AUPRO is cut, above 0 and at most 1.
        """
        if self._bins is not None:
            return self._bins.curve(self.regions).metrics(limits)
        defects = np.concatenate([np.empty(0, np.float32), *(defects for _, defects, _ in self._kept)])
        shares = np.concatenate([np.empty(0), *(shares for _, _, shares in self._kept)])
        images: list[Image] = [(normals, None) for normals, _, _ in self._kept]
        return exact_curve(defects, shares, self.regions, images).metrics(limits)


class _Bins:
    """Counts of scores by runs of float32 bits; runs widen when a score falls outside."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.shift = 0
        self.first = 0  # number of the lowest run that has a bin
        self.lowest, self.highest = 1 << 32, -1  # of all keys
        self.rounded = False  # whether scores that differ may have become one key
        self.hits = np.zeros(limit, np.int64)
        self.normals = np.zeros(limit, np.int64)
        self.shares = np.zeros(limit, np.float64)
        self.low = np.full(limit, 2**32 - 1, np.uint32)
        self.high = np.zeros(limit, np.uint32)

    @property
    def nbytes(self) -> int:
        return sum(a.nbytes for a in (self.hits, self.normals, self.shares, self.low, self.high))

    def add(self, normals: Array, defects: Array, shares: NDArray[np.float64]) -> None:
        normal_keys, defect_keys = self._keys(normals), self._keys(defects)
        for keys in (normal_keys, defect_keys):
            if keys.size:
                self._cover(int(keys.min()), int(keys.max()))
        for keys, counts in ((normal_keys, self.normals), (defect_keys, self.hits)):
            places = self._places(keys)
            np.add.at(counts, places, 1)
            np.minimum.at(self.low, places, keys)
            np.maximum.at(self.high, places, keys)
        np.add.at(self.shares, self._places(defect_keys), shares)

    def curve(self, regions: int) -> Curve:
        above = self.normals.sum() - np.cumsum(self.normals)
        held = np.flatnonzero(self.hits)[::-1]
        mixed = np.full(held.size, True) if self.rounded else self.low[held] != self.high[held]
        return Curve(
            hits=self.hits[held],
            shares=self.shares[held],
            above=above[held],
            equal=self.normals[held],
            normal=int(self.normals.sum()),
            regions=regions,
            mixed=mixed,
        )

    def _keys(self, scores: Array) -> Keys:
        """Integers that order as the scores do; rounding to float32 is monotone, so it never turns two around."""
        single = np.clip(scores, -LARGEST, LARGEST).astype(np.float32)
        if scores.dtype != np.float32 and bool((single != scores).any()):
            self.rounded = True
        bits = (single + np.float32(0)).view(np.uint32)  # adding 0 makes the two zeros one
        return np.where(bits & TOP, ~bits, bits | TOP)

    def _places(self, keys: Keys) -> NDArray[np.intp]:
        return (keys >> np.uint32(self.shift)).astype(np.intp) - self.first

    def _cover(self, lowest: int, highest: int) -> None:
        """Widen or move the runs so that these keys and all before them have a bin."""
        lowest, highest = min(lowest, self.lowest), max(highest, self.highest)
        shift = self.shift
        while (highest >> shift) - (lowest >> shift) >= self.limit:
            shift += 1
        inside = self.first <= lowest >> shift and highest >> shift < self.first + self.limit
        if shift != self.shift or not inside:
            spare = self.limit - 1 - ((highest >> shift) - (lowest >> shift))
            self._move(shift, max(0, (lowest >> shift) - spare // 2))
        self.lowest, self.highest = lowest, highest

    def _move(self, shift: int, first: int) -> None:
        held = np.flatnonzero(self.hits + self.normals)
        places = ((held + self.first) >> (shift - self.shift)) - first
        for name, empty, join in (
            ("hits", 0, np.add),
            ("normals", 0, np.add),
            ("shares", 0, np.add),
            ("low", 2**32 - 1, np.minimum),
            ("high", 0, np.maximum),
        ):
            before = getattr(self, name)
            after = np.full_like(before, empty)
            join.at(after, places, before[held])
            setattr(self, name, after)
        self.shift, self.first = shift, first
