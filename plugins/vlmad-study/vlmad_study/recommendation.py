"""Which method to take for this data, by a rule that is fixed before any number is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vlmad_core.report import Comparison, Row, Speed
from vlmad_study.ranking import Ranked, compared, difference, is_significant, percent, rank, shown_worse

__all__ = ["RULE", "Recommendation", "headline", "main_methods", "reasons", "recommend"]

RULE = (
    "The rule, fixed before any number: take the method with the highest image AUROC, and all within one point of it "
    "that the paired test does not show to be worse. Of these, take the one with the highest AUPRO (within one point "
    "counts as equal); of those that are equal in that, the one that needs fewer normal images; then the faster one."
)
_EQUAL = 0.01
_CHANCE = 0.5


@dataclass(frozen=True)
class Recommendation:
    """What to take.

    Args:
        best: The recommended method.
        equals: Others within a point of the highest that the paired test does not show to be worse.
        runner_up: The next one by image AUROC.
        comparison: Of the recommended one with it.
        family: How many comparisons were made.
        without: The best one that needs no normal images, where the recommended one does.
        ranked: All candidates, by image AUROC.
        worse: Those that are shown to be worse than the highest.
        speeds: Method and shots to speed.
    """

    best: Ranked
    equals: tuple[Ranked, ...]
    runner_up: Ranked | None
    comparison: Comparison | None
    family: int
    without: Ranked | None
    ranked: tuple[Ranked, ...]
    worse: tuple[Ranked, ...]
    speeds: dict[tuple[str, int], Speed] = field(default_factory=dict)

    @property
    def is_better_than_next(self) -> bool:
        """Whether the paired test shows the recommended one to be better than the next one."""
        found = self.comparison
        return is_significant(found, self.family) and found is not None and found.verdict == "first"

    @property
    def is_above_chance(self) -> bool:
        """Whether the interval of the recommended one lies above 50 %."""
        value, interval = self.best.image.value or 0.0, self.best.image.interval
        return (value if interval is None else interval[0]) > _CHANCE


def recommend(folder: Path, rows: Sequence[Row], speeds: Sequence[Speed], reference: int) -> Recommendation | None:
    """Apply :data:`RULE` to the rows of section `shots`; None where no method was tested.

    Args:
        folder: Of the section.
        rows: Its rows.
        speeds: As far as they were measured.
        reference: Number of normal images of the methods that need some.
    """
    ranked = [one for one in rank(rows) if one.shots in (0, reference) and not one.rows.trained_here]
    if not ranked:
        return None
    worse = shown_worse(folder, ranked[0], ranked[1:])
    # A few images show no method to be worse: what is not shown to be worse must also be close.
    least = (ranked[0].image.value or 0.0) - _EQUAL
    equals = [one for one in ranked if one not in worse and (one.image.value or 0.0) >= least]
    known = {(speed.method, speed.shots or 0): speed for speed in speeds}
    top = max(one.aupro.value or 0.0 for one in equals)
    close = [one for one in equals if (one.aupro.value or 0.0) >= top - _EQUAL]

    fewest = min(one.shots for one in close)
    last = [one for one in close if one.shots == fewest]
    times = [known[one.method, one.shots].p50_ms for one in last if (one.method, one.shots) in known]
    # Speed decides only where it is known of all of them; else the higher image AUROC, in whose order they are.
    best = last[0]
    if len(times) == len(last):
        best = min(last, key=lambda one: known[one.method, one.shots].p50_ms or 0.0)
    others = [one for one in ranked if one is not best]
    runner_up = others[0] if others else None
    return Recommendation(
        best=best,
        equals=tuple(one for one in equals if one is not best),
        runner_up=runner_up,
        comparison=compared(folder, best, runner_up) if runner_up is not None else None,
        family=max(1, len(ranked) - 1),
        without=next((one for one in ranked if not one.shots), None) if best.shots else None,
        ranked=tuple(ranked),
        worse=tuple(worse),
        speeds=known,
    )


def main_methods(found: Recommendation, count: int = 4) -> list[Ranked]:
    """Those that a reader looks at: the recommended one, the best without normal images, the next, and the last."""
    some = (found.best, found.without, *found.ranked[:1], found.runner_up, found.ranked[-1], *found.ranked)
    return list({one.reference: one for one in some if one is not None}.values())[:count]


def headline(found: Recommendation) -> tuple[str, str]:
    """What to take, no stronger than the tests allow, in one sentence; and what is known of it, in a few."""
    best = found.best
    undecided = [one for one in found.ranked if one is not best and one not in found.worse]
    if not found.is_above_chance:
        first = f"No method is shown to work on these images; {best.name} is the nearest."
    elif best is found.ranked[0] and not undecided and found.worse:
        first = f"Take {best.name}: it is better than every other method on these images."
    elif undecided:
        rest = f" and {len(undecided) - 2} more" if len(undecided) > 2 else ""
        names = (", " if rest else " and ").join(one.name for one in undecided[:2]) + rest
        first = f"Take {best.name}, though these images do not show it to be better than {names}."
    else:
        first = f"Only {best.name} was tested, so there is nothing to choose from."
    good, bad = best.images
    facts = [f"Image AUROC {percent(best.image)}{_aupro(best)}, on {good} normal and {bad} defective images."]
    if not found.is_above_chance:
        facts.append("Its interval includes 50 %, which is chance.")
    speed = found.speeds.get((best.method, best.shots))
    if speed is not None and speed.p50_ms is not None:
        facts.append(f"One image takes {speed.p50_ms:.0f} ms here.")
    plural = "s" * (best.shots != 1)
    facts.append(f"It needs {best.shots or 'no'} normal image{plural}{' of each category' if best.shots else ''}.")
    return first, " ".join(facts)


def reasons(found: Recommendation) -> list[str]:
    """How it was chosen, and what the images show and do not show."""
    best, texts = found.best, []
    if best is not found.ranked[0]:
        top = found.ranked[0]
        texts.append(
            f"The highest image AUROC is that of {top.name}, {percent(top.image)}; the recommended one is not shown to "
            f"be worse, and {_preference(best, top)}."
        )
    if found.runner_up is not None:
        texts.append(
            f"Image AUROC against {found.runner_up.name} ({percent(found.runner_up.image)}): "
            f"{difference(found.comparison, found.family)}."
        )
    if found.equals:
        texts.append(f"Within a point of the highest, and not shown to be worse: {_names(found.equals)}.")
    lower = [one for one in found.ranked if one not in (best, *found.equals, *found.worse)]
    if lower:
        texts.append(f"Lower by more than a point, which could be chance with so few images: {_names(lower)}.")
    if found.worse:
        texts.append(f"Shown to be worse than the highest: {_names(found.worse)}.")
    texts.append(
        f"The choice was made among {len(found.ranked)} methods on these very images, so the figure of the chosen one "
        "is a little too good. Confirm a choice that matters on other images."
    )
    return texts


def _names(some: Sequence[Ranked]) -> str:
    return ", ".join(one.name for one in some)


def _preference(best: Ranked, top: Ranked) -> str:
    own, other = best.aupro.value, top.aupro.value
    if own is not None and other is not None and own > other + _EQUAL:
        return f"it marks defects better (AUPRO {100 * own:.1f} against {100 * other:.1f} %)"
    if best.shots < top.shots:
        return "it needs fewer normal images"
    return "it is faster at an equal AUPRO"


def _aupro(one: Ranked) -> str:
    return "" if one.aupro.value is None else f", AUPRO {100 * one.aupro.value:.1f} %"
