"""What a plugin hands over: entries that one can print, test and compare before anything heavy is imported."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict

from vlmad_core.errors import ConfigError

__all__ = ["KINDS", "QUALITIES", "Command", "Component", "Config", "Recipe"]

KINDS = ("backbone", "extractor", "prompts", "scorer")
"""The four kinds of part. A fifth sort of entry, the recipe, puts them together."""

QUALITIES = ("fast", "balanced", "best")
"""Names of a recipe's presets, from the fastest to the most accurate."""

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_CARD = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[\w.-]+\.json")
_TARGET = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


class Config(BaseModel):
    """Options of a component. Subclass it in ``plugin.py`` and describe every field."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True, allow_inf_nan=False)

    def stored(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """What a saved detector keeps of the options that were given: they must not depend on a file beside it."""
        return dict(given)


@dataclass(frozen=True, kw_only=True)
class Component:
    """One part that a plugin offers. The hook that yields it decides its kind.

    Args:
        name: Lower-case words joined by dashes, as in ``"windows"``.
        target: ``"package.module:Class"``, imported when the part is first used.
        config: The options, shown without importing the target.
        summary: One line for ``vlmad list``.
        paper: Where the idea comes from.
        card: ``"package:file.json"``, a model card (:class:`vlmad_core.registry.card.Card`) for what ships weights.

    Raises:
        ConfigError: A name, target, config or card of the wrong form.
    """

    name: str
    target: str
    config: type[Config] = Config
    summary: str
    paper: str = ""
    card: str = ""

    def __post_init__(self) -> None:
        _check_name(self.name, self.summary)
        if self.card and not _CARD.fullmatch(self.card):
            raise ConfigError(f"component '{self.name}': card must read 'package:file.json', got {self.card!r}.")
        if not _TARGET.fullmatch(self.target):
            raise ConfigError(f"component '{self.name}': target must read 'package.module:Class', got {self.target!r}.")
        if not (isinstance(self.config, type) and issubclass(self.config, Config)):
            raise ConfigError(
                f"component '{self.name}': config must be a subclass of vlmad_core.registry.Config, "
                f"got {self.config!r}."
            )


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A pipeline with a name.

    Args:
        name: Lower-case words joined by dashes, as in ``"winclip"``.
        spec: As a pipeline file (see ``docs/spec.md``).
        summary: One line for ``vlmad list``.
        paper: Where it comes from.
        few_shot: The recipe that takes over when normal images are given; empty if there is none.
        needs: Component name to distribution, for parts of other distributions; told when one is missing.
        quality: For each of ``fast``, ``balanced`` and ``best``, values at dotted paths of the spec; empty: no presets.
        training: Options of `vlmad train` that the paper used, where they differ from the defaults.
        checkpoint: ``"package.module:function"`` that reads the checkpoint its authors published; `vlmad import` calls
            it with the path, and it returns the detector's own tensors by name.

    Raises:
        ConfigError: A name, spec or checkpoint of the wrong form.
    """

    name: str
    spec: Mapping[str, Any]
    summary: str
    paper: str = ""
    few_shot: str = ""
    needs: Mapping[str, str] = field(default_factory=dict)
    quality: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    checkpoint: str = ""

    def __post_init__(self) -> None:
        _check_name(self.name, self.summary)
        for what, value in (("spec", self.spec), ("training", self.training)):
            if not isinstance(value, Mapping):
                raise ConfigError(f"recipe '{self.name}': {what} must be a mapping, got {type(value).__name__}.")
        if self.quality and set(self.quality) != set(QUALITIES):
            raise ConfigError(
                f"recipe '{self.name}': quality must have {', '.join(QUALITIES)}; got {', '.join(self.quality)}."
            )
        if self.checkpoint and not _TARGET.fullmatch(self.checkpoint):
            raise ConfigError(
                f"recipe '{self.name}': checkpoint must read 'package.module:function', got {self.checkpoint!r}."
            )


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command that a plugin adds to ``vlmad``.

    Args:
        name: Lower-case words joined by dashes, as in ``"study"``: ``vlmad study``.
        target: ``"package.module:function"``, a function with Typer's annotations or a ``typer.Typer`` with commands of
            its own; imported when the command is called, or when help lists all of them.
        summary: One line for ``vlmad list``.

    Raises:
        ConfigError: A name or target of the wrong form.
    """

    name: str
    target: str
    summary: str

    def __post_init__(self) -> None:
        _check_name(self.name, self.summary)
        if not _TARGET.fullmatch(self.target):
            raise ConfigError(
                f"command '{self.name}': target must read 'package.module:function', got {self.target!r}."
            )


def _check_name(name: str, summary: str) -> None:
    if not _NAME.fullmatch(name):
        raise ConfigError(f"a name is lower-case words joined by dashes, such as 'my-part'; got {name!r}.")
    if not summary.strip() or "\n" in summary:
        raise ConfigError(f"component '{name}': summary must be one line that says what it is for.")
