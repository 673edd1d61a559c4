"""Names of kinds, recipes and parts: as people type them, and completed by the shell. Free of torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from vlmad_core.registry.registry import default_registry

__all__ = ["SINGULAR", "Kind", "complete"]

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
}
"""What people type, to the kind that is meant."""


def complete(kind: str | None = None) -> Callable[[str], list[tuple[str, str]]]:
    """A completion for the shell: names of a kind, or of every kind, with what they are for."""

    def offer(incomplete: str) -> list[tuple[str, str]]:
        entries = default_registry().entries(kind)
        found = {entry.name: entry.item.summary for entry in entries if entry.name.startswith(incomplete)}
        return list(found.items())  # once, where a part and a recipe have one name

    return offer


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
        help="backbone, extractor, prompts, scorer, recipe or dataset; all if left out.",
    ),
]
