"""Rules of a recipe: a pipeline file that is valid, with parts that are there and work together."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch

from vlmad_core.errors import ConfigError, IncompatibleError, UnknownComponentError, VlmadError
from vlmad_core.pipeline.build import assemble
from vlmad_core.pipeline.spec import PipelineSpec
from vlmad_core.registry.component import Recipe
from vlmad_core.registry.validate import validate
from vlmad_core.testing.rules import CheckFailed, CheckSkipped, check, require
from vlmad_core.testing.tiny import tiny_backbone

if TYPE_CHECKING:
    from vlmad_core.testing.cases import RecipeCase


@check("recipe")
def spec_is_valid(case: RecipeCase) -> None:
    """The spec is a valid pipeline file."""
    _spec(case)


@check("recipe")
def parts_are_found(case: RecipeCase) -> None:
    """Each part is installed, named in full or listed in ``needs``, and takes the options that the recipe gives it."""
    recipe, spec = _recipe(case), _spec(case)
    parts = [("backbone", spec.backbone), ("extractor", spec.extractor), *(("scorer", part) for part in spec.scorers)]
    parts += [("prompts", spec.prompts)] if spec.prompts else []
    for kind, part in parts:
        try:
            component = case.registry.get(kind, part.use).component
            validate(component.config, part.config, f"{kind} '{part.use}'", part.use)
        except UnknownComponentError as error:
            known = ":" in part.use or part.use in recipe.needs
            require(
                known,
                f"{error} Name it in full, as 'DISTRIBUTION:{part.use}', so that the message says what to install.",
            )
        except ConfigError as error:
            raise CheckFailed(f"{error} Correct the spec of the recipe.") from error


@check("recipe")
def few_shot_is_found(case: RecipeCase) -> None:
    """The recipe that takes over when normal images are given is there."""
    name = _recipe(case).few_shot
    if name:
        there = [entry.name for entry in case.registry.entries("recipe")]
        require(name in there, f"few_shot names '{name}', which no plugin offers; correct it, or leave it empty.")


@check("recipe")
def checkpoint_is_found(case: RecipeCase) -> None:
    """The function that reads a published checkpoint can be imported."""
    target = _recipe(case).checkpoint
    if not target:
        raise CheckSkipped("it names no published checkpoint.")
    module, _, name = target.partition(":")
    try:
        found = callable(getattr(import_module(module), name))
    except (ImportError, AttributeError) as error:
        raise CheckFailed(f"checkpoint '{target}' cannot be imported: {error}; correct the name.") from error
    require(found, f"checkpoint '{target}' is no function; name one that takes a path.")


@check("recipe")
def builds_and_scores(case: RecipeCase) -> None:
    """On a tiny backbone in place of its own it is built, fitted if it must be, and gives finite scores."""
    spec = _spec(case)
    backbone = tiny_backbone(depth=24, image_size=(48, 48))
    try:
        detector: Any = assemble(spec, backbone=backbone, registry=case.registry)
    except (IncompatibleError, UnknownComponentError) as error:
        raise CheckSkipped(f"its parts refuse the tiny backbone, or are not there: {error}") from error
    images = torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for scorer in detector.scorers:
            if scorer.needs_fit:
                scorer.fit(detector.extractor(backbone.vision, images))
        scores = detector(images, ["metal nut"] * 2)
    finite = bool(scores.image.isfinite().all() and scores.anomaly_map.isfinite().all())
    require(finite, "on a tiny backbone it gives scores that are not finite; look for a division by zero.")


def _recipe(case: RecipeCase) -> Recipe:
    assert isinstance(case.entry.item, Recipe)
    return case.entry.item


def _spec(case: RecipeCase) -> PipelineSpec:
    try:
        return validate(PipelineSpec, _recipe(case).spec)
    except VlmadError as error:
        raise CheckFailed(f"{error} Correct the spec of the recipe; docs/spec.md lists what it may say.") from error
