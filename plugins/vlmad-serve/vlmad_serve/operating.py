"""At which false-alarm rate a detector decides, and what each threshold would promise."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from vlmad_core.errors import ConfigError
from vlmad_core.inspection.calibration import Calibration
from vlmad_core.inspection.conformal import cross_validation_bound, normals_needed
from vlmad_core.inspection.rule import DecisionRule, make_rule
from vlmad_core.pipeline.pipeline import Pipeline
from vlmad_core.run.verdicts import Decision, make_decision

__all__ = ["OperatingPoint", "choices", "decide_at", "decide_once", "needed", "promises"]

_RATES = (0.1, 0.2)
"""Tried in this order where nothing was chosen and the normals are too few for the rates of the core."""
_ASKED = (0.001, 0.01, 0.02, 0.05, 0.1, 0.2)
"""Rates that people ask for."""


@dataclass(frozen=True)
class OperatingPoint:
    """What a person chose; None where nobody did.

    Attributes:
        false_alarms: Rate of good images that may be rejected, in (0, 1).
        review: Rate of good images that may be rejected or reviewed.
        confidence: With which the rate must hold.
    """

    false_alarms: float | None = None
    review: float | None = None
    confidence: float | None = None

    @property
    def is_chosen(self) -> bool:
        """Whether anything was chosen."""
        return (self.false_alarms, self.review, self.confidence) != (None, None, None)


def decide_at(pipeline: Pipeline, point: OperatingPoint) -> Decision:
    """The rule of a detector at an operating point.

    Where nobody chose one, it is the lowest of 0.01, 0.05, 0.1 and 0.2 that the normal images can carry.

    Raises:
        ConfigError: A rate was chosen that the normal images cannot carry.
    """
    if point.is_chosen:
        decision = make_decision(pipeline, point.false_alarms, review=point.review, confidence=point.confidence)
    else:
        decision = make_decision(pipeline)
        for rate in _RATES:
            if decision.rule is not None or pipeline.calibration is None:
                break
            try:
                decision = make_decision(pipeline, rate)
            except ConfigError:
                continue
    if decision.rule is not None and decision.pixels is None:
        try:  # few normal images carry a large share only; better than no regions
            return Decision(pipeline, decision.rule, pipeline.pixel_rule(_RATES[0]))
        except ConfigError:
            return decision
    return decision


def decide_once(decision: Decision, false_alarms: float | None, confidence: float | None = None) -> Decision:
    """The rule at another rate, for one request; nothing of it is remembered.

    Args:
        decision: Of the detector, whose calibration was checked.
        false_alarms: In place of its own rate.
        confidence: Likewise.

    Raises:
        ConfigError: The normal images cannot carry the rate, or there are none.
    """
    calibration = decision.pipeline.calibration
    if calibration is None:
        raise ConfigError(decision.reason)
    rule = make_rule(calibration, false_alarms=false_alarms, confidence=confidence)
    return Decision(decision.pipeline, rule, decision.pixels)


def needed(calibration: Calibration | None) -> list[dict[str, Any]]:
    """For each usual rate, how many normal images it needs and how many more that is.

    Returns:
        ``rate``, ``normals`` (needed), ``missing`` (0: the rate can be chosen), in ascending order of the rate.
    """
    best = max((basis.scores.size for basis in calibration.bases), default=0) if calibration is not None else 0
    return [
        {"rate": rate, "normals": normals_needed(rate), "missing": max(0, normals_needed(rate) - best)}
        for rate in _ASKED
    ]


def choices(rule: DecisionRule) -> Iterable[tuple[float, float]]:
    """The thresholds that normal images can give: for k = 1 to n, the rate k / (n + 1) and the k-th highest score."""
    n = rule.normals.size
    return [((k + 1) / (n + 1), float(score)) for k, score in enumerate(rule.normals)]


def promises(rule: DecisionRule, calibration: Calibration) -> list[dict[str, float | None]]:
    """What holds at each of :func:`choices`.

    Returns:
        ``rate`` that is expected on average, ``threshold``, and ``proved``: what is proved of that rate on average, or
        None where nothing is. Numbers are rounded up, never down.
    """
    found: list[dict[str, float | None]] = []
    n = rule.normals.size
    for rate, threshold in choices(rule):
        proved: float | None = None
        if rule.bound is None:  # of this detector, or with images that were chosen by their verdicts
            proved = None
        elif rule.source == "held-out":
            proved = rate
        else:
            proved = min(1.0, cross_validation_bound(rate, n, calibration.folds))
        found.append({"rate": _up(rate), "threshold": threshold, "proved": None if proved is None else _up(proved)})
    return found


def _up(value: float) -> float:
    return float(min(1.0, np.nextafter(math.ceil(value * 1e6) / 1e6, 2)))
