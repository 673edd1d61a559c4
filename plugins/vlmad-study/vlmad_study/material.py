"""What the report is made of, and the two things that most chapters have: who leads, and a picture of bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vlmad_core.report import plots
from vlmad_core.report.means import Row
from vlmad_core.report.speed import Speed
from vlmad_study.advice import Advice
from vlmad_study.document import Block, Picture
from vlmad_study.leave_out import Effect
from vlmad_study.settings import Scope
from vlmad_study.standing import Standing, against, difference, outrun, points

__all__ = ["MARKS", "SEEN", "Material", "bars", "lead"]

SEEN = 0.005
"""Difference below which a picture would show nothing."""

MARKS = (
    "Against the best, in image AUROC: “worse” where a paired test on the same images shows it, counted for all "
    "lines together; “not shown” elsewhere."
)


@dataclass(frozen=True)
class Material:
    """What the report is made of.

    Args:
        out: Folder of the study.
        scope: Of it.
        rows: Section to its rows.
        left_out: Section to sentences.
        speeds: As measured.
        effects: Of states and templates.
        advice: The recommendation; None where section `shots` was not run.
        datasets: Names of the judged data sets, the own one first.
    """

    out: Path
    scope: Scope
    rows: dict[str, list[Row]]
    left_out: dict[str, list[str]]
    speeds: list[Speed]
    effects: list[Effect]
    advice: Advice | None
    datasets: list[str] = field(default_factory=list)

    @property
    def pictures(self) -> Path:
        """Where plots go."""
        return self.out / "pictures"


def lead(study: Material, section: str, ranked: Sequence[Standing]) -> str:
    """Who is first, and whether that is shown."""
    honest = [one for one in ranked if not one.rows.trained_here]
    if not honest:
        return "nothing could be judged here."
    best, rest = honest[0], honest[1:]
    ties = [one for one in rest if round(one.image.value or 0.0, 4) == round(best.image.value or 0.0, 4)]
    if ties:
        told = f"{len(ties) + 1} of {len(honest)} reach the highest image AUROC, {points(best.image)}."
    else:
        told = f"“{best.method}” has the highest image AUROC, {points(best.image)}."
    others = [one for one in rest if one not in ties]
    if others:
        worse = outrun(study.out / section, best, rest)
        if not ties:
            found = against(study.out / section, best, rest[0])
            told += f" Against the next one, “{rest[0].method}”, {difference(found, len(rest))}."
        told += f" {_counted(len(worse), len(others))}"
    masked = [one for one in honest if one.aupro.value is not None]
    if masked:
        order = sorted(masked, key=lambda one: -(one.aupro.value or 0.0))
        told += f" For where the defect is, “{order[0].method}” has the highest AUPRO, {_percent(order[0])}"
        told += f"; “{order[-1].method}” the lowest, {_percent(order[-1])}." if len(order) > 1 else "."
    return told


def _counted(worse: int, others: int) -> str:
    if worse == others:
        return "The other one is shown to be worse." if others == 1 else f"All {others} others are shown to be worse."
    if not worse:
        return "No other is shown to be worse."
    return f"Of the {others} others, {worse} {'is' if worse == 1 else 'are'} shown to be worse; the rest is undecided."


def _percent(one: Standing) -> str:
    return f"{100 * (one.aupro.value or 0.0):.1f} %"


def bars(study: Material, section: str, ranked: Sequence[Standing]) -> list[Block]:
    """A picture for each metric in which they differ, the best first."""
    made: list[Block] = []
    for metric, told in (("image_auroc", "image AUROC"), ("aupro", "AUPRO")):
        values = {one.reference: one.rows.mean(metric).value for one in ranked}
        known = {name: value for name, value in values.items() if value is not None}
        if len(known) < 2 or max(known.values()) - min(known.values()) < SEEN:
            continue
        order = {name: place for place, name in enumerate(sorted(known, key=lambda name: -known[name]))}
        rows = [row for one in ranked if one.reference in order for row in one.rows.done]
        rows.sort(key=lambda row: order[f"{row['method']}:{row['shots']}"])
        path = study.pictures / f"{section}-{metric.replace('_', '-')}"
        picture = plots.bars(rows, path, metric=metric, by=["method"])[0]
        made.append(Picture(picture, f"Section {section}: bars of {told}, the best first"))
    return made
