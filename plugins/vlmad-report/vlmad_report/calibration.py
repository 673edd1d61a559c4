"""What a report reads of a calibration, and what each threshold promises, so that the page only looks it up."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from scipy.special import betaincinv

from vlmad_core.inspection.calibration import Source as NormalsSource
from vlmad_core.inspection.conformal import cross_validation_bound, threshold_rank
from vlmad_core.inspection.rule import REVIEW

__all__ = ["CalibrationRecord", "Choice", "choices", "promises"]

_RATES = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
_CONFIDENCE = 0.95


class CalibrationRecord(BaseModel):
    """The object ``calibration`` of ``run.json``: the fields of a `DecisionRule`, and two of its `Calibration`.

    Attributes:
        normals: Scores of the normal images that the rule rests on, one a group.
        source: How they were obtained: ``held-out``, ``leave-one-out`` or ``k-fold references``. Without it the page
            says only what ``promise`` says, and nothing of other thresholds.
        folds: Of the references; 0 for held-out normals.
        is_monotone: Whether more references can only lower the score of an image; the bound of references needs it.
        false_alarms: Rate for ``reject``.
        threshold: Above it is ``reject``; computed from the normals and the rate if it is not there.
        review: Rate for ``review`` and ``reject`` together, or None.
        review_threshold: Above it is ``review``, or None.
        confidence: Probability with which the rate holds for these normals; None: it holds on average.
        bound: What is proved of the rate of good images above the threshold; None where nothing is.
        promise: The same as a sentence.
        scale: Of the confidence of a verdict, in units of the score.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    normals: tuple[float, ...] = Field(min_length=1)
    source: NormalsSource | None = None
    folds: int = Field(0, ge=0)
    is_monotone: bool = False
    false_alarms: float = Field(gt=0, lt=1)
    threshold: float
    review: float | None = Field(None, gt=0, lt=1)
    review_threshold: float | None = None
    confidence: float | None = Field(None, gt=0, lt=1)
    bound: float | None = None
    promise: str = ""
    scale: float | None = Field(None, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _with_threshold(cls, value: Any) -> Any:
        if not isinstance(value, dict) or value.get("threshold") is not None:
            return value
        normals, alpha = value.get("normals"), value.get("false_alarms")
        if not isinstance(normals, list | tuple) or not isinstance(alpha, float):
            return value
        rank = threshold_rank(len(normals), alpha, value.get("confidence"))
        if not rank:
            raise ValueError(f"{len(normals)} normal images cannot carry a false-alarm rate of {alpha:.4g}")
        return {**value, "threshold": sorted(normals)[-rank]}

    @field_validator("normals")
    @classmethod
    def _sorted(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(sorted(value, reverse=True))

    @model_validator(mode="after")
    def _folds_fit(self) -> Self:
        if self.source in ("leave-one-out", "k-fold references") and not 2 <= self.folds <= len(self.normals):
            raise ValueError(f"{len(self.normals)} references cannot be scored in {self.folds} folds")
        return self


@dataclass(frozen=True)
class Choice:
    """A false-alarm rate that the normals can carry, with its thresholds as `make_rule` sets them."""

    rate: float
    threshold: float
    review_threshold: float | None


def choices(record: CalibrationRecord) -> list[Choice]:
    """The rates that a person may choose from; only those that the normals can carry."""
    found = []
    for rate in sorted({*_RATES, record.false_alarms}):
        if rate == record.false_alarms:
            found.append(Choice(rate, record.threshold, record.review_threshold))
        elif (threshold := _threshold(record, rate)) is not None:
            found.append(Choice(rate, threshold, _threshold(record, REVIEW) if rate < REVIEW else None))
    return found


def _threshold(record: CalibrationRecord, rate: float) -> float | None:
    rank = threshold_rank(len(record.normals), rate, record.confidence)
    return record.normals[rank - 1] if rank else None


def promises(record: CalibrationRecord) -> list[tuple[float, float | None, float | None]]:
    """For k = 1 to n, what holds of good images above the k-th highest normal.

    Returns:
        Triples: the rate ``k / (n + 1)`` that is expected on average; what is proved on average, or None; what is
        proved with the calibration's confidence (0.95 if it has none), or None. Numbers are rounded up, never down.
    """
    n = len(record.normals)
    ranks = np.arange(1, n + 1)
    is_held_out = record.source == "held-out"
    confident = (
        betaincinv(ranks, n - ranks + 1, record.confidence or _CONFIDENCE).tolist() if is_held_out else [None] * n
    )
    found = []
    for k, sure in zip(ranks.tolist(), confident, strict=True):
        rate = k / (n + 1)
        proved = rate if is_held_out else None
        if not is_held_out and record.source is not None and record.is_monotone:
            proved = cross_validation_bound(rate, n, record.folds)
        found.append((_up(rate), _up(proved), _up(sure)))
    return found


def _up(value: float | None) -> Any:
    return None if value is None else min(1.0, math.ceil(value * 1e6) / 1e6)
