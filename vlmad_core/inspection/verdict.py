"""The decision on one image, with the numbers that it rests on; decision and confidence cannot disagree."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlmad_core.errors import VlmadError

__all__ = ["Label", "Verdict", "confidences", "labels", "uncalibrated"]

Label = Literal["pass", "review", "reject", "not this part", "uncalibrated"]

_JUST_ABOVE, _JUST_BELOW = math.nextafter(0.5, 1), math.nextafter(0.5, 0)


def labels(scores: ArrayLike, threshold: ArrayLike, review_threshold: ArrayLike | None = None) -> NDArray[np.str_]:
    """``reject`` above the threshold, ``review`` above the lower one, else ``pass``; at a threshold is not above it."""
    scores = np.asarray(scores, dtype=np.float64)
    above = np.where(scores > review_threshold, "review", "pass") if review_threshold is not None else "pass"
    return np.where(scores > threshold, "reject", above)


def confidences(scores: ArrayLike, threshold: ArrayLike, scale: ArrayLike) -> NDArray[np.float64]:
    """Confidence in ``reject``, in [0, 1]: ``sigmoid((score - threshold) / scale)``.

    Exactly 0.5 at the threshold and never 0.5 elsewhere, whatever the rounding. It is a monotone display of the score,
    not a probability of a defect; the p-value is the number with a guarantee.

    Args:
        scores: Any shape.
        threshold: Of ``reject``, in units of the score.
        scale: Above 0, in units of the score.
    """
    scores, threshold = np.asarray(scores, dtype=np.float64), np.asarray(threshold, dtype=np.float64)
    with np.errstate(over="ignore", under="ignore"):
        distance = (scores - threshold) / scale
        small = np.exp(-np.abs(distance))  # never overflows
        values = np.where(distance >= 0, 1 / (1 + small), small / (1 + small))
    values = np.where(scores > threshold, np.maximum(values, _JUST_ABOVE), np.minimum(values, _JUST_BELOW))
    return np.where(scores == threshold, 0.5, values)


@dataclass(frozen=True)
class Verdict:
    """What is decided about one image.

    Attributes:
        label: ``pass``, ``review`` (between the two thresholds), ``reject``, ``not this part`` (the image as a whole
            is unlike every normal image) or ``uncalibrated`` (no threshold can be stated; ``reason`` says why).
        score: Of the image, as the detector gave it.
        threshold: Above it the image is rejected, in units of the score.
        review_threshold: Above it the image needs a second inspection; None if there is no such band.
        p_value: ``(1 + #{normals >= score}) / (n + 1)``.
        share_of_normals_below: Share of the normals with a lower score, in [0, 1].
        confidence: In ``reject``, exactly 0.5 at the threshold; None where the score did not decide.
        class_p_value: The same p-value for the distance of the class token to its nearest normal; None if not measured.
        false_alarms: The rate that the threshold was set for.
        reason: One sentence where the label is not decided by the score.
    """

    label: Label
    score: float
    threshold: float | None = None
    review_threshold: float | None = None
    p_value: float | None = None
    share_of_normals_below: float | None = None
    confidence: float | None = None
    class_p_value: float | None = None
    false_alarms: float | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        """Check that the label follows from the score and agrees with the confidence.

        Raises:
            VlmadError: They disagree: a fault of the program, or an edited file; no such verdict may leave the process.
        """
        if problem := self._disagreement():
            raise VlmadError(f"a verdict that contradicts itself: {problem}. Given: {asdict(self)}")

    def _disagreement(self) -> str:
        if self.label not in get_args(Label):
            return f"'{self.label}' is not one of {', '.join(get_args(Label))}"
        if self.label in ("not this part", "uncalibrated"):
            problem = f"'{self.label}' has a confidence, though the score did not decide"
            return problem if self.confidence is not None else ""
        if self.threshold is None or self.confidence is None:
            return f"'{self.label}' needs a threshold and a confidence"
        if not 0 <= self.confidence <= 1:
            return f"the confidence is {self.confidence}"
        sign = (self.score > self.threshold) - (self.score < self.threshold)
        if sign != (self.confidence > 0.5) - (self.confidence < 0.5):
            return f"score {self.score} against threshold {self.threshold} has the confidence {self.confidence}"
        is_review = sign <= 0 and self.review_threshold is not None and self.score > self.review_threshold
        expected = "reject" if sign > 0 else "review" if is_review else "pass"
        return f"the score gives '{expected}', the label is '{self.label}'" if self.label != expected else ""

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain numbers and text, for JSON."""
        return asdict(self)


def uncalibrated(score: float, reason: str) -> Verdict:
    """The verdict where no threshold can be stated.

    Args:
        score: Of the image.
        reason: One sentence: why not, and what to do.
    """
    return Verdict("uncalibrated", score, reason=reason)
