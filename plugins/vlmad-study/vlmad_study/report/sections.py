"""The sections of the report: for each, sentences that the numbers allow, a table, and a plot."""

from __future__ import annotations

from collections.abc import Sequence

from vlmad_core.errors import ConfigError
from vlmad_core.report import plots, speed_table
from vlmad_study.ranking import Ranked, compared, difference, is_significant, percent, rank, ranking_table, shown_worse
from vlmad_study.report.content import Content
from vlmad_study.report.plots import LEGEND, draw_effects, draw_ranking
from vlmad_study.report.render import Markdown, bold, bullets, heading, image, paragraph, table

__all__ = ["alignment", "cross_domain", "efficiency", "features", "prompts", "shots"]

_MARKS = (
    "“worse”: a paired test on the same images shows that the first is better in image AUROC, at 5 % for all lines "
    "together. “not shown”: it does not."
)
_VISIBLE = 0.005
"""Difference below which a plot would show nothing."""


def features(content: Content) -> list[Markdown]:
    """Blocks, second paths and windows; compared with text and with a memory."""
    ranked, groups = rank(content.rows["features"]), content.groups["features"]
    blocks = [heading("1 Features: which layers and regions")]
    shots = content.scope.reference
    how = (
        "All lines of a table are the same but for the features: compared with the text of the backbone's own recipe "
        f"(the image score is the highest cell), or with a memory of {shots} normal image{'s' * (shots > 1)} of one "
        "draw (the mean of the highest 1 % of the cells)."
    )
    blocks.append(paragraph(how))
    for kind, about in (("text", "Compared with text"), ("memory", "Compared with a memory of normal images")):
        some = [one for one in ranked if groups.get(one.method) == kind]
        if some:
            blocks += [heading(about, 3), *_comparison(content, "features", kind, some, f"{about}.")]
    return blocks


def alignment(content: Content) -> list[Markdown]:
    """Text, learned text, memories in the joint space and of raw patches, a subspace; with one number of shots."""
    ranked = [one for one in rank(content.rows["shots"]) if one.shots in (0, content.scope.reference)]
    blocks = [heading("2 Alignment: what features are compared with")]
    joint = [one for one in ranked if content.groups["shots"].get(one.method) == "joint"]
    raw = [one for one in ranked if one.rows.done[0]["recipe"].endswith("patch-memory") and one not in joint]
    blocks += _comparison(content, "shots", "alignment", ranked, "Text alone, normal images alone, and both.")
    if joint and raw:
        found = compared(content.out / "shots", raw[0], joint[0])
        text = (
            f"The same memory of raw patches ({percent(raw[0].image)}) and of patches projected to the text "
            f"({percent(joint[0].image)}): {difference(found)}."
        )
        blocks.append(paragraph(text))
    return blocks


def prompts(content: Content) -> list[Markdown]:
    """Prompts against each other and against invented words, and what each state and template contributes."""
    ranked, groups = rank(content.rows["prompts"]), content.groups["prompts"]
    blocks = [heading("3 Prompts: which text")]
    blocks += _comparison(content, "prompts", "", ranked, "Prompts, zero-shot, on the same features.")
    own = next((one for one in ranked if groups.get(one.method) == "own"), None)
    nonsense = [one for one in ranked if groups.get(one.method) == "nonsense"]
    if own is not None and nonsense:
        blocks.append(paragraph(_control(content, own, nonsense)))
    if content.effects:
        blocks += _effects(content)
    return blocks


