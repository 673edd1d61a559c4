"""Names of kinds, recipes, parts and settings: as people type them, and completed by the shell. Free of torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlmad_core.errors import VlmadError
from vlmad_core.registry.registry import default_registry

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["SINGULAR", "Kind", "complete", "complete_setting"]

SINGULAR = {
    "backbone": "backbone",
    "backbones": "backbone",
    "extractor": "extractor",
    "extractors": "extractor",
    "prompts": "prompts",
    "prompt": "prompts",
    "scorer": "scorer",
    "scorers": "scorer",
    "recipe": "recipe",
    "recipes": "recipe",
    "dataset": "dataset",
    "datasets": "dataset",
    "opinion": "opinion",
    "opinions": "opinion",
    "executor": "executor",
    "executors": "executor",
}
"""What people type, to the kind that is meant."""


def complete(kind: str | None = None) -> Callable[[str], list[tuple[str, str]]]:
    """A completion for the shell: names of a kind, or of every kind, with what they are for."""

    def offer(incomplete: str) -> list[tuple[str, str]]:
        entries = default_registry().entries(kind)
        found = {entry.name: entry.item.summary for entry in entries if entry.name.startswith(incomplete)}
        return list(found.items())  # once, where a part and a recipe have one name

    return offer


def complete_setting(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """A completion for ``--set``: paths of the pipeline that the options so far choose, with what they mean."""
    try:
        found = dict(_settings(ctx.params))
    except VlmadError:  # what was typed so far is refused; the command will say why
        return []
    return [(f"{path}=", text) for path, text in found.items() if path.startswith(incomplete)]


def _settings(typed: dict[str, Any]) -> Iterator[tuple[str, str]]:
    from vlmad_core.cli.choice import Choice
    from vlmad_core.cli.detector import resolve_choice
    from vlmad_core.pipeline.input_spec import ImageSizeSpec, TilesSpec
    from vlmad_core.pipeline.spec import FuseSpec, OutputSpec

    names = ("recipe", "backbone", "extractor", "prompts", "scorers", "weights", "model")
    choice = Choice(**{name: typed[name] for name in names if typed.get(name)}, normals=typed.get("normals") or ())
    resolved = resolve_choice(choice)
    for part in (resolved.backbone, resolved.extractor, resolved.prompts, *resolved.scorers):
        if part is not None:
            yield from _fields(f"{part.where}.config", type(part.config))
    yield from _fields("fuse", FuseSpec)
    yield from _fields("output", OutputSpec)
    yield from _fields("image_size", ImageSizeSpec)
    yield from _fields("tiles", TilesSpec)


def _fields(where: str, model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    for name, field in model.model_fields.items():
        yield f"{where}.{name}", field.description or ""


def _kind(value: str | None) -> str | None:
    if value is not None and value not in SINGULAR:
        raise typer.BadParameter(f"must be one of {', '.join(dict.fromkeys(SINGULAR.values()))}; got '{value}'.")
    return None if value is None else SINGULAR[value]


def _complete_kind(incomplete: str) -> list[str]:
    return [kind for kind in dict.fromkeys(SINGULAR.values()) if kind.startswith(incomplete)]


Kind = Annotated[
    str | None,
    typer.Argument(
        metavar="[KIND]",
        callback=_kind,
        autocompletion=_complete_kind,
        help="backbone, extractor, prompts, scorer, recipe, dataset, opinion or executor; all if left out.",
    ),
]
