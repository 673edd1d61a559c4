"""Which method to take for this data, by a rule that is written down before the numbers are seen, and why."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlmad_core.report.compare import Comparison
from vlmad_core.report.means import Row
from vlmad_core.report.speed import Speed
from vlmad_study.standing import Standing, against, is_shown, outrun, standings

__all__ = ["RULE", "Advice", "advise", "command", "is_better", "main_methods"]

RULE = (
    "The rule, fixed before any number: take the method with the highest image AUROC, and all within one point of it "
    "that the paired test does not show to be worse. Of these, take the one with the highest AUPRO (within one point "
    "counts as equal); of those that are equal in that, the one that needs fewer normal images; then the faster one."
)
_EQUAL = 0.01


@dataclass(frozen=True)
class Advice:
    """What to take.

    Args:
        best: The recommended one.
        equals: Others within a point of the highest that the paired test does not show to be worse.
        runner_up: The next one by image AUROC.
        comparison: Of the recommended one with it.
        family: How many comparisons were made.
        without: The best one that needs no normal images, where the recommended one does.
        ranked: All candidates, by image AUROC.
        worse: Those that are shown to be worse than the highest.
        quick: Method and shots to speed.
    """

    best: Standing
    equals: tuple[Standing, ...]
    runner_up: Standing | None
    comparison: Comparison | None
    family: int
    without: Standing | None
    ranked: tuple[Standing, ...]
    worse: tuple[Standing, ...]
    quick: dict[tuple[str, int], Speed] = field(default_factory=dict)


def advise(folder: Path, rows: Sequence[Row], speeds: Sequence[Speed], reference: int) -> Advice | None:
    """Apply :data:`RULE` to the rows of section `shots`; None where no method was judged.

    Args:
        folder: Of the section.
        rows: Its rows.
        speeds: As far as they were measured.
        reference: Number of normal images of the methods that need some.
    """
    ranked = [one for one in standings(rows) if one.shots in (0, reference) and not one.rows.trained_here]
    if not ranked:
        return None
    worse = outrun(folder, ranked[0], ranked[1:])
    # Few images show nothing of anybody: what is not shown to be worse must also not look worse.
    least = (ranked[0].image.value or 0.0) - _EQUAL
    equals = [one for one in ranked if one not in worse and (one.image.value or 0.0) >= least]
    quick = {(speed.method, speed.shots or 0): speed for speed in speeds}
    top = max(one.aupro.value or 0.0 for one in equals)
    close = [one for one in equals if (one.aupro.value or 0.0) >= top - _EQUAL]

    def order(one: Standing) -> tuple[int, float]:
        speed = quick.get((one.method, one.shots))
        return one.shots, speed.p50_ms or 0.0 if speed is not None else 0.0

    best = min(close, key=order)
    others = [one for one in ranked if one is not best]
    runner_up = others[0] if others else None
    comparison = against(folder, best, runner_up) if runner_up is not None else None
    without = next((one for one in ranked if not one.shots), None) if best.shots else None
    return Advice(
        best=best,
        equals=tuple(one for one in equals if one is not best),
        runner_up=runner_up,
        comparison=comparison,
        family=max(1, len(ranked) - 1),
        without=without,
        ranked=tuple(ranked),
        worse=tuple(worse),
        quick=quick,
    )


def main_methods(advice: Advice, most: int = 4) -> list[Standing]:
    """Those that a reader looks at: the recommended one, the best without normal images, the next, and the last."""
    some = (advice.best, advice.without, *advice.ranked[:1], advice.runner_up, advice.ranked[-1], *advice.ranked)
    return list({one.reference: one for one in some if one is not None}.values())[:most]


def is_better(advice: Advice) -> bool:
    """Whether the recommended one is shown to be better than the next one."""
    shown = is_shown(advice.comparison, advice.family)
    return shown and advice.comparison is not None and advice.comparison.verdict == "first"


def command(one: Standing, backbone: dict[str, Any], recipe_file: str, detectors: dict[str, str]) -> str:
    """What to type to use a method on new images.

    Args:
        one: Which.
        backbone: ``use`` and ``config`` as they were asked for.
        recipe_file: Where the pipeline is written, for one that no recipe names.
        detectors: Label of a trained method to the folder of its detector.
    """
    row = one.rows.done[0]
    if one.method in detectors:
        words = ["vlmad", "predict", "NEW_IMAGES", "--detector", detectors[one.method]]
    elif row["recipe"] and not backbone.get("config"):
        words = ["vlmad", "predict", "NEW_IMAGES", "--recipe", row["recipe"], "--backbone", backbone["use"]]
    else:
        words = ["vlmad", "predict", "NEW_IMAGES", "--recipe", recipe_file]
    names = {row["class_name"] for row in one.rows.done}
    if row["prompts"] is not None:
        words += ["--class-name", names.pop() if len(names) == 1 else "WORDS_FOR_IT"]
    if one.shots:
        words += ["--normal", "NORMAL_IMAGES"]
    return shlex.join([*words, "--out", "RESULTS"])