def shots(content: Content) -> list[Markdown]:
    """Accuracy over the number of normal images."""
    rows, ranked = content.rows["shots"], rank(content.rows["shots"])
    blocks = [heading("4 Shots: how many normal images")]
    draws = f"{content.scope.seeds} draws" if content.scope.seeds > 1 else "one draw"
    blocks.append(paragraph(f"Each value is the mean over {draws}, the same for all methods; fewer are part of more."))
    items = []
    for method in dict.fromkeys(one.method for one in ranked):
        some = {one.shots: one for one in ranked if one.method == method and one.shots}
        if len(some) < 2:
            continue
        low, high = some[min(some)], some[max(some)]
        change = (
            f"from {low.shots} to {high.shots} normal images, image AUROC goes from "
            f"{100 * (low.image.value or 0):.1f} to {100 * (high.image.value or 0):.1f} %; "
            f"{difference(compared(content.out / 'shots', high, low))}."
        )
        items.append(Markdown(f"{bold(method)}, {paragraph(change)}"))
    blocks += [bullets(items)] if items else []
    blocks.append(table(ranking_table(ranked, "Methods by number of normal images. ±: standard deviation over draws.")))
    done = [row for row in rows if row["status"] == "done" and row["shots"] in content.scope.shots]
    if len({row["shots"] for row in done if row["shots"]}) > 1:
        for metric in ("image_auroc", "aupro"):
            values = [value for one in ranked if (value := one.rows.mean(metric).value) is not None]
            if values and max(values) - min(values) > _VISIBLE:
                path = content.images / f"shots-{metric.replace('_', '-')}"
                made = plots.shots(done, path, metric=metric, methods=[one.method for one in ranked])[0]
                blocks.append(image(made, f"{metric} over the number of normal images", content.out))
    return blocks


def efficiency(content: Content) -> list[Markdown]:
    """Costs at batch 1, and accuracy against speed."""
    blocks = [heading("5 Efficiency: what it costs")]
    speeds = sorted(content.speeds, key=lambda one: one.p50_ms or 0.0)
    if not speeds:
        return [*blocks, paragraph("Nothing was measured.")]
    fast, slow = speeds[0], speeds[-1]
    times = (slow.p50_ms or 0) / max(1e-9, fast.p50_ms or 0)
    text = (
        f"“{fast.method}” is the fastest, {fast.p50_ms or 0:.0f} ms for one image in the median; “{slow.method}” the "
        f"slowest, {slow.p50_ms or 0:.0f} ms, {times:.1f} times as long."
    )
    blocks += [paragraph(text if len(speeds) > 1 else ""), table(speed_table.speed_table(speeds))]
    known = {(one.method, one.shots) for one in speeds}
    rows = [r for r in content.rows["shots"] if r["status"] == "done" and (r["method"], r["shots"]) in known]
    if rows and len(known) > 1:
        try:
            made = plots.speed(rows, speeds, content.images / "efficiency", by=["method", "shots"])[0]
            blocks.append(image(made, "Image AUROC against images a second", content.out))
        except ConfigError as error:
            blocks.append(paragraph(f"No plot: {error}"))
    return blocks


def cross_domain(content: Content) -> list[Markdown]:
    """Trained on one data set, tested on the other."""
    blocks = [heading("6 Cross-domain: trained on one, tested on the other")]
    for dataset in content.datasets:
        ranked = rank(content.rows["cross-domain"], dataset=dataset)
        honest = [one for one in ranked if not one.rows.trained_here]
        learned = [one for one in honest if one.is_learned]
        others = [one for one in honest if not one.is_learned]
        if learned and others:
            found = compared(content.out / "cross-domain", learned[0], others[0], dataset=dataset)
            text = (
                f"Tested on {dataset}: the best that was trained elsewhere is {learned[0].name} "
                f"({percent(learned[0].image)}), the best that was not trained {others[0].name} "
                f"({percent(others[0].image)}); {difference(found)}."
            )
            blocks.append(paragraph(text))
        if ranked:
            caption = f"Tested on {dataset}. What was trained on it is shown to warn: its figures prove nothing."
            blocks.append(table(ranking_table(ranked, caption)))
    return blocks


def _comparison(content: Content, section: str, name: str, ranked: Sequence[Ranked], caption: str) -> list[Markdown]:
    """Which is first and whether that is shown, the table, and the plot."""
    honest = [one for one in ranked if not one.rows.trained_here]
    if not honest:
        return [paragraph("Nothing could be tested here.")]
    worse = shown_worse(content.out / section, honest[0], honest[1:])
    count = len(honest[0].rows.categories)
    caption = f"{caption} Mean over {count} categor{'ies' if count > 1 else 'y'}."
    blocks = [paragraph(_first(content, section, honest, worse))]
    blocks.append(table(ranking_table(ranked, f"{caption} {_MARKS}", worse)))
    if len(ranked) > 1:
        path = content.images / f"{section}{'-' * bool(name)}{name}.png"
        blocks.append(image(draw_ranking(ranked, worse, path), caption, content.out))
        blocks.append(paragraph(LEGEND))
    return blocks


