"""What fits with what: every extractor with every prompts and scorer, decided by building them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vlmad_core.contracts.towers import Backbone
from vlmad_core.errors import VlmadError
from vlmad_core.pipeline.build import assemble
from vlmad_core.pipeline.resolve import resolve
from vlmad_core.pipeline.spec import PartSpec
from vlmad_core.registry.registry import Registry, default_registry

__all__ = ["Mix", "compose"]


@dataclass(frozen=True)
class Mix:
    """One of each part, with its default options.

    Args:
        backbone: What it was built on.
        extractor: Name.
        prompts: Name; None where the scorer compares with no words.
        scorer: Name.
        reason: Why it cannot be, in a sentence that says what would; empty: it fits.
    """

    backbone: str
    extractor: str
    prompts: str | None
    scorer: str
    reason: str = ""


def compose(backbones: Mapping[str, Backbone], registry: Registry | None = None) -> Iterator[Mix]:
    """Build every mix on each backbone.

    Args:
        backbones: By the name to call them.
        registry: Where to look for parts; the installed plugins by default.
    """
    registry = registry or default_registry()
    extractors, prompts = _names(registry, "extractor"), _names(registry, "prompts")
    for label, backbone in backbones.items():
        shared = PartSpec(use=label)
        for scorer in _names(registry, "scorer"):
            try:
                needs_text = registry.get("scorer", scorer).load().needs_text
            except VlmadError as error:
                yield from (Mix(label, extractor, None, scorer, str(error)) for extractor in extractors)
                continue
            for extractor in extractors:
                for name in prompts if needs_text else [None]:
                    spec = {"backbone": shared, "extractor": extractor, "prompts": name, "scorers": scorer}
                    yield Mix(label, extractor, name, scorer, _refusal(spec, backbone, shared, registry))


def _names(registry: Registry, kind: str) -> list[str]:
    """Short names, where they are not ambiguous."""
    names = [entry.name for entry in registry.entries(kind)]
    return sorted(e.name if names.count(e.name) == 1 else e.full_name for e in registry.entries(kind))


def _refusal(spec: Mapping[str, Any], backbone: Backbone, shared: PartSpec, registry: Registry) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assemble(resolve(spec, shared=shared, registry=registry), backbone=backbone)
    except VlmadError as error:
        cause = error.__cause__  # its own sentence: the table shows of which parts
        return str(cause if isinstance(cause, VlmadError) else error)
    return ""
