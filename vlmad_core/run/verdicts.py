"""Verdicts and regions for the results of a run."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from vlmad_core.contracts.data import Prediction
from vlmad_core.errors import ConfigError
from vlmad_core.inspection.pixel_rule import PixelRule
from vlmad_core.inspection.regions import find_regions, region_record
from vlmad_core.inspection.risk_control import TAIL_SHARES
from vlmad_core.inspection.rule import DecisionRule
from vlmad_core.pipeline.pipeline import Pipeline
from vlmad_core.run.overlay import Scale
from vlmad_core.run.results import Result

__all__ = ["Decision", "decide_all", "make_decision"]

_HALF = bisect(TAIL_SHARES, 0.5) - 1
"""Place in a map's tail of the largest share that is at most a half."""


@dataclass(frozen=True, eq=False)
class Decision:
    """How the images of a run are decided.

    Args:
        pipeline: Whose scores they are.
        rule: Thresholds of the score; None: every verdict is ``uncalibrated``.
        pixels: Threshold of regions; None: no regions are searched.
        reason: Why there is no rule, in a sentence; "" where there is one.
    """

    pipeline: Pipeline
    rule: DecisionRule | None
    pixels: PixelRule | None
    reason: str = ""

    def record(self) -> dict[str, Any] | None:
        """What ``run.json`` says of it, under ``calibration``; None without a rule."""
        if self.rule is None or self.pipeline.calibration is None:
            return None
        rule = {name: value for name, value in asdict(self.rule).items() if not name.startswith("class_")}
        calibration = self.pipeline.calibration
        return {
            **rule,
            "normals": self.rule.normals.tolist(),
            # Without a source the report states nothing of moved thresholds.
            "source": None if self.rule.n_chosen else self.rule.source,
            "folds": 0 if self.rule.source == "held-out" else calibration.folds,
            "is_monotone": calibration.is_monotone,
            "date": calibration.date,
            "version": calibration.version,
            "regions": None if self.pixels is None else asdict(self.pixels),
        }

    def settings(self) -> dict[str, Any]:
        """What decides the verdicts, to compare when a run goes on."""
        record = self.record()
        return {} if record is None else {"verdicts": record}

    def scale(self, scale: Scale | None) -> Scale | None:
        """The colours of a run with the outline at the threshold of regions, where there is one.

        A detector without a scale of its own gets one: no heat at the median of the normal maps, the threshold in the
        middle.
        """
        calibration = self.pipeline.calibration
        if self.pixels is None or calibration is None:
            return scale
        threshold = self.pixels.threshold
        if scale is not None:
            return replace(scale, normal=threshold, share=self.pixels.max_share)
        images = calibration.held_out if self.pixels.source == "held-out" else calibration.references
        low = float(np.median([image.tail[_HALF] for image in images]))
        return Scale(low, 2 * threshold - low, threshold, "normals", self.pixels.max_share) if low < threshold else None

    def decide(self, result: Result, prediction: Prediction) -> Result:
        """The result with its verdict and regions."""
        if self.rule is None:
            return replace(result, verdict="uncalibrated")
        verdict = self.rule.verdict(prediction.score, self.pipeline.distance_to_normals(prediction, self.rule))
        regions = None
        if self.pixels is not None:
            found = find_regions(prediction.raw_map, self.pixels.threshold)
            regions = [region_record(region, prediction.raw_map.shape, prediction.size) for region in found.regions]
        return replace(
            result,
            verdict=verdict.label,
            threshold=verdict.threshold,
            p_value=verdict.p_value,
            share_below=verdict.share_of_normals_below,
            confidence=verdict.confidence,
            regions=regions,
        )


def make_decision(
    pipeline: Pipeline,
    false_alarms: float | None = None,
    *,
    confidence: float | None = None,
    review: float | None = None,
) -> Decision:
    """The rule for a run.

    Args:
        pipeline: Calibrated or not.
        false_alarms: Rate of good images that may be rejected; None: see `Pipeline.verdict`.
        confidence: With which the rate must hold.
        review: Rate of good images that may be rejected or reviewed.

    Raises:
        ConfigError: A rate was asked for that cannot be promised; without one the decision has a reason instead.
    """
    try:
        rule = pipeline.decision_rule(false_alarms, review=review, confidence=confidence)
    except ConfigError as error:
        if false_alarms is not None or confidence is not None or review is not None:
            raise
        return Decision(pipeline, None, None, str(error))
    try:
        pixels: PixelRule | None = pipeline.pixel_rule()
    except ConfigError:  # too few maps for any share; the verdicts stand without regions
        pixels = None
    return Decision(pipeline, rule, pixels)


def decide_all(
    batches: Iterable[list[tuple[Result, Prediction | None]]], decision: Decision
) -> Iterator[list[tuple[Result, Prediction | None]]]:
    """The same batches with verdicts; an image without a prediction has none."""
    for batch in batches:
        yield [
            (result if prediction is None else decision.decide(result, prediction), prediction)
            for result, prediction in batch
        ]
