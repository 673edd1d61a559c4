"""The first page: what to take, why, and what to type."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vlmad_core.errors import VlmadError
from vlmad_core.pipeline.build import assemble, save_recipe
from vlmad_core.pipeline.spec import PipelineSpec
from vlmad_core.registry.validate import validate
from vlmad_study.advice import RULE, Advice, command, is_better
from vlmad_study.document import Block, Bullets, Code, Heading, Text
from vlmad_study.material import Material
from vlmad_study.probe import Eyes
from vlmad_study.settings import StudySettings
from vlmad_study.standing import Standing, difference, points

__all__ = ["opening"]

RECIPE = "recommended.yaml"
CHANCE = 0.5


def opening(study: Material, asked: StudySettings, eyes: Eyes, detectors: dict[str, str]) -> tuple[list[Block], str]:
    """Title, summary and recommendation; and the recommendation in a few sentences.

    Args:
        study: What was measured.
        asked: The settings.
        eyes: The backbone.
        detectors: Label of a trained method to its folder.
    """
    name = study.datasets[0] if study.datasets else asked.data.path.name
    rows = [row for some in study.rows.values() for row in some if row["dataset"] == name]
    categories = list(dict.fromkeys(row["category"] for row in rows))
    blocks: list[Block] = [Heading(f"Which method for {name}?", 1)]
    advice = study.advice
    if advice is None:
        said = "No recommendation: it is made from section `shots`, which was not run or judged nothing."
        return [*blocks, Text(said, "lead")], said
    image = _images(advice.best)
    what = (
        f"{image[0]} good and {image[1]} defective images of {len(categories)} "
        f"categor{'ies' if len(categories) > 1 else 'y'} "
        f"were judged on the backbone '{eyes.label}' at {eyes.size[0]} x {eyes.size[1]} pixels."
    )
    reason = _reason(advice)
    blocks += [
        Text(f"**Take {advice.best.name}.** {reason}", "lead"),
        Text(what + (f" {study.scope.reduced}" if study.scope.reduced else "")),
    ]
    blocks.append(Heading("How to use it", 3))
    backbone: dict[str, Any] = {"use": asked.backbone.use, "config": dict(asked.backbone.config)}
    recipe = _save(advice.best, study.out)
    blocks.append(Code(command(advice.best, backbone, recipe, detectors)))
    if advice.best.shots:
        blocks.append(
            Text(
                f"`NORMAL_IMAGES` is a folder of {advice.best.shots} or more images without defects. Measured with "
                f"{advice.best.shots}; "
                "section 4 says what more of them bring."
            )
        )
    if advice.without is not None:
        without = advice.without
        blocks.append(
            Text(
                f"**Without any normal image**, {without.name.removesuffix(' without normal images')} is the best "
                "here: image AUROC "
                f"{points(without.image)}{_where(without)}."
            )
        )
        blocks.append(Code(command(without, backbone, recipe, detectors)))
    blocks.append(Heading("Why, and how sure that is", 3))
    blocks.append(Bullets(tuple(_reasons(advice))))
    blocks.append(Text(RULE, "note"))
    return blocks, f"Take {advice.best.name}. {reason}"


def _reason(advice: Advice) -> str:
    """Accuracy, certainty, price."""
    best = advice.best
    told = [f"Image AUROC {points(best.image)}{_where(best)}."]
    if advice.runner_up is not None:
        lead = "It is shown to be better than" if is_better(advice) else "It is not shown to be better than"
        if best is not advice.ranked[0]:
            lead = "By image AUROC it is not shown to differ from"
        told.append(f"{lead} the next one, {advice.runner_up.name}.")
    if best.image.interval is not None and best.image.interval[0] <= CHANCE:
        told.insert(1, "**It is not shown to be better than chance on these images.**")
    speed = advice.quick.get((best.method, best.shots))
    if speed is not None and speed.p50_ms is not None:
        told.append(f"One image takes {speed.p50_ms:.0f} ms here.")
    told.append(
        f"It needs {best.shots} normal image{'s' * (best.shots != 1)} of each category."
        if best.shots
        else "It needs no normal images."
    )
    return " ".join(told)


def _reasons(advice: Advice) -> list[str]:
    best, told = advice.best, []
    if best is not advice.ranked[0]:
        top = advice.ranked[0]
        told.append(
            f"The highest image AUROC is that of {top.name}, {points(top.image)}; the recommended one is not shown to "
            "be worse, and "
            f"{_preferred(best, top)}."
        )
    if advice.runner_up is not None:
        told.append(
            f"Image AUROC against {advice.runner_up.name} ({points(advice.runner_up.image)}): "
            f"{difference(advice.comparison, advice.family)}."
        )
    if advice.equals:
        names = ", ".join(one.name for one in advice.equals)
        told.append(f"Within a point of the highest, and not shown to be worse: {names}.")
    open_ = [one for one in advice.ranked if one not in (best, *advice.equals, *advice.worse)]
    if open_:
        names = ", ".join(one.name for one in open_)
        told.append(
            f"Lower by more than a point, though these images are too few to show that it is no chance: {names}."
        )
    if advice.worse:
        told.append(f"Shown to be worse: {', '.join(one.name for one in advice.worse)}.")
    told.append(
        "The choice was made among "
        f"{len(advice.ranked)} methods on these very images, so the figure of the chosen one is a little too good; a "
        "choice that "
        "matters should be confirmed on images that are not in this study."
    )
    return told


def _preferred(best: Standing, top: Standing) -> str:
    mine, other = best.aupro.value, top.aupro.value
    if mine is not None and other is not None and mine > other:
        return f"it marks defects better (AUPRO {100 * mine:.1f} against {100 * other:.1f} %)"
    return "it needs fewer normal images" if best.shots < top.shots else "it is faster"


def _where(one: Standing) -> str:
    return "" if one.aupro.value is None else f", AUPRO {100 * one.aupro.value:.1f} %"


def _images(one: Standing) -> tuple[int, int]:
    good, bad = one.rows.images()
    return good.stop - 1, bad.stop - 1


def _save(one: Standing, out: Path) -> str:
    """The pipeline as a file, for whoever wants exactly this one."""
    try:
        spec = validate(PipelineSpec, one.rows.done[0]["spec"])
        if any("adapter" in part.use for part in (spec.extractor,)):
            return RECIPE
        return str(save_recipe(assemble(spec), out / RECIPE))
    except VlmadError:
        return RECIPE  # one that learned is its detector's folder
