"""The chapter on words: wordings against each other and against nonsense, and what each state and template is worth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vlmad_study.document import Block, Bullets, Heading, Picture, Shown, Text
from vlmad_study.effects_plot import draw_effects
from vlmad_study.material import MARKS, Material, bars, lead
from vlmad_study.standing import Standing, against, difference, is_shown, outrun, shown_table, standings
from vlmad_study.wordings import OWN

__all__ = ["prompts"]


def prompts(study: Material) -> list[Block]:
    """Wordings, and what each state and template is worth."""
    ranked = standings(study.rows["prompts"])
    folder = study.out / "prompts"
    blocks: list[Block] = [Heading("3 Prompts: which words"), Text(lead(study, "prompts", ranked))]
    own = next((one for one in ranked if one.method == OWN), None)
    nonsense = [one for one in ranked if one.method.startswith("nonsense states")]
    if own is not None and nonsense:
        blocks.append(Text(_against_nonsense(folder, own, nonsense)))
    worse = outrun(folder, ranked[0], ranked[1:]) if ranked else []
    blocks += [Shown(shown_table(ranked, f"Wordings, zero-shot, on the same features. {MARKS}", worse))]
    blocks += bars(study, "prompts", ranked)
    if study.effects:
        blocks += _effects(study)
    return blocks


def _against_nonsense(folder: Path, own: Standing, nonsense: Sequence[Standing]) -> str:
    best = nonsense[0]
    found = against(folder, own, best)
    told = (
        f"Control: with invented words in the place of the states, image AUROC is "
        f"{' and '.join(f'{100 * (one.image.value or 0):.1f} %' for one in nonsense)}. Against the best of them, "
        f"{difference(found, len(nonsense))}."
    )
    better = is_shown(found, len(nonsense)) and found is not None and found.verdict == "first"
    if better:
        return told + " So it is the meaning of the words that finds defects here."
    return told + " So these images do not show that the meaning of the words matters for whole images."


def _effects(study: Material) -> list[Block]:
    blocks: list[Block] = [Heading("Which states and templates help, and which hurt", 3)]
    count = len({(effect.what, effect.words) for effect in study.effects})
    items = []
    for metric, name in (("image_auroc", "image AUROC"), ("pixel_auroc", "pixel AUROC")):
        mine = [effect for effect in study.effects if effect.metric == metric]
        if not mine:
            continue
        for verdict in ("helps", "hurts"):
            some = sorted((e for e in mine if e.verdict == verdict), key=lambda e: -abs(e.value))
            if some:
                told = "; ".join(
                    f"“{e.words}” ({e.what}, {100 * e.value:+.2f})".replace("-0", "\u22120") for e in some[:8]
                )
                more = f" and {len(some) - 8} more" if len(some) > 8 else ""
                items.append(
                    f"In {name}, **{'these help' if verdict == 'helps' else 'these hurt'}**, in points: {told}{more}."
                )
        if not any(effect.verdict for effect in mine):
            items.append(f"In {name}, no single one is shown to help or to hurt.")
    blocks.append(Bullets(tuple(items)))
    blocks.append(
        Text(
            f"Each of {count} parts of the ensemble is left out in turn: the metric with it, less the metric without "
            "it. "
            "Intervals are from a paired bootstrap over images and hold for all parts together (95 %, Bonferroni); "
            "“help” and "
            "“hurt” are only said where they exclude 0. Maps at 64 x 64 pixels, not smoothed.",
            "note",
        )
    )
    picture = draw_effects(study.effects, study.pictures / "prompts-leave-one-out")
    return [*blocks, Picture(picture, "Effect of each state and template, with intervals")]
