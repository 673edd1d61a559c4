"""A detector as it decides now, in words and numbers for the page and for programs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath

from vlmad_core.inspection.calibration import Outlier, outliers
from vlmad_core.inspection.rule import DecisionRule
from vlmad_serve.detectors import Version
from vlmad_serve.normals import list_normals
from vlmad_serve.operating import needed, promises
from vlmad_serve.schemas import Choice, DetectorAnswer, Needed, RuleAnswer, utc
from vlmad_serve.schemas import Outlier as OutlierAnswer
from vlmad_serve.store import Store

__all__ = ["describe", "describe_rule"]


def describe(version: Version, store: Store) -> DetectorAnswer:
    """The detector with its thresholds, what they promise, and what other ones would.

    Args:
        version: In use.
        store: Knows what clients called the normal images.
    """
    names = {each.file[:64]: each.name for each in list_normals(store, version.detector)}
    pipeline, decision = version.pipeline, version.decision
    calibration, rule = pipeline.calibration, decision.rule
    basis = (
        next((each for each in calibration.bases if rule and each.source == rule.source), None) if calibration else None
    )
    return DetectorAnswer(
        name=version.detector,
        class_name=pipeline.class_name,
        version=version.number,
        created=utc(version.created),
        n_normals=int(pipeline.normals.get("count", 0)),
        source=None if rule is None else rule.source,
        rule=None if rule is None else describe_rule(rule),
        reason=decision.reason,
        regions="" if decision.pixels is None else decision.pixels.promise,
        normals=[] if rule is None else rule.normals.tolist(),
        choices=[Choice(**each) for each in promises(rule, calibration)] if rule and calibration else [],
        needed=[Needed(**each) for each in needed(calibration)],
        outliers=[_outlier(version.detector, each, names) for each in outliers(basis.images)] if basis else [],
        summary=pipeline.summary(),
    )


def _outlier(detector: str, found: Outlier, names: Mapping[str, str]) -> OutlierAnswer:
    sha256 = found.image.digest
    return OutlierAnswer(
        sha256=sha256,
        name=names.get(sha256, PurePath(found.image.name).name),
        spreads=found.spreads,
        image=f"/v1/detectors/{detector}/normals/{sha256}" if sha256 in names else None,
    )


def describe_rule(rule: DecisionRule) -> RuleAnswer:
    """The thresholds alone."""
    return RuleAnswer(
        false_alarms=rule.false_alarms,
        threshold=rule.threshold,
        review=rule.review,
        review_threshold=rule.review_threshold,
        confidence=rule.confidence,
        promise=rule.promise,
    )
