"""A pipeline as a file: what it may say, and errors that name the path, the option and the likely slip.

Nothing is built here, so a file can be checked without torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from vlmad_core.documents import parse_yaml, read_limited
from vlmad_core.errors import ConfigError
from vlmad_core.pipeline.input_spec import ImageSizeSpec, Pixels, TilesSpec, image_size_of, tiles_of
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

_Combine = Literal["mean", "sum", "harmonic", "geometric", "max"]

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
    scales: Literal["mean", "normalized", "max"] = Field(
        "mean",
        description="Over the sizes of an image and its tiles: mean or max of their scores and maps; normalized: the "
        "mean after each size is put on the range of its own normal images.",
    )

    @model_serializer(mode="wrap")
    def _plain(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without_defaults(self, dump(self), ("scales",))


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
    image_size: ImageSizeSpec = Field(
        ImageSizeSpec(), description="Size of the backbone's input: a side, [h, w], fit, or fit:TOKENS."
    )
    scales: tuple[Pixels, ...] = Field(
        (), description="Sides of the input, such as [224, 448]: the same parts at each of them, fused."
    )
    tiles: TilesSpec = Field(TilesSpec(), description="Large images in tiles: off, auto, a number, or 512px.")

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

    @field_validator("image_size", mode="before")
    @classmethod
    def _expand_size(cls, value: Any) -> Any:
        return image_size_of(value)

    @field_validator("tiles", mode="before")
    @classmethod
    def _expand_tiles(cls, value: Any) -> Any:
        return tiles_of(value)

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        if self.scales and (self.image_size.size is not None or self.image_size.tokens is not None):
            raise ValueError("scales are sizes already; beside them image_size takes a policy alone")
        if len(set(self.scales)) < len(self.scales):
            raise ValueError("each of the scales must be another one")
        return self

    @model_serializer(mode="wrap")
    def _plain(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without_defaults(self, dump(self), ("references", "image_size", "scales", "tiles"))

    @property
    def is_plain(self) -> bool:
        """Whether every image is stretched to the backbone's own size, and nothing else is made of it."""
        return self.image_size == ImageSizeSpec() and not self.scales and self.tiles == TilesSpec()


def _without_defaults(spec: Config, data: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Without options of their default: hashes of pipelines that do not use them stay those of earlier versions."""
    defaults = type(spec).model_fields
    return {k: v for k, v in data.items() if k not in names or getattr(spec, k) != defaults[k].default}


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
        advice = f" There are no {word} here: leave the option out." if child is None else ""
        raise ConfigError(f"{path}: '{word}' is {child!r}, so nothing can be set inside it.{advice}")
    return child
