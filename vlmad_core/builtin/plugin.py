"""The parts that come with the core, offered through the same hooks as everyone else's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from vlmad_core.builtin.open_clip_config import OpenClipConfig
from vlmad_core.contracts.layers import Layers
from vlmad_core.datasets.plugin import vlmad_datasets as vlmad_datasets
from vlmad_core.registry.component import Component, Config, Recipe
from vlmad_core.registry.hookspecs import hookimpl

Combine = Literal["mean", "sum", "harmonic", "geometric", "max"]


class PatchesConfig(Config):
    """Options of 'patches'."""

    layers: Layers = Field(
        (-1,),
        description="Blocks whose output is taken: numbers from 1, with -1 for the last one; or quarters, the last of "
        "each quarter of the tower; or ranges of relative depth such as 57.5%-72.5%, separated by commas.",
    )
    space: Literal["auto", "joint", "raw", "both"] = Field(
        "auto",
        description="joint: projected, comparable with text; raw: not projected; auto: joint if there is text.",
    )
    raw_layers: Layers | None = Field(
        None, description="Blocks whose tokens are taken raw, where they are others than 'layers'; empty: the same."
    )
    norm: bool = Field(True, description="Put raw tokens through the tower's last norm.")


class TemplatesConfig(Config):
    """Options of 'templates'."""

    normal: tuple[str, ...] = Field(
        ("a photo of a flawless {}.",), min_length=1, description="Sentences for normal; {} is the class name."
    )
    abnormal: tuple[str, ...] = Field(
        ("a photo of a damaged {}.",), min_length=1, description="Sentences for abnormal; {} is the class name."
    )

    @field_validator("normal", "abnormal")
    @classmethod
    def _only_empty_braces(cls, sentences: tuple[str, ...]) -> tuple[str, ...]:
        for sentence in sentences:
            rest = sentence.replace("{}", "")
            if "{" in rest or "}" in rest:
                raise ValueError(f"the only placeholder is {{}}, the class name; found another in {sentence!r}")
            if not rest.strip():
                raise ValueError("a sentence needs text beside the placeholder")
        return sentences


class TextMatchConfig(Config):
    """Options of 'text-match'."""

    temperature: float = Field(0.07, gt=0, description="Divides the cosine before the softmax; small is sharp.")
    levels: tuple[str, ...] = Field(("*",), min_length=1, description="Names of levels, or patterns such as 'window*'.")
    regions: Literal["harmonic", "arithmetic"] = Field("harmonic", description="Mean over the regions above a cell.")
    upsample: Literal["probability", "logits"] = Field(
        "probability",
        description="What is resized to pixels: probabilities; or the cosines over the temperature, with the softmax "
        "after it (regions above a cell then count by their arithmetic mean).",
    )
    align_corners: bool = Field(False, description="Resize so that the corner cells lie on the corner pixels.")
    combine: Combine = Field("mean", description="Over the levels.")
    image: Literal["class", "max", "both"] = Field(
        "class", description="Image score: from the whole-image feature, from the highest cells, or the mean of both."
    )
    top: float = Field(0.0, ge=0, le=1, description="Share of the cells that 'max' averages; 0: the single highest.")


class MemoryConfig(Config):
    """Options of 'memory'."""

    levels: tuple[str, ...] = Field(("*",), min_length=1, description="Names of levels, or patterns such as 'window*'.")
    regions: Literal["harmonic", "arithmetic"] = Field("harmonic", description="Mean over the regions above a cell.")
    halve: bool = Field(True, description="Half of one minus the cosine, in [0, 1]; false: all of it, in [0, 2].")
    align_corners: bool = Field(False, description="Resize so that the corner cells lie on the corner pixels.")
    combine: Combine = Field("mean", description="Over the levels.")
    top: float = Field(
        0.0, ge=0, le=1, description="Share of the cells whose mean is the image score; 0: the single highest cell."
    )
    score_levels: tuple[str, ...] = Field(
        (), description="Levels that the image score is of, where it is of others than the map; empty: of the same."
    )
    reach: int | None = Field(
        None,
        ge=0,
        description="Compare a cell only with cells at most so many rows and columns away, for a camera and parts that "
        "do not move; normal images are then better not rotated. Empty: with all.",
    )
    max_rows: int | None = Field(
        None,
        ge=1,
        description="Vectors that a level keeps at most, those that are far from each other; empty: all of them.",
    )

    @model_validator(mode="after")
    def _places_are_kept(self) -> Self:
        if self.reach is not None and self.max_rows is not None:
            raise ValueError("takes 'reach' or 'max_rows': of a reduced memory bank the places are not known")
        return self


@hookimpl
def vlmad_backbones() -> Iterable[Component]:
    """The adapter for everything that open_clip ships."""
    yield Component(
        name="open-clip",
        target="vlmad_core.builtin.open_clip:OpenClip",
        config=OpenClipConfig,
        summary="CLIP-like models of open_clip, from a tag (downloads) or a local file.",
    )


@hookimpl
def vlmad_extractors() -> Iterable[Component]:
    """Patch tokens."""
    yield Component(
        name="patches",
        target="vlmad_core.builtin.patches:Patches",
        config=PatchesConfig,
        summary="Patch tokens of chosen blocks, in the joint space or raw.",
    )


@hookimpl
def vlmad_prompts() -> Iterable[Component]:
    """Fixed sentences."""
    yield Component(
        name="templates",
        target="vlmad_core.builtin.templates:Templates",
        config=TemplatesConfig,
        summary="A few fixed sentences for normal and abnormal.",
    )


@hookimpl
def vlmad_scorers() -> Iterable[Component]:
    """Text and memory."""
    yield Component(
        name="text-match",
        target="vlmad_core.builtin.text_match:TextMatch",
        config=TextMatchConfig,
        summary="Softmax of the cosine to the text embeddings of normal and abnormal.",
    )
    yield Component(
        name="memory",
        target="vlmad_core.builtin.memory:Memory",
        config=MemoryConfig,
        summary="Distance to the nearest vector in a memory bank of normal images.",
    )


_ANOMALY_DINO = "Damm et al., AnomalyDINO, WACV 2025"


@hookimpl
def vlmad_recipes() -> Iterable[Recipe]:
    """The simplest detectors."""
    yield Recipe(
        name="clip",
        spec={
            "backbone": {"use": "vlmad-core:open-clip", "config": {"model": "ViT-B-16", "pretrained": "openai"}},
            "extractor": "vlmad-core:patches",
            "prompts": "vlmad-core:templates",
            "scorers": ["vlmad-core:text-match"],
        },
        summary="Plain CLIP: projected patches against two sentences; zero-shot.",
        few_shot="patch-memory",
    )
    yield Recipe(
        name="patch-memory",
        spec={
            "backbone": {"use": "vlmad-pocket:pocket", "config": {"words": False}},
            # As deep as SubspaceAD looks, 7 and 8 of 12: the last blocks tell what a thing is, and spoil the map.
            "extractor": {"use": "vlmad-core:patches", "config": {"layers": "57.5%-72.5%", "space": "raw"}},
            "scorers": [{"use": "vlmad-core:memory", "config": {"top": 0.01, "max_rows": 16_384}}],
            "references": {"rotations": "auto"},
            "output": {"smooth": 4.0},
        },
        summary="Patches of the middle blocks against a memory of normal ones; no text; 1 or more normal images.",
        paper=_ANOMALY_DINO,
        needs={"pocket": "vlmad-pocket"},
    )
    yield Recipe(
        name="anomaly-dino",
        spec={
            "backbone": {"use": "vlmad-pocket:pocket", "config": {"words": False, "image_size": 448}},
            "extractor": {"use": "vlmad-core:patches", "config": {"layers": [-1], "space": "raw"}},
            "scorers": [{"use": "vlmad-core:memory", "config": {"top": 0.01, "halve": False}}],
            "references": {"rotations": 8},
            "output": {"smooth": 4.0},
        },
        summary="AnomalyDINO as published: the last block at 448 pixels, eight rotations of each normal image.",
        paper=_ANOMALY_DINO,
        needs={"pocket": "vlmad-pocket"},
    )
