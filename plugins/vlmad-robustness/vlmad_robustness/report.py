"""The report: ``report.md`` for people, ``report.json`` for programs, with pictures of the worst cases."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlmad_core.files import write_whole
from vlmad_core.version import __version__
from vlmad_robustness.cases import Case, draw_cases
from vlmad_robustness.not_tested import not_tested
from vlmad_robustness.plan import DIRECTIONS, LARGE, REMEDY, Cell, Plan
from vlmad_robustness.remedy import VIEWS
from vlmad_robustness.run import Outcome, Run
from vlmad_robustness.sections import corruption_tables, headline
from vlmad_robustness.summary import Check, Summary, sanity, summarise

__all__ = ["write_report"]


def write_report(run: Run, outcome: Outcome, out: Path) -> Path:
    """Write the report of what is measured; calling it again replaces it.

    Returns:
        The Markdown file.
    """
    labels = outcome.images.labels
    summaries = {name: summarise(measured, labels) for name, measured in outcome.measured.items()}
    checks = sanity(outcome.measured, outcome.plan)
    cases = draw_cases(run.subject, outcome, summaries, out)
    missing = not_tested(outcome, run)
    sections = [
        *_title(run, outcome),
        *headline(summaries, outcome),
        *corruption_tables(summaries, outcome),
        *_attacks(summaries, outcome, checks),
        *_remedy(summaries, outcome),
        *_pictures(cases),
        "## What was not tested",
        "\n".join(f"- {text}" for text in missing),
    ]
    path = out / "report.md"
    write_whole(path, ("\n\n".join(sections) + "\n").encode())
    write_whole(out / "report.json", (json.dumps(_record(run, outcome, summaries, checks, missing), indent=1)).encode())
    return path


def _title(run: Run, outcome: Outcome) -> list[str]:
    subject, rule = run.subject, run.subject.rule
    labels = outcome.images.labels
    normals = run.settings.get("normals")  # of a recipe; a saved detector was fitted before
    count = len(normals or ()) if subject.pipeline.memory_scorers else 0
    fitted = "a saved detector" if normals is None else f"{count} normal images fitted"
    return [
        f"# Robustness of {subject.name} on {run.source.category}",
        f"{int((~labels).sum())} normal and {int(labels.sum())} defective test images. The detector works at "
        f"{subject.size[0]} x {subject.size[1]} pixels; images are brought to a shorter side of {min(subject.size)} "
        "pixels first and changed there, so that a severity means the same for every camera. An alarm is the verdict "
        f"*reject* or *not this part*, at the detector's own threshold {rule.threshold:.6g}. {rule.promise}",
        f"{_plan_text(outcome.plan)}. Intervals are 95 %: of AUROC by Newcombe's method, of counts by Clopper and "
        f"Pearson. vlmad {__version__}; {fitted}; {outcome.speed.forward * 1000:.0f} ms an image "
        f"forward and {outcome.speed.gradient * 1000:.0f} ms with its gradient when it began.",
    ]


def _plan_text(plan: Plan) -> str:
    return (
        f"{plan.images} test images a condition, severities {', '.join(map(str, plan.severities))}; attacks with "
        f"{plan.steps} steps and {plan.restarts} restart{'s' if plan.restarts > 1 else ''} on at most "
        f"{plan.attack_images} images"
    )


def _attacks(summaries: Mapping[str, Summary], outcome: Outcome, checks: list[Check]) -> list[str]:
    """Tables of attacks, universal perturbations and transfer, and whether the attacks can be believed."""
    rows = []
    for direction in DIRECTIONS:
        for epsilon in [*sorted(outcome.plan.epsilons), LARGE]:
            ids = [Cell("attack", name, epsilon, direction).id for name in ("random", "pgd", "apgd")]
            if any(name in summaries for name in ids):
                counts = [_wrong(summaries.get(name), direction) + _by_score(outcome, name) for name in ids]
                rows.append(f"| {direction} | {epsilon} | {' | '.join(counts)} |")
    if not rows:
        return ["## Adversarial images", "Not measured yet."]
    lines = [
        "## Adversarial images",
        "Attacks on the image score by its true gradient, in the ball of the maximum norm around the image at the "
        "detector's size, saved as 8-bit pictures and judged as every other image. Only images that were decided "
        "rightly are attacked: *raise* turns a pass into a false alarm, *hide* turns an alarm into a miss. Wrong "
        "decisions after the attack, of the images attacked; where the score alone would have decided otherwise, since "
        "an image with such noise is *not this part*, that count follows:",
        "\n".join(
            [
                "| direction | epsilon / 255 | random noise, best of all tries | PGD | APGD |",
                "|---|---|---|---|---|",
                *rows,
            ]
        ),
    ]
    lines += _universal(summaries, outcome)
    lines += _transfer(summaries, outcome)
    verdicts = {True: "holds", False: "**does not hold**", None: "not checked"}
    lines += [
        "### Can these attacks be believed?",
        "\n".join(
            f"- {check.text}: {verdicts[check.passed]} ({check.found or 'nothing measured'})." for check in checks
        ),
    ]
    if any(check.passed is False for check in checks):
        lines.append(
            "Where a check does not hold, the attack is weaker than it could be: read its numbers as a lower bound of "
            "what an adversary reaches. Saturated scores and kinks of a memory bank (another neighbour becomes the "
            "nearest) are common reasons."
        )
    return lines


def _by_score(outcome: Outcome, name: str) -> str:
    """How many the score alone would have decided wrongly, where that is another number."""
    measured = outcome.measured.get(name)
    if measured is None or measured.above == measured.alarms:
        return ""
    wanted = ":hide:" in name
    return f"; by the score alone {sum(above is not wanted for above in measured.above)}/{len(measured.above)}"


def _universal(summaries: Mapping[str, Summary], outcome: Outcome) -> list[str]:
    rows = []
    for direction in DIRECTIONS:
        name = Cell("universal", "universal", 8, direction).id
        if name in summaries:
            learned = outcome.measured[name].more.get("learned_on", 0)
            rows.append(
                f"- {direction}: {_wrong(summaries[name], direction)} wrong; learned on {learned} other images."
            )
    text = "One perturbation for all images (epsilon 8/255), learned on images that are not attacked here:"
    return [f"### Universal\n\n{text}", "\n".join(rows)] if rows else []


def _transfer(summaries: Mapping[str, Summary], outcome: Outcome) -> list[str]:
    rows = []
    for recipe in outcome.plan.transfer:
        for direction in DIRECTIONS:
            cell = Cell("transfer", recipe, max(outcome.plan.epsilons), direction)
            if cell.id in summaries:
                more, wanted = outcome.measured[cell.id].more, direction == "hide"
                before = sum(alarm is not wanted for alarm in more["clean_alarms"])
                total = len(more["clean_alarms"])
                rows.append(
                    f"- {recipe}, {direction}: {_wrong(summaries[cell.id], direction)} wrong; {before}/{total} of the "
                    "same images before the attack."
                )
    text = f"The APGD pictures of epsilon {max(outcome.plan.epsilons)}/255, judged by other detectors:"
    return [f"### Transfer\n\n{text}", "\n".join(rows)] if rows else []


def _wrong(summary: Summary | None, direction: str) -> str:
    return "-" if summary is None else str(summary.false_alarms if direction == "raise" else summary.misses)


def _remedy(summaries: Mapping[str, Summary], outcome: Outcome) -> list[str]:
    """Wrong decisions with and without the remedy on the same images, what it costs, and whether it helps."""
    if not outcome.remedy:
        return []
    rows, better, worse = [], 0, 0
    labels = outcome.images.labels
    for name in ("working size", *REMEDY):
        after = Cell("remedy", name, 0 if name == "working size" else 3)
        before = Cell("clean", name) if not after.level else Cell("corruption", name, 3)
        if after.id not in summaries or before.id not in summaries:
            continue
        old, new = outcome.measured[before.id], outcome.measured[after.id]
        alarms = dict(zip(old.images, old.alarms, strict=True))
        wrong = [
            (alarms[i] != bool(labels[i]), a != bool(labels[i])) for i, a in zip(new.images, new.alarms, strict=True)
        ]
        better += sum(b and not a for b, a in wrong)
        worse += sum(a and not b for b, a in wrong)
        summary = summaries[after.id]
        condition = "as it is" if not after.level else f"{name}, severity 3"
        counts = f"{sum(b for b, _ in wrong)}/{len(wrong)} | {sum(a for _, a in wrong)}/{len(wrong)}"
        rates = f"{summary.auroc:.3f} | {summary.false_alarms} | {summary.misses}"
        rows.append(f"| {condition} | {counts} | {rates} |")
    if not rows:
        return []
    remedy = outcome.remedy
    p = _sign_test(better, worse)
    verdict = (
        "it helps" if better > worse and p < 0.05 else "it hurts" if worse > better and p < 0.05 else "no effect shown"
    )
    views = ", ".join(name for name, _, _ in VIEWS)
    return [
        f"## A remedy: {remedy['name']}",
        f"Views: as it is, {views}. Price: {1000 * remedy['seconds']:.0f} ms an image in place of "
        f"{1000 * remedy['seconds_before']:.0f} ms, and {remedy['numbers']:,} stored numbers in place of "
        f"{remedy['numbers_before']:,}. Threshold {remedy['threshold']:.6g} in place of "
        f"{remedy['threshold_before']:.6g}.",
        "\n".join(
            [
                "| condition | wrong before | wrong after | AUROC after | false alarms after | misses after |",
                "|---|---|---|---|---|---|",
                *rows,
            ]
        ),
        f"Over these conditions {better} decisions become right and {worse} become wrong (exact sign test, "
        f"p = {p:.2g}): **{verdict}**.",
    ]


def _sign_test(better: int, worse: int) -> float:
    """Two-sided exact sign test (McNemar) of discordant decisions."""
    n = better + worse
    if n == 0:
        return 1.0
    tail = sum(math.comb(n, k) for k in range(min(better, worse) + 1))
    return min(1.0, float(2 * tail / 2**n))


def _pictures(cases: list[Case]) -> list[str]:
    if not cases:
        return []
    shown = [f"![{case.text.replace('`', '')}]({case.file})\n\n*{case.text}*" for case in cases]
    return ["## The worst cases", *shown]


def _record(
    run: Run, outcome: Outcome, summaries: Mapping[str, Summary], checks: list[Check], missing: list[str]
) -> dict[str, Any]:
    rule = run.subject.rule
    return {
        "format": 1,
        "version": __version__,
        "detector": run.subject.name,
        "category": run.source.category,
        "settings": dict(run.settings),
        "plan": outcome.plan.record(),
        "threshold": rule.threshold,
        "promise": rule.promise,
        "images": list(outcome.images.paths),
        "conditions": {
            cell.id: {
                "kind": cell.kind,
                "name": cell.name,
                "level": cell.level,
                "direction": cell.direction or None,
                "images": len(outcome.measured[cell.id].images),
                "seconds": outcome.measured[cell.id].seconds,
                **summaries[cell.id].record(),
            }
            for cell in outcome.cells
            if cell.id in summaries
        },
        "sanity": [{"text": c.text, "passed": c.passed, "found": c.found} for c in checks],
        "remedy": dict(outcome.remedy),
        "not_tested": missing,
    }
