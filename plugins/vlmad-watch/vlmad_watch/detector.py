"""A calibrated detector as the functions that a hot folder and a video need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from PIL import Image

from vlmad_core.errors import ConfigError
from vlmad_core.inspection.regions import find_regions, region_record
from vlmad_core.inspection.temporal import TemporalFilter
from vlmad_core.run import judge
from vlmad_core.run.drift import DriftMonitor
from vlmad_core.run.verdicts import Decision, decide_all
from vlmad_watch.frames import Pixels
from vlmad_watch.inspector import FrameScore
from vlmad_watch.journal import Scored

__all__ = ["about", "folder_scorer", "frame_scorer", "temporal_filter"]


def about(decision: Decision) -> str:
    """What decides the verdicts, in a line: a journal belongs to it."""
    detector = decision.pipeline.fingerprint()
    rule = decision.rule
    at = "uncalibrated" if rule is None else f"reject above {rule.threshold!r}, review above {rule.review_threshold!r}"
    return f"{detector.recipe} {detector.weights} {detector.size} {detector.dtype}: {at}"


def folder_scorer(
    decision: Decision, drift: DriftMonitor | None, tell: Callable[[str], None], *, batch_size: int, workers: int
) -> Callable[[Sequence[Path]], list[Scored]]:
    """Scores files; the state of the test for drift is written after each batch."""
    warned: set[str] = set()

    def score(paths: Sequence[Path]) -> list[Scored]:
        found = []
        for batch in decide_all(judge(decision.pipeline, paths, batch_size=batch_size, workers=workers), decision):
            for result, _ in batch:
                fields = {name: value for name, value in asdict(result).items() if value is not None}
                verdict = "error" if result.error is not None else str(result.verdict)
                found.append(Scored(result.sha256 or "", verdict, result.score, fields))
                if drift is not None:
                    drift.add(result)
        if drift is not None:
            drift.save()
            if drift.message and drift.message not in warned:
                warned.add(drift.message)
                tell(drift.message)
        return found

    return score


def frame_scorer(decision: Decision) -> Callable[[Pixels], FrameScore]:
    """Scores a picture, with the boxes of its regions where the detector has a threshold for them."""

    def score(pixels: Pixels) -> FrameScore:
        prediction = decision.pipeline.predict(Image.fromarray(pixels))
        boxes: tuple[tuple[float, float, float, float], ...] = ()
        if decision.pixels is not None:
            found = find_regions(prediction.raw_map, decision.pixels.threshold, max_regions=20)
            records = [region_record(region, prediction.raw_map.shape, prediction.size) for region in found.regions]
            boxes = tuple((box[0], box[1], box[2], box[3]) for box in (record["box"] for record in records))
        return FrameScore(prediction.score, boxes)

    return score


def temporal_filter(decision: Decision, *, weight: float, k: int | None, n: int | None) -> TemporalFilter:
    """The mean against the thresholds of the calibration; regions, where they are asked for, k times in n frames.

    Raises:
        ConfigError: The detector is not calibrated, or has no threshold of regions.
    """
    rule = decision.rule
    if rule is None:
        raise ConfigError(f"a video needs a threshold: {decision.reason}")
    if k is not None and decision.pixels is None:
        raise ConfigError("k of n needs a threshold of regions; calibrate with more normal images, or leave it out.")
    low = rule.threshold if rule.review_threshold is None else rule.review_threshold
    return TemporalFilter(high=rule.threshold, low=low, weight=weight, k=k, n=n)
