"""What the installed plugins offer to a study: recipes ready to use, recipes to train, extractors, prompts."""

from __future__ import annotations

import typing
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vlmad_core.errors import VlmadError
from vlmad_core.pipeline import PartSpec, PipelineSpec
from vlmad_core.pipeline.resolve import resolve
from vlmad_core.registry import Recipe, Registry, validate
from vlmad_study.backbone import BackboneInfo

__all__ = ["Extraction", "RecipeInfo", "extractions", "main_recipes", "missing"]

_OTHER_PROTOCOL = {"vlmad-musc"}
"""Plugins whose images score each other, without normal images: a few normal images are another method."""

_WANTED = ("winclip", "foreground-memory", "subspace", "compositional", "dpam")
"""Entries that published comparisons have; where one is not installed, the report says what would bring it."""


@dataclass(frozen=True)
class RecipeInfo:
    """A recipe of a plugin.

    Args:
        name: Short, for labels.
        full_name: As ``--recipe`` takes it, never ambiguous.
        backbone: That it was made for.
        spec: Its pipeline on the backbone of the study.
        is_learned: It must be trained before use.
        is_few_shot: It compares with normal images.
    """

    name: str
    full_name: str
    backbone: PartSpec
    spec: PipelineSpec
    is_learned: bool
    is_few_shot: bool


@dataclass(frozen=True)
class Extraction:
    """An extractor with options.

    Args:
        label: For people.
        part: As a pipeline file has it.
        for_text: Whether its features are also compared with text.
    """

    label: str
    part: Mapping[str, Any]
    for_text: bool


def main_recipes(info: BackboneInfo, registry: Registry) -> list[RecipeInfo]:
    """The first zero-shot, few-shot and learned recipe of each plugin; further ones are variants of those."""
    found: dict[tuple[str, bool, bool], RecipeInfo] = {}
    for entry in registry.entries("recipe"):
        item = entry.item
        if entry.plugin in _OTHER_PROTOCOL or not isinstance(item, Recipe):
            continue
        try:
            found_on = {"backbone": info.choice.part}  # its own may not be installed
            spec = resolve(entry.full_name, found_on, registry=registry).spec
            few_shot = any(registry.get("scorer", part.use).load().needs_fit for part in spec.scorers)
        except VlmadError:  # a part that is not installed
            continue
        own = item.spec["backbone"]
        made_for = PartSpec(use=own) if isinstance(own, str) else validate(PartSpec, own)
        one = RecipeInfo(entry.name, entry.full_name, made_for, spec, bool(item.training or item.checkpoint), few_shot)
        found.setdefault((entry.plugin, one.is_learned, few_shot), one)
    return list(found.values())


def extractions(info: BackboneInfo, registry: Registry) -> Iterator[Extraction]:
    """Every extractor beside the core's that fits the backbone and has nothing to learn, with its choices of options.

    A choice is each value of an option that has a few named values, and each member of an option that lists several.
    """
    for entry in registry.entries("extractor"):
        fields = entry.component.config.model_fields
        if entry.full_name == "vlmad-core:patches" or not _fits(entry, info):
            continue
        yield Extraction(entry.name, {"use": entry.full_name}, True)
        for name, field in fields.items():
            if name in ("layers", "space"):
                continue
            values: list[Any] = []
            if typing.get_origin(field.annotation) is typing.Literal:
                values = [value for value in typing.get_args(field.annotation) if value != field.default]
            elif isinstance(field.default, tuple) and len(field.default) > 1:
                values = [[value] for value in field.default]
            for value in values:
                shown = value[0] if isinstance(value, list) else value
                config = {name: value}
                yield Extraction(f"{entry.name}, {name} {shown}", {"use": entry.full_name, "config": config}, True)
        if {"layers", "space"} <= fields.keys():
            middle = [info.block(0.5), info.block(0.75)]
            config = {"layers": list(dict.fromkeys(middle)), "space": "raw"}
            label = f"{entry.name}, blocks {' + '.join(map(str, config['layers']))}"
            yield Extraction(label, {"use": entry.full_name, "config": config}, False)


def missing(registry: Registry) -> list[str]:
    """A sentence for each method of published comparisons that is not installed, with the command that brings it."""
    return [
        f"'{name}' is not installed; pip install {distribution} brings it."
        for name in _WANTED
        if not registry.find(name) and (distribution := registry.to_install(name))
    ]


def _fits(entry: Any, info: BackboneInfo) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            extractor = entry.load()(entry.component.config(), info.model)
    except VlmadError:
        return False
    return not any(True for _ in extractor.parameters())
