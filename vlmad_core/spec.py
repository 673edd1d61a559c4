"""A pipeline as a file: what it may say, and errors that name the path, the option and the likely slip.

Nothing is built here, so a file can be checked without torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator

from vlmad_core.component import Config
from vlmad_core.errors import ConfigError, did_you_mean

__all__ = [
    "FuseSpec",
    "OutputSpec",
    "PartSpec",
    "PipelineSpec",
    "ScorerSpec",
    "override",
    "read_spec",
    "retold",
    "validate",
]

_Combine = Literal["mean", "sum", "harmonic", "max"]
_PLAIN = {  # where pydantic speaks of Python's types
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "tuple_type": "must be a list",
    "too_short": "must have at least {min_length} item",
}
_Model = TypeVar("_Model", bound=BaseModel)


class PartSpec(Config):
    """One part: which, and its options. A bare name stands for a part with its defaults."""

    use: str = Field(description="Name of the component, short or distribution:name.")
    config: dict[str, Any] = Field(default_factory=dict, description="Its options; see `vlmad show NAME`.")


class ScorerSpec(PartSpec):
    """A scorer."""

    optional: bool = Field(
        False, description="Leave it out, with a warning, where it needs text and the backbone has none."
    )


class FuseSpec(Config):
    """How several scorers become one."""

    image: _Combine = Field("mean", description="Over the scorers' image scores.")
    map: _Combine = Field("mean", description="Over the scorers' maps.")


class OutputSpec(Config):
    """What happens to the fused map."""

    smooth: float = Field(0.0, ge=0, description="Sigma of a Gaussian over the map, in pixels of the detector's size.")


class PipelineSpec(Config):
    """A whole pipeline."""

    backbone: PartSpec = Field(description="The model that sees, and perhaps reads.")
    extractor: PartSpec = Field(description="How to look at an image.")
    prompts: PartSpec | None = Field(None, description="How to say normal and abnormal; none for a memory alone.")
    scorers: tuple[ScorerSpec, ...] = Field(min_length=1, description="How to judge; fused if there are several.")
    fuse: FuseSpec = Field(FuseSpec(), description="How several scorers become one.")
    output: OutputSpec = Field(OutputSpec(), description="What happens to the fused map.")

    @field_validator("backbone", "extractor", "prompts", mode="before")
    @classmethod
    def _expand(cls, value: Any) -> Any:
        return {"use": value} if isinstance(value, str) else value

    @field_validator("scorers", mode="before")
    @classmethod
    def _expand_each(cls, value: Any) -> Any:
        if isinstance(value, str | Mapping):
            value = [value]
        return [cls._expand(item) for item in value] if isinstance(value, Sequence) else value


def read_spec(path: str | Path) -> dict[str, Any]:
    """A YAML or JSON pipeline file as a mapping, not yet validated.

    Raises:
        ConfigError: Not there, not YAML, or not a mapping.
    """
    path = Path(path)
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is neither YAML nor JSON: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: must hold a mapping with backbone, extractor and scorers.")
    return data


def override(spec: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a spec with values put at dotted paths.

    Raises:
        ConfigError: A path that leads nowhere.

    >>> override({"scorers": [{"use": "memory"}]}, {"scorers.0.config.top": 0.01})
    {'scorers': [{'use': 'memory', 'config': {'top': 0.01}}]}
    """
    result: dict[str, Any] = _copy(spec)
    for path, value in changes.items():
        *parents, last = path.split(".")
        if parents[:1] == ["scorers"] and isinstance(result.get("scorers"), str | dict):
            result["scorers"] = [result["scorers"]]  # a single one is short for a list
        node: Any = result
        for word in parents:
            node = _step(node, word, path)
        if isinstance(node, list):
            _step(node, last, path)
            node[int(last)] = _copy(value)
        else:
            node[last] = _copy(value)
    return result


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list | tuple) else value


def _step(node: Any, word: str, path: str) -> Any:
    if isinstance(node, list):
        if not word.isdecimal() or int(word) >= len(node):
            raise ConfigError(f"{path}: '{word}' must be a number from 0 to {len(node) - 1}, the place in the list.")
        if isinstance(node[int(word)], str):
            node[int(word)] = {"use": node[int(word)]}
        return node[int(word)]
    child = node.setdefault(word, {})
    if isinstance(child, str) and word != "use":  # a bare name is short for a mapping
        child = node[word] = {"use": child}
    if not isinstance(child, dict | list):
        raise ConfigError(f"{path}: '{word}' is {child!r}, so nothing can be set inside it.")
    return child


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
        raise retold(error, model, where, owner) from error


def retold(error: ValidationError, model: type[BaseModel], where: str = "", owner: str = "") -> ConfigError:
    """What pydantic says, as :func:`validate` says it."""
    issues = error.errors()
    # pydantic counts wrong items as missing ones, and says so beside what is wrong with them
    told = [i for i in issues if i["type"] != "too_short" or not any(_inside(j["loc"], i["loc"]) for j in issues)]
    lines = [_retell(model, issue, where, owner) for issue in told]
    return ConfigError("\n".join(dict.fromkeys(lines)))


def _inside(loc: Sequence[Any], outer: Sequence[Any]) -> bool:
    return len(loc) > len(outer) and loc[: len(outer)] == outer


def _retell(model: type[BaseModel], issue: Any, where: str, owner: str) -> str:
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
    told = f"{path}: {text[0].lower() + text[1:]}"
    whole = isinstance(issue["input"], Mapping) and len(issue["input"]) > 2  # what somebody just wrote, no value of it
    return f"{told}." if whole else f"{told}, got {issue['input']!r}."


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
