"""Methods of a study: pipelines on one backbone, each differing from the next in one thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vlmad_core.benchmark.plan import BackboneChoice, Method
from vlmad_core.pipeline.resolve import resolve
from vlmad_core.registry.registry import Registry
from vlmad_study.probe import Eyes

__all__ = ["borrowed", "both", "by_memory", "by_words", "reworded"]

Part = str | Mapping[str, Any]

_TOP = 0.01
"""Share of the cells that make the image score of a memory, as in 'patch-memory'."""
_SMOOTH = {"smooth": 4.0}
_MADE_FOR = 12
"""Blocks of the backbones that recipes name their blocks for."""


def by_words(eyes: Eyes, label: str, extractor: Part, *, levels: str = "*", prompts: Part | None = None) -> Method:
    """An extractor against words; the image score is the highest cell, so that it is the extractor that is judged."""
    assert eyes.prompts is not None
    spec = {
        "backbone": eyes.choice.part,
        "extractor": extractor,
        "prompts": prompts or eyes.prompts.model_dump(),
        "scorers": [{"use": "text-match", "config": {"levels": [levels], "image": "max"}}],
        "output": _SMOOTH,
    }
    return Method(label=label, recipe=spec, shots=(0,))


def by_memory(eyes: Eyes, label: str, extractor: Part, shots: Sequence[int], *, levels: str = "*") -> Method:
    """An extractor against a memory of normal images."""
    spec = {
        "backbone": eyes.choice.part,
        "extractor": extractor,
        "scorers": [{"use": "memory", "config": {"levels": [levels], "top": _TOP}}],
        "output": _SMOOTH,
    }
    return Method(label=label, recipe=spec, shots=tuple(shots))


def both(eyes: Eyes, label: str, shots: Sequence[int]) -> Method:
    """Words and a memory on the same patches, for a backbone that has no few-shot recipe of its own."""
    assert eyes.prompts is not None
    spec = {
        "backbone": eyes.choice.part,
        "extractor": {
            "use": "patches",
            "config": {"layers": [eyes.block(0.5), eyes.block(0.75), eyes.depth], "space": "both"},
        },
        "prompts": eyes.prompts.model_dump(),
        "scorers": [
            {"use": "text-match", "config": {"levels": [f"block{eyes.depth}"], "image": eyes.image_rule}},
            {"use": "memory", "config": {"levels": ["raw*"], "top": _TOP}},
        ],
        "fuse": {"image": "harmonic", "map": "harmonic"},
        "output": _SMOOTH,
    }
    return Method(label=label, recipe=spec, shots=tuple(shots))


def borrowed(eyes: Eyes, recipe: str, shots: Sequence[int], registry: Registry, *, label: str = "") -> Method:
    """A recipe on this backbone: with its own options where it is made for it, else with blocks equally deep."""
    spec = resolve(recipe, registry=registry).spec
    if spec.backbone.name == eyes.choice.name:
        config = {**spec.backbone.config, **eyes.choice.config}
        choice = BackboneChoice(use=eyes.choice.use, config=config, label=eyes.choice.label)
        return Method(label=label or recipe, recipe=recipe, shots=tuple(shots), backbones=(choice,))
    layers = spec.extractor.config.get("layers")
    deeper = {}
    if layers and not isinstance(layers, str):  # text chooses by relative depth already
        places = [layer if layer > 0 else _MADE_FOR + 1 + layer for layer in layers]
        moved = dict.fromkeys(min(eyes.depth, eyes.block(place / _MADE_FOR)) for place in places)
        deeper = {"extractor.config.layers": list(moved)}
    return Method(label=label or recipe, recipe=recipe, shots=tuple(shots), backbones=(eyes.choice,), overrides=deeper)


def reworded(eyes: Eyes, label: str, prompts: Part) -> Method:
    """The words of the backbone's own recipe, exchanged for others."""
    assert eyes.words is not None
    spec = {**eyes.words.model_dump(), "prompts": {"use": prompts} if isinstance(prompts, str) else prompts}
    return Method(label=label, recipe=spec, shots=(0,))
