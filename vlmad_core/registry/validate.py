"""Validate options, with errors that name the path, the option and the likely slip. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from vlmad_core.errors import ConfigError, did_you_mean

__all__ = ["explain_invalid", "validate"]

_PLAIN = {  # where pydantic speaks of Python's types
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "tuple_type": "must be a list",
    "too_short": "must have at least {min_length} item",
}
_Model = TypeVar("_Model", bound=BaseModel)


def validate(model: type[_Model], data: Any, where: str = "", owner: str = "") -> _Model:
    """Validate ``data``, or say what is wrong as ``path: what. hint`` lines.

    Args:
        model: What to make of it.
        data: A mapping.
        where: Path put in front, such as ``"extractor.config"``.
        owner: Whose options these are, such as ``"windows"``.

    Raises:
        ConfigError: With one line for each thing that is wrong.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise explain_invalid(error, model, where, owner) from error


def explain_invalid(error: ValidationError, model: type[BaseModel], where: str = "", owner: str = "") -> ConfigError:
    """What pydantic says, as :func:`validate` says it."""
    issues = error.errors()
    # pydantic counts wrong items as missing ones, and says so beside what is wrong with them
    shown = [i for i in issues if i["type"] != "too_short" or not any(_inside(j["loc"], i["loc"]) for j in issues)]
    lines = [_line(model, issue, where, owner) for issue in shown]
    return ConfigError("\n".join(dict.fromkeys(lines)))


def _inside(loc: Sequence[Any], outer: Sequence[Any]) -> bool:
    return len(loc) > len(outer) and loc[: len(outer)] == outer


def _line(model: type[BaseModel], issue: Any, where: str, owner: str) -> str:
    path = ".".join([where] * bool(where) + [str(step) for step in issue["loc"]]) or "pipeline"
    if issue["type"] == "extra_forbidden":
        options = _options(model, issue["loc"][:-1])
        whose = f" of '{owner}'" if owner else ""
        hint = did_you_mean(str(issue["loc"][-1]), options)
        return f"{path}: no such option{whose}.{hint} Options: {', '.join(options) or 'none'}."
    if issue["type"] == "missing":
        return f"{path}: is missing."
    if issue["type"] in _PLAIN:
        return f"{path}: {_PLAIN[issue['type']].format(**issue.get('ctx', {}))}, got {issue['input']!r}."
    text = issue["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    text = text if issue["msg"] == text else f"must be {text}" if issue["type"] != "value_error" else text
    message = f"{path}: {text[0].lower() + text[1:]}"
    whole = isinstance(issue["input"], Mapping) and len(issue["input"]) > 2  # what somebody just wrote, no value of it
    return f"{message}." if whole else f"{message}, got {issue['input']!r}."


def _options(model: type[BaseModel], loc: Sequence[Any]) -> list[str]:
    """Names of the fields at ``loc``, walking through nested models."""
    for step in loc:
        field = model.model_fields.get(step) if isinstance(step, str) else None
        inner = (
            next((t for t in _types(field.annotation) if isinstance(t, type) and issubclass(t, BaseModel)), None)
            if field
            else None
        )
        model = inner or model
    return list(model.model_fields)


def _types(annotation: Any) -> list[Any]:
    arguments = getattr(annotation, "__args__", ())
    return [annotation, *(t for argument in arguments for t in _types(argument))]
