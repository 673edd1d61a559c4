"""Sections of the report about corruptions: the headline, and the tables with false alarms and misses."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from vlmad_robustness.corruptions import CORRUPTIONS
from vlmad_robustness.lighting import LIGHTING
from vlmad_robustness.plan import WORST, Cell
from vlmad_robustness.run import Outcome
from vlmad_robustness.summary import Rate, Summary

__all__ = ["corruption_tables", "headline"]

_HEAD = "| condition | severity | AUROC | false alarms | misses | pixel AUROC | AUPRO |\n|---|---|---|---|---|---|---|"


_QUESTIONS: tuple[tuple[str, Callable[[Summary], float]], ...] = (
    ("Most false alarms", lambda summary: summary.false_alarms.share),
    ("Most misses", lambda summary: summary.misses.share),
    ("Lowest AUROC", lambda summary: -summary.auroc),
)


def headline(summaries: Mapping[str, Summary], outcome: Outcome) -> list[str]:
    """The few sentences that a reader takes away."""
    clean = summaries.get(Cell("clean", "working size").id)
    if clean is None:
        return []
    found = [
        (cell, summaries[cell.id])
        for cell in outcome.cells
        if cell.kind == "corruption" and cell.level == 3 and cell.id in summaries
    ]
    lines = [
        f"As it is: AUROC {_area(clean)}, false alarms {clean.false_alarms}, misses {clean.misses}.",
    ]
    for text, badness in _QUESTIONS:
        if not found:
            break
        cell, worst = max(found, key=lambda pair: badness(pair[1]))
        if badness(worst) <= badness(clean):
            lines.append(f"{text} at severity 3: none is worse than the images as they are.")
        else:
            numbers = f"AUROC {_area(worst)}, false alarms {worst.false_alarms}, misses {worst.misses}"
            lines.append(f"{text} at severity 3: {cell.name} ({numbers}).")
    if clean.misses.count == clean.misses.total:
        lines.append(
            "At this threshold every defect is missed even without a corruption, so nothing can be hidden. Look for "
            "an unusual image among the normal ones, or test another rate: --false-alarms 0.1."
        )
    for direction, verb in (("raise", "become false alarms"), ("hide", "are missed")):
        for epsilon in sorted(outcome.plan.epsilons):
            summary = summaries.get(Cell("attack", "apgd", epsilon, direction).id)
            if summary is not None:
                rate = summary.false_alarms if direction == "raise" else summary.misses
                lines.append(f"Attacked (APGD, epsilon {epsilon}/255): {rate} of the attacked images {verb}.")
                break
    return ["## In short", "\n".join(f"- {line}" for line in lines)]


def corruption_tables(summaries: Mapping[str, Summary], outcome: Outcome) -> list[str]:
    """All conditions without an adversary. Bold: outside what the images as they are explain."""
    clean = summaries.get(Cell("clean", "working size").id)
    if clean is None:
        return []
    given = summaries[Cell("clean", "as given").id]
    top = [_row("files as given", "-", given, clean), _row("as it is", "-", clean, clean)]
    blocks = [
        "## Corruptions and light",
        "Bold: worse than the images as they are, and neither interval holds the other value.",
        "### As it is",
        "\n".join([_HEAD, *top]),
    ]
    for title, group in (("Light", LIGHTING), ("Corruptions", CORRUPTIONS)):
        rows = []
        for corruption in group:
            for severity in outcome.plan.severities:
                summary = summaries.get(Cell("corruption", corruption.name, severity).id)
                strength = f"{severity} ({corruption.strengths[severity - 1]:g} {corruption.unit})"
                rows += [] if summary is None else [_row(corruption.name, strength, summary, clean)]
        blocks += [f"### {title}", "\n".join([_HEAD, *rows])]
    worst = []
    for name, values in WORST.items():
        summary = summaries.get(Cell("worst", name).id)
        tried = f"of {len(values)} values: {', '.join(f'{value:g}' for value in values)}"
        worst += [] if summary is None else [_row(f"worst {name}", tried, summary, clean)]
    if worst:
        blocks += [
            "### The worst view of each image",
            "For each image the view that hurts most: the highest score of a normal image, the lowest of a defective "
            "one (as in arXiv 2405.07969). The image as it is is among the views.",
            "\n".join([_HEAD, *worst]),
        ]
    return blocks


def _row(name: str, severity: str, summary: Summary, clean: Summary) -> str:
    area, alarms, misses = _area(summary), str(summary.false_alarms), str(summary.misses)
    if summary.interval[1] < clean.auroc and summary.auroc < clean.interval[0]:
        area = f"**{area}**"
    if _is_higher(summary.false_alarms, clean.false_alarms):
        alarms = f"**{alarms}**"
    if _is_higher(summary.misses, clean.misses):
        misses = f"**{misses}**"
    pixels = f"{_number(summary.pixel_auroc)} | {_number(summary.aupro)}"
    return f"| {name} | {severity} | {area} | {alarms} | {misses} | {pixels} |"


def _is_higher(now: Rate, before: Rate) -> bool:
    """Whether neither interval holds the other share: one miss more than none is not much."""
    return now.interval[0] > before.share and now.share > before.interval[1]


def _area(summary: Summary) -> str:
    if math.isnan(summary.auroc):
        return "-"
    return f"{summary.auroc:.3f} ({summary.interval[0]:.2f} to {summary.interval[1]:.2f})"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
