"""What vlmad-adapters offers. Torch-free."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import Field

from vlmad_core.contracts import Layers
from vlmad_core.registry import Command, Component, Config, Recipe, hookimpl

PAPER = "Ma et al., AA-CLIP: Enhancing Zero-Shot Anomaly Detection via Anomaly-Aware CLIP, CVPR 2025"


class AdaptersConfig(Config):
    """Options of both parts."""

    blocks: int | None = Field(
        None, ge=1, description="Adapters follow the first so many blocks. Empty: a quarter of the tower, rounded up."
    )
    weight: float = Field(
        0.1, gt=0, lt=1, description="Share of the adapter in the result; the rest is the output of the block."
    )


class AdaptedViewConfig(AdaptersConfig):
    """Options of 'adapted-patches'."""

    layers: Layers = Field(
        "quarters",
        description="Blocks that are read: numbers from 1, with -1 for the last one; or quarters, the last of each "
        "quarter of the tower; or a range such as 50%-100%.",
    )


class AdaptedWordsConfig(AdaptersConfig):
    """Options of 'adapted-words'."""

    normal: tuple[str, ...] = Field(
        (
            "a photo of a {}.",
            "a photo of a flawless {}.",
            "a photo of a perfect {}.",
            "a photo of a {} without defect.",
        ),
        min_length=1,
        description="Sentences for normal; {} is the class name.",
    )
    abnormal: tuple[str, ...] = Field(
        (
            "a photo of a damaged {}.",
            "a photo of a broken {}.",
            "a photo of a {} with a flaw.",
            "a photo of a {} with defect.",
        ),
        min_length=1,
        description="Sentences for abnormal; {} is the class name.",
    )


class ProbeConfig(Config):
    """Options of 'probe'."""

    levels: tuple[str, ...] = Field(("*",), min_length=1, description="Names of levels, or patterns such as 'raw*'.")
    top: float = Field(
        0.04, ge=0, le=1, description="Share of the cells whose mean is the image score; 0: the single highest cell."
    )
    defect_share: float = Field(
        0.1,
        gt=0,
        le=1,
        description="Share of the regions of a defective image without a mask that are taken as defective: those that "
        "are farthest from normal ones.",
    )
    shrinkage: float = Field(
        0.003,
        gt=0,
        description="Added to the covariance of normal regions, as a share of its largest eigenvalue.",
    )
    weight: float = Field(
        1.0, ge=0, description="Of the discriminant beside the distance, at equal spread; 0: the distance alone."
    )


@hookimpl
def vlmad_extractors() -> Iterable[Component]:
    """The adapted image encoder."""
    yield Component(
        name="adapted-patches",
        target="vlmad_adapters.adapters:AdaptedPatches",
        config=AdaptedViewConfig,
        summary="Patch tokens of several blocks, with learned residual adapters behind the first blocks.",
        paper=PAPER,
    )


@hookimpl
def vlmad_prompts() -> Iterable[Component]:
    """The adapted text encoder."""
    yield Component(
        name="adapted-words",
        target="vlmad_adapters.adapters:AdaptedWords",
        config=AdaptedWordsConfig,
        summary="Sentences for normal and abnormal, with learned residual adapters behind the first blocks.",
        paper=PAPER,
    )


@hookimpl
def vlmad_scorers() -> Iterable[Component]:
    """The memory bank with a discriminant."""
    yield Component(
        name="probe",
        target="vlmad_adapters.probe:Probe",
        config=ProbeConfig,
        summary="Distance to normal images, and a linear discriminant learned from a few defects by `vlmad adapt`.",
        paper="Fisher, The Use of Multiple Measurements in Taxonomic Problems, 1936",
    )


@hookimpl
def vlmad_commands() -> Iterable[Command]:
    """Adaptation to a field."""
    yield Command(
        name="adapt",
        target="vlmad_adapters.command:adapt_command",
        summary="Adapt a detector with a few normal and defective images, where that helps on held-out ones.",
    )


_SPEC: dict[str, Any] = {
    "backbone": {"use": "vlmad-core:open-clip", "config": {"model": "ViT-L-14-336", "image_size": 518}},
    "extractor": {"use": "vlmad-adapters:adapted-patches"},
    "prompts": {"use": "vlmad-adapters:adapted-words"},
    "scorers": [{"use": "vlmad-core:text-match", "config": {"combine": "mean", "image": "max"}}],
    "output": {"smooth": 4.0},
}

_TRAINING: dict[str, Any] = {"epochs": 20, "batch_size": 8, "lr": 5e-4, "betas": [0.5, 0.999], "cross_entropy": 1.0}


_PROBE: dict[str, Any] = {
    "backbone": {"use": "vlmad-pocket:pocket", "config": {"words": False}},
    "extractor": {"use": "vlmad-core:patches", "config": {"layers": "57.5%-72.5%", "space": "raw"}},
    "scorers": [{"use": "vlmad-adapters:probe"}],
    "references": {"rotations": "auto"},
    "output": {"smooth": 4.0},
}


@hookimpl
def vlmad_recipes() -> Iterable[Recipe]:
    """Both towers adapted; to be trained. And the probe."""
    yield Recipe(
        name="probe",
        spec=_PROBE,
        summary="A memory of normal images with a discriminant from a few defects; made by `vlmad adapt`.",
        needs={"pocket": "vlmad-pocket"},
    )
    yield Recipe(
        name="adapters",
        spec=_SPEC,
        summary="AA-CLIP-like: both encoders adapted, patches against text; train it first.",
        paper=PAPER,
        needs={"pocket": "vlmad-pocket"},
        training=_TRAINING,
    )