def _first(content: Content, section: str, ranked: Sequence[Ranked], worse: Sequence[Ranked]) -> str:
    best, rest = ranked[0], ranked[1:]
    ties = [one for one in rest if round(one.image.value or 0.0, 4) == round(best.image.value or 0.0, 4)]
    if ties:
        text = f"{len(ties) + 1} of {len(ranked)} reach the highest image AUROC, {percent(best.image)}."
    else:
        text = f"“{best.method}” has the highest image AUROC, {percent(best.image)}."
    if rest and not ties:
        found = compared(content.out / section, best, rest[0])
        text += f" Against the next one, “{rest[0].method}”, {difference(found, len(rest))}."
    others = [one for one in rest if one not in ties]
    if others:
        count = len([one for one in others if one in worse])
        verb = "is" if count == 1 else "are"
        many = f" Of the {len(others)} others, {count or 'none'} {verb} shown to be worse."
        text += many if len(others) > 1 else f" The other one is {'' if count else 'not '}shown to be worse."
    masked = sorted((o for o in ranked if o.aupro.value is not None), key=lambda one: -(one.aupro.value or 0.0))
    if len(masked) > 1:
        top, last = masked[0], masked[-1]
        text += f" In AUPRO, “{top.method}” is the highest with {100 * (top.aupro.value or 0.0):.1f} %, "
        text += f"“{last.method}” the lowest with {100 * (last.aupro.value or 0.0):.1f} %; no test was made of that."
    return text


def _control(content: Content, own: Ranked, nonsense: Sequence[Ranked]) -> str:
    found = compared(content.out / "prompts", own, nonsense[0])
    values = " and ".join(f"{100 * (one.image.value or 0):.1f} %" for one in nonsense)
    text = (
        f"Control: with invented words in place of the states, image AUROC is {values}. The recipe's own prompts "
        f"against the best of them: {difference(found, len(nonsense))}."
    )
    if is_significant(found, len(nonsense)) and found is not None and found.verdict == "first":
        return f"{text} So it is the meaning of the text that finds defects here."
    return f"{text} So these images do not show that the meaning of the text matters for the image score."


def _effects(content: Content) -> list[Markdown]:
    items = []
    for metric, name in (("image_auroc", "image AUROC"), ("pixel_auroc", "pixel AUROC")):
        own = [effect for effect in content.effects if effect.metric == metric]
        for verdict in ("helps", "hurts"):
            some = sorted((e for e in own if e.verdict == verdict), key=lambda e: -abs(e.value))
            texts = [f"“{e.text}” ({e.kind}, {100 * e.value:+.2f})".replace("-0", "\u22120") for e in some[:8]]
            more = f" and {len(some) - 8} more" if len(some) > 8 else ""
            if some:
                these = paragraph(f"{'; '.join(texts)}{more}.")
                items.append(Markdown(f"{bold(f'{name}, this {verdict}:')} {these}"))
        if own and not any(effect.verdict for effect in own):
            items.append(Markdown(f"{bold(f'{name}:')} no single one is shown to help or to hurt."))
    count = len({(effect.kind, effect.text) for effect in content.effects})
    about = (
        f"Each of {count} parts of the ensemble is left out in turn: the metric with it, less the metric without it, "
        "in points. Intervals are from a paired bootstrap over images and hold for all parts together (95 %, "
        "Bonferroni); a part helps or hurts only where its interval excludes 0. Maps at 64 x 64 pixels, not smoothed. "
        "Blue: helps. Orange: hurts. Grey: not shown."
    )
    made = draw_effects(content.effects, content.images / "states-and-templates.png")
    plot = image(made, "Effect of each state and template, with intervals", content.out)
    return [heading("Which states and templates help, and which hurt", 3), bullets(items), paragraph(about), plot]
