"""What a benchmark compares: data, methods, backbones, shots, seeds; from YAML, JSON, the command line or Python.

A plan is a description; :func:`vlmad_core.benchmark.cells.find_cells` lists what would run; nothing here runs it.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from vlmad_core.contracts.values import values_of, values_text
from vlmad_core.documents import parse_json, parse_yaml, read_limited
from vlmad_core.errors import ConfigError
from vlmad_core.pipeline.spec import PartSpec
from vlmad_core.registry.component import Config
from vlmad_core.registry.validate import explain_invalid

__all__ = ["BackboneChoice", "BenchmarkPlan", "Bits", "Grid", "Method", "Source", "label_of", "read_file", "read_plan"]

Pixels = Annotated[int, Field(gt=0)]
Seed = Annotated[int, Field(ge=0)]
Shots = Annotated[int, Field(ge=0)]


def _stored_values(value: Any) -> Any:
    """A number of bits, or one spelling of a window and channels, so that equal ones are equal in a record."""
    if isinstance(value, str) and not value.strip().isdecimal():
        try:
            return values_text(values_of(value))
        except ConfigError as error:
            raise ValueError(str(error).rstrip(".")) from error
    bits = int(value) if isinstance(value, str) else value
    if type(bits) is not int or not 8 <= bits <= 16:
        raise ValueError("must be a number of bits from 8 to 16, or a text such as window=0:4000;channels=3,2,1")
    return bits


Bits = Annotated[int | str, BeforeValidator(_stored_values)]
"""How stored values become 8-bit RGB: bits of 16-bit grey, or a text such as ``window=0:4000;channels=3,2,1``."""


def _listed(value: Any) -> Any:
    """A single value is short for a list of one."""
    return [value] if isinstance(value, str | Mapping | Path | Config) else value


def _expand(value: Any, key: str) -> Any:
    return {key: value} if isinstance(value, str | Path) else value


class Source(Config):
    """A data set: its folder, and how to read it. A bare path stands for one whose layout is found."""

    path: Path = Field(description="Folder of the data set, or a manifest.")
    layout: str = Field("auto", description="See `vlmad data list`.")
    config: dict[str, Any] = Field(default_factory=dict, description="Options of the layout.")
    name: str = Field("", description="What to call it; its own name where empty.")


class BackboneChoice(PartSpec):
    """A backbone, in place of the recipe's."""

    label: str = Field("", description="What to call it; its model or its name where empty.")

    @property
    def part(self) -> dict[str, Any]:
        """As a pipeline file has it."""
        return {"use": self.use, "config": self.config}


Quality = Literal["fast", "balanced", "best"]


class Method(Config):
    """A recipe, perhaps with parts exchanged; or a detector that was trained or fitted."""

    label: str = Field("", description="What to call it; its recipe and what was exchanged where empty.")
    recipe: str | dict[str, Any] = Field("", description="Name of a recipe, a pipeline file, or a pipeline.")
    quality: Quality | None = Field(None, description="A preset of the recipe: fast, balanced or best.")
    detector: Path | None = Field(None, description="Folder of a detector, in place of a recipe.")
    extractor: PartSpec | None = Field(None, description="In place of the recipe's.")
    prompts: PartSpec | None = Field(None, description="In place of the recipe's; 'none' removes them.")
    scorers: tuple[dict[str, Any], ...] = Field((), description="In place of the recipe's.")
    overrides: dict[str, Any] = Field(default_factory=dict, description="Values for dotted paths of the pipeline.")
    shots: tuple[Shots, ...] | None = Field(None, description="In place of the plan's.")
    backbones: tuple[BackboneChoice, ...] | None = Field(None, description="In place of the plan's.")

    @field_validator("extractor", "prompts", mode="before")
    @classmethod
    def _part(cls, value: Any) -> Any:
        return _expand(value, "use")

    @field_validator("scorers", mode="before")
    @classmethod
    def _parts(cls, value: Any) -> Any:
        return [_expand(item, "use") for item in _listed(value)] if isinstance(value, str | Mapping | list) else value

    @field_validator("backbones", mode="before")
    @classmethod
    def _backbones(cls, value: Any) -> Any:
        return value if value is None else [_expand(item, "use") for item in _listed(value)]

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if bool(self.recipe) == (self.detector is not None):
            raise ValueError("a method is either a recipe or a detector; give one of them")
        if self.detector is not None and (
            self.quality or self.extractor or self.prompts or self.scorers or self.backbones
        ):
            raise ValueError("a detector has its parts already; beside it, only label, overrides and shots make sense")
        return self

    @property
    def name(self) -> str:
        """The label, or a list of its parts."""
        if self.label:
            return self.label
        if self.detector is not None:
            return self.detector.resolve().name
        named = Path(self.recipe).stem if isinstance(self.recipe, str) else "pipeline"
        exchanged: list[str] = [self.quality] if self.quality else []
        exchanged += [part.use for part in (self.extractor, self.prompts) if part is not None]
        scorers = " + ".join(str(scorer.get("use")) for scorer in self.scorers)
        settings = [f"{path}={value}" for path, value in self.overrides.items()]
        return ", ".join([named, *exchanged, *([scorers] if scorers else []), *settings])

    def changes(self) -> dict[str, Any]:
        """What differs from the recipe, for :func:`vlmad_core.pipeline.resolve.resolve`."""
        changes: dict[str, Any] = {}
        if self.extractor is not None:
            changes["extractor"] = self.extractor.model_dump()
        if self.prompts is not None:
            changes["prompts"] = None if self.prompts.use == "none" else self.prompts.model_dump()
        if self.scorers:
            changes["scorers"] = list(self.scorers)
        return changes | self.overrides


