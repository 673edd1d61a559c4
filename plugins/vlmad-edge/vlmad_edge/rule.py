"""The thresholds of an exported detector, and the verdict that follows; equal to the core's decision rule."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import cast

import numpy as np

from vlmad_edge.shared.verdict import Label, Verdict, confidences, labels

__all__ = ["Rule"]


@dataclass(frozen=True)
class Rule:
    """Thresholds that `vlmad export` wrote beside the model.

    Args:
        normals: Scores of normal images that the rule rests on, highest first.
        threshold: Above it is ``reject``, in units of the score.
        review_threshold: Above it is ``review``; None without that band.
        scale: Of the confidence, in units of the score.
        false_alarms: Rate of good images that may be rejected.
        class_distances: Distance of each normal's class token to the nearest other; empty where not measured.
        class_limit: Beyond it is ``not this part``; None without that verdict.
        promise: What is proved of the rate, as one sentence.
    """

    normals: tuple[float, ...]
    threshold: float
    review_threshold: float | None
    scale: float
    false_alarms: float
    class_distances: tuple[float, ...] = ()
    class_limit: float | None = None
    promise: str = ""

    def verdict(self, score: float, class_distance: float | None = None) -> Verdict:
        """Decide on one image.

        Args:
            score: Of the image.
            class_distance: Of its class token to that of the nearest normal image; None if not measured.
        """
        n = len(self.normals)
        n_at_least = int(np.sum(np.asarray(self.normals) >= score))
        class_p = None
        if class_distance is not None and self.class_distances:
            at_least = int(np.sum(np.asarray(self.class_distances) >= class_distance))
            class_p = (1 + at_least) / (len(self.class_distances) + 1)
        verdict = partial(
            Verdict,
            score=score,
            threshold=self.threshold,
            review_threshold=self.review_threshold,
            p_value=(1 + n_at_least) / (n + 1),
            share_of_normals_below=(n - n_at_least) / n,
            class_p_value=class_p,
            false_alarms=self.false_alarms,
        )
        if class_distance is not None and self.class_limit is not None and class_distance > self.class_limit:
            reason = (
                f"as a whole it is farther ({class_distance:.4g}) from every normal image than any two of them "
                f"are from each other ({self.class_limit:.4g}): another part, a covered lens, or no part at all."
            )
            return verdict("not this part", reason=reason)
        label = cast("Label", labels(score, self.threshold, self.review_threshold).item())
        return verdict(label, confidence=confidences(score, self.threshold, self.scale).item())
