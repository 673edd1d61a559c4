"""Methods of a study: pipelines on one backbone, each of which differs from the next in one thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vlmad_core.benchmark import BackboneChoice, Method
from vlmad_study.backbone import BackboneInfo
from vlmad_study.catalogue import RecipeInfo

__all__ = ["recipe_label", "recipe_on", "with_memory", "with_prompts", "with_text", "with_text_and_memory", "zero_shot"]

Part = str | Mapping[str, Any]

_TOP = 0.01
"""Share of the cells that make the image score of a memory, as in recipe 'patch-memory'."""
_OUTPUT = {"smooth": 4.0}
_USUAL_DEPTH = 12
"""Blocks of the backbones that recipes choose their layers for."""


def with_text(info: BackboneInfo, label: str, extractor: Part) -> Method:
    """An extractor whose features are compared with text; the image score is the highest cell of the map."""
    spec = {
        "backbone": info.choice.part,
        "extractor": extractor,
        "prompts": info.prompts.model_dump(),
        "scorers": [{"use": "text-match", "config": {"image": "max"}}],
        "output": _OUTPUT,
    }
    return Method(label=label, recipe=spec, shots=(0,))


def with_memory(info: BackboneInfo, label: str, extractor: Part, shots: Sequence[int]) -> Method:
    """An extractor whose features are compared with a memory of normal images."""
    spec = {
        "backbone": info.choice.part,
        "extractor": extractor,
        "scorers": [{"use": "memory", "config": {"top": _TOP}}],
        "output": _OUTPUT,
    }
    return Method(label=label, recipe=spec, shots=tuple(shots))


def with_text_and_memory(info: BackboneInfo, shots: Sequence[int]) -> Method:
    """Text and a memory on the same patches: the backbone's own few-shot recipe, or one like it."""
    if info.recipe:
        return Method(label=f"{info.recipe}-few-shot", recipe=info.recipe, shots=tuple(shots))
    layers = list(dict.fromkeys([info.block(0.5), info.block(0.75), info.depth]))
    spec = {
        "backbone": info.choice.part,
        "extractor": {"use": "patches", "config": {"layers": layers, "space": "both"}},
        "prompts": info.prompts.model_dump(),
        "scorers": [
            {"use": "text-match", "config": {"levels": [f"block{info.depth}"], "image": info.image_score}},
            {"use": "memory", "config": {"levels": ["raw*"], "top": _TOP}},
        ],
        "fuse": {"image": "harmonic", "map": "harmonic"},
        "output": _OUTPUT,
    }
    return Method(label="text + memory", recipe=spec, shots=tuple(shots))


def zero_shot(info: BackboneInfo) -> Method:
    """Text alone."""
    if info.recipe:
        return Method(label=info.recipe, recipe=info.recipe, shots=(0,))
    assert info.zero_shot is not None
    return Method(label="text", recipe=info.zero_shot.model_dump(), shots=(0,))


def with_prompts(info: BackboneInfo, label: str, prompts: Part) -> Method:
    """The zero-shot pipeline with other prompts."""
    assert info.zero_shot is not None
    spec = {**info.zero_shot.model_dump(), "prompts": {"use": prompts} if isinstance(prompts, str) else prompts}
    return Method(label=label, recipe=spec, shots=(0,))


def recipe_on(info: BackboneInfo, recipe: RecipeInfo, shots: Sequence[int]) -> Method:
    """A recipe on this backbone: with its own options where it was made for it, else with layers at equal depth."""
    choice, overrides = _choice_and_overrides(info, recipe)
    label = recipe_label(info, recipe)
    return Method(label=label, recipe=recipe.full_name, shots=tuple(shots), backbones=(choice,), overrides=overrides)


def recipe_label(info: BackboneInfo, recipe: RecipeInfo) -> str:
    """The name of a recipe is that of its paper's method only on its own backbone: ``"winclip (pocket)"``."""
    part = recipe.backbone
    same = part.name == info.choice.name and info.choice.config.get("model") in (None, part.config.get("model"))
    return recipe.name if same else f"{recipe.name} ({info.label})"


def _choice_and_overrides(info: BackboneInfo, recipe: RecipeInfo) -> tuple[BackboneChoice, dict[str, Any]]:
    part = recipe.backbone
    if part.name == info.choice.name:
        return info.choice.model_copy(update={"config": {**part.config, **info.choice.config}}), {}
    layers = recipe.spec.extractor.config.get("layers")
    if not layers or isinstance(layers, str):  # text names relative depths
        return info.choice, {}
    places = [layer if layer > 0 else _USUAL_DEPTH + 1 + layer for layer in layers]
    moved = dict.fromkeys(min(info.depth, info.block(place / _USUAL_DEPTH)) for place in places)
    return info.choice, {"extractor.config.layers": list(moved)}
