"""Lists of states and templates: of the plugin, of a user's file, or written inline. Torch-free."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from vlmad_core.documents import parse_yaml, read_limited
from vlmad_core.errors import ConfigError

__all__ = ["States", "read_states", "read_templates"]

Kinds = dict[str, list[str]]
States = dict[str, list[str] | Kinds]
"""``{"normal": [...], "abnormal": [...] or {kind: [...]}}``"""

_FILES = {".yaml", ".yml", ".json"}


def read_states(given: object) -> tuple[list[str], Kinds]:
    """Normal states, and abnormal ones by kind of defect (one kind called ``abnormal`` if there are no kinds).

    Args:
        given: The name of a list, the path of a file, or a mapping.

    Raises:
        ValueError: No such list or file, an empty list, or a placeholder other than ``{}``.
    """
    data = _named(given, "states") if isinstance(given, str) else given
    if not isinstance(data, Mapping) or set(data) != {"normal", "abnormal"}:
        raise ValueError("states need exactly two lists, normal and abnormal")
    abnormal = data["abnormal"]
    kinds = dict(abnormal) if isinstance(abnormal, Mapping) else {"abnormal": abnormal}
    if not kinds:
        raise ValueError("states.abnormal is empty; give at least one state")
    normal = _sentences(data["normal"], "states.normal")
    return normal, {str(kind): _sentences(words, f"states.{kind}") for kind, words in kinds.items()}


def read_templates(given: object) -> list[str]:
    """Templates, each with one ``{}``.

    Args:
        given: The name of a list, the path of a file, or a list.

    Raises:
        ValueError: No such list or file, an empty list, a template without ``{}`` or with another placeholder.
    """
    data = _named(given, "templates") if isinstance(given, str) else given
    templates = _sentences(data, "templates")
    for template in templates:
        if "{}" not in template:
            raise ValueError(f"a template needs {{}} where the object goes; there is none in {template!r}")
    return templates


def _named(name: str, what: str) -> Any:
    """A list that ships with the plugin, or the content of a file."""
    if Path(name).suffix in _FILES:
        try:
            return parse_yaml(read_limited(Path(name)), name)
        except OSError as error:
            raise ValueError(f"{name} cannot be read ({error.strerror})") from error
        except ConfigError as error:
            raise ValueError(str(error).rstrip(".")) from error
    ours = _shipped(f"{what}.yaml")
    if name in ours:
        return ours[name]
    fields = _fields() if what == "states" else []
    if name not in fields:
        raise ValueError(
            f"no list of {what} is called {name!r}; there are: {', '.join([*ours, *fields])}, or a .yaml or .json file"
        )
    states = _shipped(f"fields/{name}.yaml")
    return {side: states[side] for side in ("normal", "abnormal")}  # where its words come from stays in the file


@cache
def _shipped(file: str) -> Mapping[str, Any]:
    import yaml

    text = (files(__package__) / "data" / file).read_text(encoding="utf-8")
    lists: dict[str, Any] = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # the one in C, if any
    return lists


def _fields() -> list[str]:
    """Names of the fields that have states, a file each."""
    found = (file.name.rpartition(".") for file in (files(__package__) / "data" / "fields").iterdir())
    return sorted(name for name, _, ending in found if ending == "yaml")


def _sentences(given: object, where: str) -> list[str]:
    try:
        sentences = TypeAdapter(list[str]).validate_python(list(given) if isinstance(given, Sequence) else given)
    except ValidationError as error:
        raise ValueError(f"{where} must be a list of sentences") from error
    if isinstance(given, str):
        raise ValueError(f"{where} must be a list of sentences")
    if not sentences:
        raise ValueError(f"{where} is empty; give at least one sentence")
    for sentence in sentences:
        others = re.findall(r"\{[^}]+\}|[{}]", sentence.replace("{}", ""))
        if others:
            raise ValueError(f"the only placeholder is {{}}; found {others[0]} in {sentence!r}")
        if not sentence.strip():
            raise ValueError(f"{where} holds an empty sentence")
    return sentences
