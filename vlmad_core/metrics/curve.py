"""From counts to numbers: what each distinct score of a defect finds, and the metrics that follow from it.

Between two scores of defects only false alarms are added, so the curve is known everywhere once it is known there:
exact metrics need one entry for each distinct score of a defect, however many normal pixels there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Counts", "Curve", "Estimate", "Numbers", "PixelMetrics"]

Numbers = NDArray[np.float64]
Counts = NDArray[np.int64]
Estimate = tuple[float, float]
"""A value, and how far at most the exact one lies from it."""

UNKNOWN: Estimate = (float("nan"), 0.0)


@dataclass(frozen=True)
class PixelMetrics:
    """How well maps separate defective pixels from normal ones; NaN where one kind is missing.

    Args:
        auroc: All pixels pooled.
        ap: Average precision, all pixels pooled.
        f1max: Largest F1 over all thresholds, all pixels pooled.
        aupro: For each limit of the false-positive rate.
        bounds: For each of them, how far the exact value can be from it at most; all 0 where nothing was binned.
        regions: Connected defects.
        defective: Defective pixels.
        normal: Normal pixels.
    """

    auroc: float
    ap: float
    f1max: float
    aupro: dict[float, float]
    bounds: dict[str, float]
    regions: int
    defective: int
    normal: int

    @property
    def bound(self) -> float:
        """The largest of the bounds."""
        return max(self.bounds.values())

    @property
    def exact(self) -> bool:
        """Whether every one of them is exact."""
        return self.bound == 0


@dataclass(frozen=True)
class Curve:
    """One entry for each distinct score of a defective pixel, or for each bin that holds one, from the highest down.

    Args:
        hits: ``[K]`` defective pixels with this score, at least one.
        shares: ``[K]`` sum of one over the area of the region over them.
        above: ``[K]`` normal pixels with a higher score.
        equal: ``[K]`` normal pixels with this score.
        normal: All normal pixels.
        regions: Regions; the shares of all entries sum to it.
        mixed: ``[K]`` whether the entry is a bin whose pixels may differ in score; None where none is.
    """

    hits: Counts
    shares: Numbers
    above: Counts
    equal: Counts
    normal: int
    regions: int
    mixed: NDArray[np.bool_] | None = None

    # Each metric takes a bin as a tie. The pixels of a bin lie between its neighbours' in score, so the counts at its
    # two ends are exact, and whatever order hides inside it moves the curve monotonically from one end to the other:
    # the extreme orders, all defects first or all normal pixels first, bound the metric.

    def auroc(self) -> Estimate:
        """Area under the ROC curve. Inside a bin the curve stays in a rectangle whose diagonal is the tie."""
        pairs = float(self.hits.sum()) * self.normal
        if pairs == 0:
            return UNKNOWN
        below = self.normal - self.above - self.equal / 2
        return float(self.hits @ below / pairs), float(self._mixed(self.hits * (self.equal / 2)).sum() / pairs)

    def ap(self) -> Estimate:
        """Average precision, a sum of steps.

        In a bin with ``k`` defects behind ``T`` others, precision is at most ``(T + k) / (T + k + above)``; and at its
        i-th defect at least ``(T + i) / (T + i + c)`` with ``c = above + equal``, which grows with i, so that their sum
        is at least the integral from 0 to k: ``k - c log((T + k + c) / (T + c))``.
        """
        total = self.hits.sum()
        if total == 0:
            return UNKNOWN
        found, alarms = np.cumsum(self.hits), self.above + self.equal
        value = self.hits * found / (found + alarms)
        high = self.hits * found / (found + self.above)
        before = found - self.hits + alarms
        low: Numbers = self.hits - alarms * np.log1p(self.hits / np.maximum(before, 1))
        return self._within(low, value, high, float(total))

    def f1max(self) -> Estimate:
        """Largest F1. The ends of bins are thresholds that exist; inside, F1 is at most that of all defects first."""
        total = self.hits.sum()
        if total == 0:
            return UNKNOWN
        found = np.cumsum(self.hits)
        value = float(np.max(2 * found / (found + self.above + self.equal + total)))
        inside = self._mixed(2 * found / (found + self.above + total))
        return value, max(0.0, float(inside.max(initial=0.0)) - value)

    def aupro(self, limit: float) -> Estimate:
        """Area under the per-region overlap up to a false-positive rate, over that rate.

        Each entry lifts the overlap by its share along a straight line over its normal pixels; it adds what lies under
        its own rise up to the limit.
        """
        if not 0 < limit <= 1:
            raise ValueError(f"The limit of the false-positive rate must be above 0 and at most 1, got {limit}.")
        if self.regions == 0 or self.normal == 0:
            return UNKNOWN
        end = limit * self.normal
        early, late = np.maximum(end - self.above, 0), np.maximum(end - self.above - self.equal, 0)
        rise = (early - late) ** 2 / np.maximum(2 * self.equal, 1)
        low, high = self.shares * late, self.shares * early
        return self._within(low, low + self.shares * rise, high, self.regions * end)

    def metrics(self, limits: Sequence[float] = (0.3, 0.05)) -> PixelMetrics:
        """All of them."""
        found = {"auroc": self.auroc(), "ap": self.ap(), "f1max": self.f1max()}
        pro = {limit: self.aupro(limit) for limit in limits}
        return PixelMetrics(
            **{name: value for name, (value, _) in found.items()},
            aupro={limit: value for limit, (value, _) in pro.items()},
            bounds={name: bound for name, (_, bound) in found.items()}
            | {f"aupro {limit:g}": bound for limit, (_, bound) in pro.items()},
            regions=self.regions,
            defective=int(self.hits.sum()),
            normal=self.normal,
        )

    def _mixed(self, values: Numbers) -> Numbers:
        return values[self.mixed] if self.mixed is not None else values[:0]

    def _within(self, low: Numbers, value: Numbers, high: Numbers, total: float) -> Estimate:
        """Sums over entries: the value, and the distance to the farther of the two extremes."""
        up, down = self._mixed(high - value).sum(), self._mixed(value - low).sum()
        return min(1.0, float(value.sum() / total)), max(0.0, float(max(up, down) / total))
