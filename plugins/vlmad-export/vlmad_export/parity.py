"""Compares an exported file with the detector it was made from, on files that both read by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlmad_core.errors import VlmadError
from vlmad_core.inspection.verdict import Verdict
from vlmad_core.metrics.image import auroc
from vlmad_core.pipeline import Pipeline
from vlmad_edge.detector import EdgeDetector
from vlmad_export.gate_images import GateImage

__all__ = ["Limits", "Parity", "compare", "limits_of"]


_TIE = 1e-5
"""Of the highest score, or of 1 where that is lower: what rounding can make of one score."""


@dataclass(frozen=True)
class Limits:
    """What an exported file may differ by.

    Args:
        score: Largest difference of a score, over the larger of 1 and the highest score; None: not limited.
        map: The same of a value of a map.
        changed: Share of the images whose verdict may change.
        separation: How much lower the area under the curve of real against damaged images may be.
    """

    score: float | None
    map: float | None
    changed: float
    separation: float


def limits_of(precision: str) -> Limits:
    """Those of a precision: in float32 nothing may change, in lower ones few decisions."""
    if precision == "fp32":
        return Limits(1e-4, 1e-3, 0.0, 1e-3)
    return Limits(None, None, 0.05, 0.01)


@dataclass(frozen=True)
class Parity:
    """How an exported file differs from its original.

    Args:
        real: Real images that were compared.
        made: Damaged and awkward ones.
        score: Largest difference of a score.
        map: Largest difference of a value of a map.
        score_range: Lowest and highest score of the original.
        changed: File, verdict of the original, verdict of the exported, for each that differs.
        ties: Verdicts that differ where the score of the original is the threshold itself but for rounding. A threshold
            is the score of a normal image, so this happens to that image, and in torch with another batch size too.
        separation: Area under the curve of real against damaged images: original and exported; None without real ones.
        limits: What was allowed.
        problems: What is beyond it, in sentences; empty: the file may be used.
    """

    real: int
    made: int
    score: float
    map: float
    score_range: tuple[float, float]
    changed: tuple[tuple[str, str, str], ...]
    ties: int
    separation: tuple[float, float] | None
    limits: Limits
    problems: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """For the record."""
        return asdict(self)

    def summary(self) -> str:
        """In two lines."""
        text = (
            f"compared on {self.real} real and {self.made} made images: scores differ by at most {self.score:.2g}, "
            f"maps by {self.map:.2g}, {len(self.changed)} of {self.real + self.made} decisions changed"
        )
        if self.ties:
            text += f" ({self.ties} more where the score is the threshold itself)"
        if self.separation is not None:
            text += (
                f"; real against damaged images AUROC {self.separation[0]:.4f} before, {self.separation[1]:.4f} after"
            )
        return text + "."


def compare(
    pipeline: Pipeline, exported: EdgeDetector, images: Sequence[GateImage], precision: str, false_alarms: float | None
) -> Parity:
    """Predict every file with both, each from the file itself.

    Args:
        pipeline: The original.
        exported: As a user will run it.
        images: Of all kinds.
        precision: Decides the limits.
        false_alarms: Rate of the decisions of both.
    """
    before, after = [], []
    verdicts: list[tuple[Verdict, str]] = []
    map_difference = 0.0
    for image in images:
        original, found = pipeline.predict(image.path), exported.predict(image.path)
        if original.size != found.size:
            raise VlmadError(f"{image.path}: is {original.size} for the core and {found.size} for vlmad-edge.")
        map_difference = max(map_difference, float(np.abs(original.raw_map - found.raw_map).max()))
        before.append(original.score)
        after.append(found.score)
        verdicts.append((pipeline.verdict(original, false_alarms), found.verdict.label))
    first, second = np.array(before), np.array(after)
    reach = _TIE * max(1.0, float(np.abs(first).max()))
    differing = [
        (image.path.name, old.label, new, _is_tie(old, reach))
        for image, (old, new) in zip(images, verdicts, strict=True)
        if old.label != new
    ]
    changed = tuple((name, old, new) for name, old, new, is_tie in differing if not is_tie)
    kinds = np.array([image.kind for image in images])
    score_difference = float(np.abs(first - second).max())
    limits = limits_of(precision)
    separation = None
    if (kinds == "real").any():
        separation = _separation(first, kinds), _separation(second, kinds)
    problems = _problems(limits, score_difference, map_difference, float(np.abs(first).max()), len(images), changed)
    if separation is not None and separation[0] - separation[1] > limits.separation:
        problems.append(
            f"real and damaged images are told apart worse: AUROC {separation[1]:.4f} instead of {separation[0]:.4f}"
        )
    return Parity(
        real=int((kinds == "real").sum()),
        made=int((kinds != "real").sum()),
        score=score_difference,
        map=map_difference,
        score_range=(float(first.min()), float(first.max())),
        changed=changed,
        ties=len(differing) - len(changed),
        separation=separation,
        limits=limits,
        problems=tuple(problems),
    )


def _is_tie(verdict: Verdict, reach: float) -> bool:
    """Whether rounding alone decides: the score is one of the thresholds."""
    thresholds = [each for each in (verdict.threshold, verdict.review_threshold) if each is not None]
    return any(abs(verdict.score - threshold) <= reach for threshold in thresholds)


def _separation(scores: NDArray[np.float64], kinds: NDArray[np.str_]) -> float:
    chosen = (kinds == "real") | (kinds == "damaged")
    return float(auroc(scores[chosen], kinds[chosen] == "damaged"))


def _problems(
    limits: Limits,
    score: float,
    map_: float,
    highest: float,
    count: int,
    changed: Sequence[tuple[str, str, str]],
) -> list[str]:
    problems = []
    scale = max(1.0, highest)
    if limits.score is not None and not score <= limits.score * scale:
        problems.append(f"a score differs by {score:.3g}, more than {limits.score * scale:.3g}")
    if limits.map is not None and not map_ <= limits.map * scale:
        problems.append(f"a map differs by {map_:.3g}, more than {limits.map * scale:.3g}")
    if len(changed) > ceil(limits.changed * count):
        shown = ", ".join(f"{name} from {old} to {new}" for name, old, new in changed[:3])
        problems.append(f"{len(changed)} of {count} decisions changed ({shown}), more than {limits.changed:.0%}")
    return problems
