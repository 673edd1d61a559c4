"""A component that an option names, with its own options as ``NAME=VALUE``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer

from vlmad_core.documents import parse_yaml
from vlmad_core.errors import ConfigError

__all__ = ["make_named"]


def make_named(kind: str, base: type, name: str, settings: Sequence[str] | None, *, option: str, example: str) -> Any:
    """Build the component of a kind that ``--OPTION NAME`` names, with the options of ``--OPTION-set``.

    Args:
        kind: Of the component.
        base: Class that its target must make.
        name: As typed.
        settings: Each ``NAME=VALUE``.
        option: Such as ``--judge``.
        example: Of a setting.

    Raises:
        typer.BadParameter: A setting that is not ``NAME=VALUE``.
        UnknownComponentError: Nobody offers the name.
        ConfigError: An option that does not exist or does not fit, or a target of another class.
    """
    from vlmad_core.registry.registry import default_registry
    from vlmad_core.registry.validate import validate

    given: dict[str, Any] = {}
    for setting in settings or ():
        key, equals, value = setting.partition("=")
        if not equals or not key.strip():
            raise typer.BadParameter(f"wants NAME=VALUE, such as {example}; got '{setting}'.")
        given[key.strip()] = parse_yaml(value, f"{option}-set {key}: '{value}'")
    entry = default_registry().get(kind, name)
    made = entry.load()(validate(entry.component.config, given, f"{option}-set", entry.name))
    if not isinstance(made, base):
        raise ConfigError(
            f"{kind} '{entry.full_name}': its target must make a subclass of {base.__name__}, got {made!r}."
        )
    return made