class Grid(Config):
    """Every combination of these becomes a method."""

    recipe: tuple[str, ...] = Field(min_length=1, description="Recipes.")
    quality: tuple[Quality, ...] = Field((), description="Presets of each recipe; none: the recipe as it is.")
    extractor: tuple[PartSpec, ...] = Field((), description="Each in place of the recipe's; none: the recipe's.")
    prompts: tuple[PartSpec, ...] = Field((), description="Likewise.")
    scorers: tuple[tuple[dict[str, Any], ...], ...] = Field((), description="Likewise; each one or a list.")

    @field_validator("recipe", "quality", "extractor", "prompts", mode="before")
    @classmethod
    def _many(cls, value: Any, info: Any) -> Any:
        items = _listed(value)
        return items if info.field_name in ("recipe", "quality") else [_expand(item, "use") for item in items]

    @field_validator("scorers", mode="before")
    @classmethod
    def _lists(cls, value: Any) -> Any:
        return [[_expand(scorer, "use") for scorer in _listed(item)] for item in _listed(value)]

    def methods(self) -> list[Method]:
        """The product."""
        parts = (self.extractor or (None,), self.prompts or (None,), self.scorers or ((),))
        return [
            Method(recipe=recipe, quality=quality, extractor=extractor, prompts=prompts, scorers=scorers)
            for recipe, quality, extractor, prompts, scorers in itertools.product(
                self.recipe, self.quality or (None,), *parts
            )
        ]


