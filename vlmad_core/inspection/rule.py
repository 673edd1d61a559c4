"""The rule that turns scores into verdicts: thresholds computed once from a calibration and the rate that is asked for.

Nothing of the detector is fitted again; another false-alarm rate is another rule from the same calibration.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import cast

import numpy as np

from vlmad_core.errors import ConfigError
from vlmad_core.inspection.calibration import Basis, Calibration, ImageScore, Source
from vlmad_core.inspection.conformal import (
    Numbers,
    as_scores,
    binomial_interval,
    check_rate,
    cross_validation_bound,
    group_maxima,
    normals_needed,
    p_values,
    threshold_rank,
)
from vlmad_core.inspection.verdict import Label, Verdict, confidences, labels

__all__ = ["FALSE_ALARMS", "REVIEW", "DecisionRule", "Missed", "make_rule"]

FALSE_ALARMS = (0.01, 0.05)
"""Rates that are tried in this order where none is asked for; the first that the normals can carry is used."""
REVIEW = 0.05
"""Rate above which there is a band for review, where none is asked for."""

_MEDIAN_CONFIDENCE = 0.05
"""The confidence that the median of the normals gets; this fixes the scale of the confidence."""


@dataclass(frozen=True)
class Missed:
    """How many of the known defects are not above a threshold, and the 95 % Clopper-Pearson interval of that share."""

    count: int
    total: int
    interval: tuple[float, float]


@dataclass(frozen=True, eq=False)
class DecisionRule:
    """Thresholds and what they promise. Make it with `make_rule`.

    Attributes:
        normals: Scores that the rule rests on, one a group, highest first.
        source: How they were obtained.
        false_alarms: Rate for ``reject``, as asked for.
        threshold: Above it is ``reject``, in units of the score.
        review: Rate for ``review`` and ``reject`` together; None without that band.
        review_threshold: Above it is ``review``.
        confidence: Probability with which the rate holds for these very normals; None for a rate that holds on average.
        bound: What is proved of the rate of good images above ``threshold``; None where nothing is.
        promise: The same as one sentence.
        scale: Of the confidence, in units of the score.
        class_distances: Distance of each normal's class token to the nearest other, one a group, highest first; empty
            where it was not measured or where the normals are too few for the label.
        class_limit: Largest distance between the class tokens of two normals; beyond it is ``not this part``.
        n_chosen: Normals that joined by feedback; with any of them nothing is proved.
    """

    normals: Numbers
    source: Source
    false_alarms: float
    threshold: float
    review: float | None
    review_threshold: float | None
    confidence: float | None
    bound: float | None
    promise: str
    scale: float
    class_distances: Numbers
    class_limit: float
    n_chosen: int = 0

    def verdict(self, score: float, class_distance: float | None = None) -> Verdict:
        """Decide on one image.

        Args:
            score: Of the image.
            class_distance: Of its class token to that of the nearest normal image; None if not measured.

        Raises:
            ConfigError: A number is not finite.
        """
        as_scores([score], "scores of the image")
        n = self.normals.size
        n_at_least = n - int(np.searchsorted(self.normals[::-1], score, side="left"))
        class_p = None
        if class_distance is not None and self.class_distances.size:
            class_p = float(p_values(self.class_distances, class_distance)[0])
        verdict = partial(
            Verdict,
            score=float(score),
            threshold=self.threshold,
            review_threshold=self.review_threshold,
            p_value=(1 + n_at_least) / (n + 1),
            share_of_normals_below=(n - n_at_least) / n,
            class_p_value=class_p,
            false_alarms=self.false_alarms,
        )
        if class_distance is not None and class_distance > self.class_limit:
            reason = (
                f"as a whole it is farther ({class_distance:.4g}) from every normal image than any two of them "
                f"are from each other ({self.class_limit:.4g}): another part, a covered lens, or no part at all."
            )
            return verdict("not this part", reason=reason)
        label = labels(score, self.threshold, self.review_threshold).item()
        return verdict(cast("Label", label), confidence=confidences(score, self.threshold, self.scale).item())

    def missed(self, defects: tuple[ImageScore, ...]) -> Missed | None:
        """How many known defects would not be rejected; None without any. Their distribution promises nothing."""
        if not defects:
            return None
        count = sum(defect.score <= self.threshold for defect in defects)
        return Missed(count, len(defects), binomial_interval(count, len(defects)))


def make_rule(
    calibration: Calibration,
    *,
    false_alarms: float | None = None,
    review: float | None = None,
    confidence: float | None = None,
) -> DecisionRule:
    """Compute the thresholds.

    Held-out normals are used where they can carry the rate, since they give the stronger promise; otherwise the
    references. The choice depends on their numbers alone, never on the scores, so the promises hold.

    Args:
        calibration: Of the detector whose scores will be decided.
        false_alarms: Rate of good images above the threshold, in (0, 1). None: the first of `FALSE_ALARMS` that the
            normals can carry.
        review: Rate of good images that are rejected or need review, above ``false_alarms``. None: `REVIEW` where it is
            above ``false_alarms``, otherwise no such band.
        confidence: In (0, 1): the rate must hold for these very normals with that probability, not only on average.
            That needs held-out normals.

    Raises:
        ConfigError: There are no normals, too few for the rate (the text says how many would do), all of one score, or
            a rate is out of range.
    """
    for value, what in (
        (false_alarms, "the false-alarm rate"),
        (review, "the review rate"),
        (confidence, "the confidence"),
    ):
        if value is not None:
            check_rate(value, what)
    basis, alpha = _choose(calibration, false_alarms, confidence)
    review = REVIEW if review is None and alpha < REVIEW else review
    if review is not None and review <= alpha:
        raise ConfigError(f"the review rate ({review:.4g}) must be above the false-alarm rate ({alpha:.4g}).")
    scores, n = basis.scores, basis.scores.size
    if n > 1 and scores[0] == scores[-1]:
        raise ConfigError(
            f"all {n} normal images have the score {scores[0]:.6g}, so no threshold can be set. Are the images all the "
            "same or blank, or does the detector give a constant?"
        )
    threshold = float(scores[threshold_rank(n, alpha, confidence) - 1])
    class_distances, class_limit = _class_tokens(basis, alpha)
    bound, promise = _promise(basis, alpha, confidence, calibration.is_monotone)
    return DecisionRule(
        normals=scores,
        source=basis.source,
        false_alarms=alpha,
        threshold=threshold,
        review=review,
        review_threshold=None if review is None else float(scores[threshold_rank(n, review, confidence) - 1]),
        confidence=confidence,
        bound=bound,
        promise=promise,
        scale=_scale(scores, threshold),
        class_distances=class_distances,
        class_limit=class_limit,
        n_chosen=sum(image.is_chosen for image in basis.images),
    )


def _choose(calibration: Calibration, false_alarms: float | None, confidence: float | None) -> tuple[Basis, float]:
    bases = calibration.bases
    if not bases:
        raise ConfigError("the calibration has no normal images. Calibrate the detector with images of good parts.")
    usable = [basis for basis in bases if confidence is None or basis.source == "held-out"]
    for alpha in FALSE_ALARMS if false_alarms is None else (false_alarms,):
        for basis in usable:
            if threshold_rank(basis.scores.size, alpha, confidence) > 0:
                return basis, alpha
    needed, best = normals_needed(alpha, confidence), max([basis.scores.size for basis in usable], default=0)
    kind = "independent normal images" if confidence is None else "normal images that the detector does not remember"
    with_confidence = "" if confidence is None else f" with a confidence of {confidence:.4g}"
    raise ConfigError(
        f"a false-alarm rate of {alpha:.4g}{with_confidence} needs {needed} {kind} (frames of one object count once), "
        f"and there are {best}. Add {needed - best} more, or ask for a higher rate."
    )


def _scale(scores: Numbers, threshold: float) -> float:
    above = threshold - float(np.median(scores))
    span = above if above > 0 else float(scores[0] - scores[-1])
    return max(span, math.ulp(0.0)) / math.log((1 - _MEDIAN_CONFIDENCE) / _MEDIAN_CONFIDENCE) or math.ulp(0.0)


def _class_tokens(basis: Basis, alpha: float) -> tuple[Numbers, float]:
    """Nearest distances, one a group, and the limit; none where 1 / (n + 1) is above alpha.

    Of n + 1 images at most one is farther from all others than any two others are from each other, so a good image gets
    the label ``not this part`` with probability at most 1 / (n + 1).
    """
    pairs = [(each.class_nearest, each.class_farthest) for each in basis.images]
    nearest = [near for near, _ in pairs if near is not None]
    farthest = [far for _, far in pairs if far is not None]
    if len(nearest) < len(pairs) or len(farthest) < len(pairs) or 1 / (basis.scores.size + 1) > alpha:
        return np.empty(0), math.inf
    return np.sort(group_maxima(nearest, [each.group for each in basis.images]))[::-1], max(farthest)


def _promise(basis: Basis, alpha: float, confidence: float | None, is_monotone: bool) -> tuple[float | None, str]:
    n = basis.scores.size
    unit = "normal images" if n == len(basis.images) else "groups of normal images"
    if n_chosen := sum(image.is_chosen for image in basis.images):
        text = (
            f"About {alpha:.4g} of good images are expected to be rejected; nothing is proved, since {n_chosen} of the"
        )
        return None, f"{text} {n} {unit} joined by feedback, after their verdicts were known."
    if confidence is not None:
        text = f"At most {alpha:.4g} of good images are rejected, with a confidence of {confidence:.4g}"
        return alpha, f"{text} (order statistic of {n} held-out {unit})."
    if basis.source == "held-out":
        text = f"At most {alpha:.4g} of good images are rejected on average"
        return alpha, f"{text} (split conformal, {n} held-out {unit})."
    how = f"{basis.source} of {n} {unit}"
    if not is_monotone:
        text = f"About {alpha:.4g} of good images are expected to be rejected; nothing is proved for this detector"
        return None, f"{text} ({how}). Held-out normal images give a proved rate."
    bound = cross_validation_bound(alpha, n, basis.folds)
    text = f"About {alpha:.4g} of good images are expected to be rejected, proved on average is at most {bound:.4g}"
    return bound, f"{text} (CV+, {how})."
