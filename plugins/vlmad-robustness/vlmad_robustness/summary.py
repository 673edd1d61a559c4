"""From scores to what a report states: AUROC, false alarms and misses with intervals; and the sanity checks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlmad_core.inspection.conformal import binomial_interval
from vlmad_core.metrics import auroc, auroc_interval
from vlmad_robustness.measure import Measured
from vlmad_robustness.plan import LARGE, Plan

__all__ = ["Check", "Rate", "Summary", "sanity", "summarise"]


@dataclass(frozen=True)
class Rate:
    """A share that was counted, with its 95 % Clopper-Pearson interval."""

    count: int
    total: int

    @property
    def share(self) -> float:
        """NaN of nothing."""
        return self.count / self.total if self.total else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Of the share, 95 %."""
        return binomial_interval(self.count, self.total) if self.total else (0.0, 1.0)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.count}/{self.total} ({100 * low:.0f} to {100 * high:.0f} %)" if self.total else "-"

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {"count": self.count, "total": self.total, "interval": list(self.interval)}


@dataclass(frozen=True)
class Summary:
    """One condition.

    Args:
        auroc: Of image scores; NaN where one label is missing.
        interval: Of it, 95 %.
        false_alarms: Alarms on normal images.
        misses: Defective images without an alarm.
        pixel_auroc: None where there are no masks.
        aupro: Likewise.
    """

    auroc: float
    interval: tuple[float, float]
    false_alarms: Rate
    misses: Rate
    pixel_auroc: float | None
    aupro: float | None

    def record(self) -> dict[str, Any]:
        """As JSON."""
        known = not math.isnan(self.auroc)
        return {
            "auroc": self.auroc if known else None,
            "auroc_interval": list(self.interval) if known else None,
            "false_alarms": self.false_alarms.record(),
            "misses": self.misses.record(),
            "pixel_auroc": self.pixel_auroc,
            "aupro": self.aupro,
        }


def summarise(measured: Measured, labels: NDArray[np.bool_]) -> Summary:
    """The numbers of a condition.

    Args:
        measured: Its scores.
        labels: Of all test images.
    """
    truth = labels[measured.images]
    alarms = np.array(measured.alarms, bool)
    normal, defective = int((~truth).sum()), int(truth.sum())
    area = float(auroc(measured.scores, truth)) if normal and defective else math.nan
    ends = auroc_interval(area, defective, normal) if normal and defective else (math.nan, math.nan)
    return Summary(
        area,
        ends,
        Rate(int((alarms & ~truth).sum()), normal),
        Rate(int((~alarms & truth).sum()), defective),
        measured.pixel_auroc,
        measured.aupro,
    )


@dataclass(frozen=True)
class Check:
    """A sanity check of the attacks.

    Args:
        text: What must hold.
        passed: Whether it does; None: could not be checked.
        found: The numbers it rests on.
    """

    text: str
    passed: bool | None
    found: str


def sanity(measured: Mapping[str, Measured], plan: Plan) -> list[Check]:
    """Whether the attacks did what working attacks do; an attack that fails these says nothing of robustness."""
    checks = []
    epsilons = sorted(plan.epsilons)
    for direction, sign in (("raise", 1), ("hide", -1)):
        means = [_mean(measured.get(f"attack:pgd:{direction}:{epsilon}")) for epsilon in epsilons]
        known = [mean for mean in means if mean is not None]
        text = f"{direction}: the mean score after PGD moves further with each larger epsilon"
        rises = all(sign * (b - a) >= -1e-6 for a, b in pairwise(known))
        checks.append(Check(text, rises if len(known) > 1 else None, " → ".join(f"{mean:.4f}" for mean in known)))
        most = measured.get(f"attack:pgd:{direction}:{epsilons[-1]}")
        trace = [] if most is None else most.more.get("trace", [])
        text = f"{direction}: the mean score moves on with more steps (PGD, epsilon {epsilons[-1]})"
        parts = _quarters(trace)
        moves = all(sign * (b - a) >= -0.02 * abs(parts[-1] - parts[0]) for a, b in pairwise(parts))
        checks.append(Check(text, moves if parts else None, " → ".join(f"{mean:.4f}" for mean in parts)))
        worse, compared = 0, 0
        for epsilon in epsilons:
            control, gradient = (measured.get(f"attack:{m}:{direction}:{epsilon}") for m in ("random", "pgd"))
            if control is not None and gradient is not None:
                pairs = zip(control.scores, gradient.scores, strict=True)
                worse += sum(sign * g < sign * c - 1e-6 for c, g in pairs)
                compared += len(control.scores)
        text = f"{direction}: PGD finds at least what random noise of the same norm finds, in every image"
        checks.append(Check(text, worse == 0 if compared else None, f"{worse} of {compared} images are exceptions"))
        large = measured.get(f"attack:pgd:{direction}:{LARGE}")
        wins = 0 if large is None else sum(above is (sign > 0) for above in large.above)
        text = f"{direction}: with epsilon {LARGE}/255 every attack moves the score across the threshold"
        total = 0 if large is None else len(large.alarms)
        checks.append(Check(text, wins == total if large is not None else None, f"{wins} of {total}"))
    return checks


def _mean(measured: Measured | None) -> float | None:
    return None if measured is None else float(np.mean(measured.scores))


def _quarters(trace: Sequence[float]) -> list[float]:
    """The first value and those after each quarter of the steps."""
    if len(trace) < 5:
        return []
    return [trace[round(i * (len(trace) - 1) / 4)] for i in range(5)]
