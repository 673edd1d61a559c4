"""What a backbone offers: how deep it is, whether it reads, which recipe is its own, and which words that one uses."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vlmad_core.benchmark.plan import BackboneChoice, label_of
from vlmad_core.errors import UnknownComponentError
from vlmad_core.pipeline.build import assemble, make_backbone
from vlmad_core.pipeline.pipeline import Pipeline
from vlmad_core.pipeline.resolve import resolve
from vlmad_core.pipeline.spec import PartSpec, PipelineSpec
from vlmad_core.registry.component import Recipe
from vlmad_core.registry.registry import Registry

__all__ = ["PLUGINS", "Eyes", "has", "look_at", "missing"]

PLUGINS = {
    "windows": "vlmad-winclip",
    "winclip": "vlmad-winclip",
    "compositional": "vlmad-compositional",
    "dpam": "vlmad-dpam",
    "foreground": "vlmad-foreground",
    "foreground-memory": "vlmad-foreground",
    "subspace": "vlmad-subspace",
    "anomalyclip": "vlmad-learned-prompts",
    "learned": "vlmad-learned-prompts",
    "april-gan": "vlmad-april-gan",
}
"""Parts that a study likes to have, to the distribution that brings them."""


@dataclass(frozen=True)
class Eyes:
    """A backbone, as far as a study must know it.

    Args:
        choice: As it was asked for.
        depth: Blocks.
        reads: Whether it has a tower for text.
        size: ``(height, width)`` that it sees.
        provenance: Weights and their hash.
        own: Its own recipe for words; empty where it has none.
        words: The pipeline that judges by words alone; None without text.
        prompts: The prompts of it.
        states: Normal states, then abnormal ones, with ``{}`` for the class name; empty where they are not told.
        templates: Sentences for a state.
    """

    choice: BackboneChoice
    depth: int
    reads: bool
    size: tuple[int, int]
    provenance: Mapping[str, str]
    own: str = ""
    words: PipelineSpec | None = None
    prompts: PartSpec | None = None
    states: tuple[tuple[str, ...], ...] = ()
    templates: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """What it is called in rows."""
        return label_of(self.choice)

    @property
    def image_rule(self) -> str:
        """How words make an image score here: its own recipe knows whether its whole-image feature is any good."""
        parts = [] if self.words is None else [part for part in self.words.scorers if part.name == "text-match"]
        return str(parts[0].config.get("image", "class")) if parts else "class"

    def block(self, share: float) -> int:
        """The block at this share of the depth, from 1."""
        return max(1, round(share * self.depth))


def look_at(choice: BackboneChoice, registry: Registry) -> Eyes:
    """Build it once and see.

    Raises:
        UnknownComponentError: Nobody offers it.
        ConfigError: An option that does not exist or does not fit.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the benchmark tells them
        model = make_backbone(PartSpec(use=choice.use, config=choice.config), registry=registry)
    about: dict[str, Any] = {
        "choice": choice,
        "depth": len(model.vision.blocks),
        "size": model.preprocess.size,
        "provenance": dict(model.provenance),
    }
    if model.text is None:
        return Eyes(reads=False, **about)
    own = _own(choice, registry)
    spec = resolve(own or _plain(registry), {"backbone": choice.part}, registry=registry).spec
    pipeline = assemble(spec, backbone=model, registry=registry)
    states, templates = _lists(pipeline)
    return Eyes(reads=True, own=own, words=spec, prompts=spec.prompts, states=states, templates=templates, **about)


def has(registry: Registry, kind: str, name: str) -> bool:
    """Whether a part is installed."""
    try:
        registry.get(kind, name)
    except UnknownComponentError:
        return False
    return True


def missing(name: str, what: str) -> str:
    """A sentence for what is left out, with the command that brings it."""
    return f"{what}: '{name}' is not installed. `pip install {PLUGINS[name]}` brings it."


def _own(choice: BackboneChoice, registry: Registry) -> str:
    """The recipe that has the name of the backbone, and its words."""
    if not has(registry, "recipe", choice.use):
        return ""
    item = registry.get("recipe", choice.use).item
    assert isinstance(item, Recipe)
    spec = resolve(choice.use, registry=registry).spec
    parts = [part for part in (spec.extractor, spec.prompts) if part is not None]
    there = all(has(registry, kind, part.use) for kind, part in zip(("extractor", "prompts"), parts, strict=False))
    return choice.use if spec.backbone.name == choice.name and spec.prompts is not None and there else ""


def _plain(registry: Registry) -> dict[str, Any]:
    """Words for a backbone that has no recipe of its own: patches of the last block against all words there are."""
    prompts = "compositional" if has(registry, "prompts", "compositional") else "templates"
    return {
        "backbone": "open-clip",  # exchanged at once
        "extractor": {"use": "patches", "config": {"layers": [-1], "space": "joint"}},
        "prompts": prompts,
        "scorers": [{"use": "text-match", "config": {"image": "both"}}],
        "output": {"smooth": 4.0},
    }


def _lists(pipeline: Pipeline) -> tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]:
    """States and templates, of prompts that are ensembles of both."""
    states = getattr(pipeline.prompts, "states", None)
    templates = getattr(pipeline.prompts, "templates", None)
    if not isinstance(states, tuple) or not templates or len(states) != 2:
        return (), ()
    return tuple(tuple(map(str, side)) for side in states), tuple(map(str, templates))
