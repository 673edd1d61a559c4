"""A pipeline as a file: what it may say, and errors that name the path, the option and the likely slip.

Nothing is built here, so a file can be checked without torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from vlmad_core.documents import parse_yaml, read_limited
from vlmad_core.errors import ConfigError
from vlmad_core.registry.component import Config

__all__ = [
    "FuseSpec",
    "OutputSpec",
    "PartSpec",
    "PipelineSpec",
    "ReferencesSpec",
    "Rotations",
    "ScorerSpec",
    "override",
    "read_spec",
]

_MAX_BYTES = 1_000_000
"""Of a pipeline file: a hundred times what one has."""

_Combine = Literal["mean", "sum", "harmonic", "max"]

Rotations = Literal["auto", "off"] | Annotated[int, Field(ge=2, le=72)]
"""How normal images are rotated; see :func:`vlmad_core.pipeline.rotations.choose_angles`."""


class PartSpec(Config):
    """One part: which, and its options. A bare name stands for a part with its defaults."""

    use: str = Field(min_length=1, description="Name of the component, short or distribution:name.")
    config: dict[str, Any] = Field(default_factory=dict, description="Its options; see `vlmad show NAME`.")

    @property
    def name(self) -> str:
        """The short name."""
        return self.use.rpartition(":")[2]


class ScorerSpec(PartSpec):
    """A scorer."""

    optional: bool = Field(
        False, description="Leave it out, with a warning, where it needs text and the backbone has none."
    )


class FuseSpec(Config):
    """How several scorers become one."""

    image: _Combine = Field("mean", description="Over the scorers' image scores.")
    map: _Combine = Field("mean", description="Over the scorers' maps.")


class ReferencesSpec(Config):
    """What happens to the normal images that a detector is fitted on."""

    rotations: Rotations = Field(
        "off",
        description="Also fit on rotated copies: a number of rotations at equal steps; auto: the quarter turns that "
        "leave the object what it is, judged by the class token; off: none.",
    )


class OutputSpec(Config):
    """What happens to the fused map."""

    smooth: float = Field(
        0.0, ge=0, le=1000, description="Sigma of a Gaussian over the map, in pixels of the detector's size."
    )


class PipelineSpec(Config):
    """A whole pipeline."""

    backbone: PartSpec = Field(description="Frozen image encoder, with a text encoder where it has one.")
    extractor: PartSpec = Field(description="Turns an image into features.")
    prompts: PartSpec | None = Field(
        None, description="Sentences for normal and abnormal; none for a memory bank alone."
    )
    scorers: tuple[ScorerSpec, ...] = Field(
        min_length=1, description="Turn features into scores and maps; fused if there are several."
    )
    fuse: FuseSpec = Field(FuseSpec(), description="How several scorers become one.")
    references: ReferencesSpec = Field(ReferencesSpec(), description="What happens to the normal images.")
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
        data = parse_yaml(read_limited(path, limit=_MAX_BYTES), str(path))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from error
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
        if not word.isdecimal() or len(word) > 9 or int(word) >= len(node):
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