class BenchmarkPlan(Config):
    """A whole comparison: every method on every backbone, size, category, number of shots and seed that fits.

    Raises:
        ConfigError: With one line for each thing that is wrong: path, what, and a hint.

    >>> BenchmarkPlan(data="data/piped", methods=["winclip"], shots=[0, 4], seeds=3).seeds
    (0, 1, 2)
    """

    data: tuple[Source, ...] = Field(min_length=1, description="One data set or several.")
    categories: tuple[str, ...] = Field((), description="Only these; all where empty.")
    methods: tuple[Method, ...] = Field((), description="Recipes, recipes with parts exchanged, detectors.")
    grid: Grid | None = Field(None, description="More methods, as a product over parts.")
    backbones: tuple[BackboneChoice, ...] = Field((), description="In place of those of the recipes; none: theirs.")
    weights: str | None = Field(None, description="Of the backbones: a tag, or a local file.")
    model: str | None = Field(None, description="Architecture of the backbones, where they have several.")
    image_sizes: tuple[Pixels | tuple[Pixels, Pixels], ...] = Field(
        (), description="Sides, or (height, width), that the backbones see; none: their own."
    )
    shots: tuple[Shots, ...] = Field((0,), min_length=1, description="Normal images to compare with.")
    seeds: tuple[Seed, ...] = Field((0,), min_length=1, description="Draws of them; a number n is short for 0 to n-1.")
    class_names: dict[str, str] = Field(
        default_factory=dict, description="Category to its class name in prompts; by default its name with spaces."
    )
    references: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="Category to the normal images to take, in this order, instead of a draw."
    )
    train_share: float = Field(
        0.0, ge=0, lt=1, description="Share of the normal test images to draw from, where a category has none for it."
    )
    max_images: int | None = Field(None, gt=0, description="Test images of each label and category; more are drawn.")
    resolution: Pixels | tuple[Pixels, Pixels] | Literal["native"] = Field(
        256, description="Of maps and masks: side, (height, width), or native: each as it is."
    )
    aupro_200: bool = Field(False, description="Also the 200-step AUPRO, to compare with tables that have it.")
    bits: Bits | None = Field(
        None,
        description="Of the values in 16-bit grey files, or a text such as window=0:4000;channels=3,2,1; none: the "
        "detector's, or what the file says.",
    )
    batch_size: int = Field(8, gt=0, description="Images through the backbone at a time.")
    workers: int = Field(2, gt=0, description="Threads that decode images.")
    device: str = Field("auto", description="Such as cpu, cuda:1 or mps; auto: the first of cuda, mps and cpu.")
    memory_gb: float = Field(2.0, ge=0, description="Features of one category above this are kept on the disk.")

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise explain_invalid(error, type(self), "plan", "the plan") from error

    @field_validator("data", mode="before")
    @classmethod
    def _sources(cls, value: Any) -> Any:
        return [_expand(item, "path") for item in _listed(value)]

    @field_validator("methods", "backbones", mode="before")
    @classmethod
    def _named(cls, value: Any, info: Any) -> Any:
        key = "recipe" if info.field_name == "methods" else "use"
        return () if value is None else [_expand(item, key) for item in _listed(value)]

    @field_validator("categories", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return _listed(value)

    @field_validator("image_sizes", "shots", mode="before")
    @classmethod
    def _numbers(cls, value: Any) -> Any:
        return () if value is None else [value] if isinstance(value, int) else value

    @field_validator("seeds", mode="before")
    @classmethod
    def _count(cls, value: Any) -> Any:
        return list(range(value)) if isinstance(value, int) else value

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if not self.methods and self.grid is None:
            raise ValueError("needs methods or a grid")
        for what, names in (
            ("methods", [method.name for method in self.all_methods()]),
            ("backbones", [label_of(choice) for choice in self.backbones]),
        ):
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise ValueError(f"two {what} would be called '{twice}'; give each a label of its own")
        return self

    def all_methods(self) -> list[Method]:
        """Those of `methods`, then those of the grid."""
        return [*self.methods, *(self.grid.methods() if self.grid else ())]


def label_of(part: PartSpec) -> str:
    """What a backbone is called: its label, its model, or its name."""
    return str(getattr(part, "label", "") or part.config.get("model") or part.name)


def read_plan(plan: BenchmarkPlan | Mapping[str, Any] | str | Path) -> BenchmarkPlan:
    """A plan from a file (.yaml, .yml, .json), a mapping, or as it is.

    Raises:
        ConfigError: With one line for each thing that is wrong: path, what, and a hint.
    """
    if isinstance(plan, BenchmarkPlan):
        return plan
    where = ""
    if isinstance(plan, str | Path):
        where, plan = str(plan), read_file(Path(plan))
    try:
        return BenchmarkPlan(**{str(name): value for name, value in plan.items()})
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}" if where else str(error)) from error


def read_file(path: Path) -> Mapping[str, Any]:
    """The content of a plan file, unchecked.

    Raises:
        ConfigError: It cannot be read, or is no mapping.
    """
    try:
        text = read_limited(path)
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: cannot be read as a plan ({error.strerror}).") from error
    data = (parse_json if path.suffix == ".json" else parse_yaml)(text, f"{path}: cannot be read as a plan")
    if not isinstance(data, Mapping):
        raise ConfigError(f"{path}: a plan is a mapping with data and methods, got {type(data).__name__}.")
    return data
