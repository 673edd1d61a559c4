"""What vlmad-fine-grained offers: parts counted and placed, prompts and scorer from captions. Torch-free."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from vlmad_core.errors import ConfigError
from vlmad_core.registry import Command, Component, Config, Recipe, hookimpl
from vlmad_fine_grained.captions import Captions, read_captions

PAPER = (
    "After FineGrainedAD (arXiv 2510.26464): captions of parts with number and place, patch tokens grouped into parts; "
    "counts and places are compared with the normal images, nothing is learned."
)
CAPTIONS_PAPER = (
    "After FineGrainedAD (arXiv 2510.26464): learned prompts for image, parts and background, groups of patches "
    "aligned with them; written from a description, trained for a fixed number of epochs."
)


class PartsConfig(Config):
    """Options of 'parts'."""

    level: str = Field("*", description="Name of the level whose patches are grouped, or a pattern; the last match.")
    groups: int = Field(2, ge=2, le=32, description="Groups of patches; those along the border are the background.")
    smallest: float = Field(
        0.25, gt=0, lt=1, description="Smallest part, as a share of the median one; smaller ones are not counted."
    )
    places: bool = Field(True, description="Parts have fixed places; false: only their number and size are compared.")


class PartsOpinionConfig(Config):
    """Options of the opinion 'parts'."""

    detector: Path = Field(description="Detector of the recipe 'parts', from `vlmad fit IMAGES --recipe parts`.")
    captions: Path | None = Field(None, description="Captions file, from `vlmad captions`; without it: 'part'.")
    asks_all: bool = Field(False, description="Also speak about images that pass.")


class CaptionPromptsConfig(Config):
    """Options of the prompts 'captions'."""

    captions: Captions = Field(
        Captions(), description="Captions file, from `vlmad captions`, or its content; empty: the image level alone."
    )
    n_context: int = Field(
        0, ge=0, le=64, description="Learned vectors in front of each sentence, of each level; 0: none, no training."
    )
    n_abnormal: int = Field(
        1, ge=0, le=64, description="With n_context: learned vectors of an abnormal sentence without words."
    )
    alignment: float = Field(
        1.0, ge=0, description="In training: weight of the distance from learned to written abnormal sentences."
    )
    regularisation: float = Field(
        1.0, ge=0, description="In training: weight of the change of each sentence by its learned vectors."
    )

    @field_validator("captions", mode="before")
    @classmethod
    def _read(cls, given: object) -> object:
        if not isinstance(given, str | Path):
            return given
        try:
            return read_captions(Path(given))
        except ConfigError as error:
            raise ValueError(str(error).rstrip(".")) from error

    def stored(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """With the content of the captions file in place of its path."""
        content = {"captions": self.captions.model_dump(mode="json")} if "captions" in given else {}
        return {**given, **content}


class CaptionMatchConfig(Config):
    """Options of the scorer 'captions'."""

    level: str = Field("*", description="Name of the level whose patches are scored, or a pattern; the last match.")
    temperature: float = Field(0.07, gt=0, description="Divides the cosine before the softmax; small is sharp.")
    groups: int = Field(5, ge=1, le=64, description="Groups of patches in each image, by k-means.")
    group_weight: float = Field(
        1.5, ge=0, description="How much the part of its group counts for a patch, beside what the patch itself fits."
    )
    image: Literal["class", "max", "both"] = Field(
        "both", description="Image score: from the whole-image feature, from the highest cells, or the mean of both."
    )
    top: float = Field(0.0, ge=0, le=1, description="Share of the cells that 'max' averages; 0: the single highest.")
    margin: float = Field(1.0, ge=0, description="In training: of the triplet loss.")


@hookimpl
def vlmad_prompts() -> Iterable[Component]:
    """Sentences of three levels."""
    yield Component(
        name="captions",
        target="vlmad_fine_grained.caption_prompts:CaptionPrompts",
        config=CaptionPromptsConfig,
        summary="Normal and abnormal sentences for image, parts and background from a captions file; may be learned.",
        paper=CAPTIONS_PAPER,
    )


@hookimpl
def vlmad_scorers() -> Iterable[Component]:
    """Counts and places; sentences of parts."""
    yield Component(
        name="parts",
        target="vlmad_fine_grained.scorer:Parts",
        config=PartsConfig,
        summary="Counts and places of parts against those of normal images: missing, extra, moved.",
        paper=PAPER,
    )
    yield Component(
        name="captions",
        target="vlmad_fine_grained.caption_match:CaptionMatch",
        config=CaptionMatchConfig,
        summary="Each patch against the sentences of the part that it and its group fit best.",
        paper=CAPTIONS_PAPER,
    )


@hookimpl
def vlmad_recipes() -> Iterable[Recipe]:
    """On the backbone that needs no download."""
    yield Recipe(
        name="parts",
        spec={
            "backbone": {"use": "vlmad-pocket:pocket", "config": {"words": False}},
            "extractor": {"use": "vlmad-core:patches", "config": {"layers": [9], "space": "raw"}},
            "scorers": ["vlmad-fine-grained:parts"],
        },
        summary="Missing, extra and moved parts of a product in a fixed pose; 4 or more normal images.",
        paper=PAPER,
        needs={"pocket": "vlmad-pocket"},
    )
    yield Recipe(
        name="fine-grained",
        spec={
            "backbone": "vlmad-pocket:pocket",
            "extractor": {
                "use": "vlmad-core:patches",
                "config": {"layers": [-1], "space": "both", "raw_layers": "75%-90%"},
            },
            "prompts": {"use": "vlmad-fine-grained:captions", "config": {"n_context": 4}},
            "scorers": [
                {"use": "vlmad-fine-grained:captions", "config": {"level": "block*"}},
                {"use": "vlmad-core:memory", "config": {"levels": ["raw*"], "top": 0.01, "max_rows": 16_384}},
            ],
            "fuse": {"image": "harmonic", "map": "harmonic"},
            "references": {"rotations": "auto"},
            "output": {"smooth": 4.0},
        },
        summary="Patches against learned sentences of parts, and a memory; captions needed, to be trained on normals.",
        paper=CAPTIONS_PAPER,
        needs={"pocket": "vlmad-pocket"},
        # The paper takes SGD, 0.002, 100 epochs; Adam is what is here, and the number of epochs is fixed beforehand.
        training={
            "epochs": 50,
            "batch_size": 8,
            "lr": 2e-3,
            "focal": 0.0,
            "dice": 0.0,
            "part_losses": 1.0,
        },
    )


@hookimpl
def vlmad_opinions() -> Iterable[Component]:
    """The parts in words."""
    yield Component(
        name="parts",
        target="vlmad_fine_grained.opinion:PartsOpinion",
        config=PartsOpinionConfig,
        summary="Says which part is missing, extra or moved; nothing leaves this machine.",
    )


@hookimpl
def vlmad_commands() -> Iterable[Command]:
    """The captions file."""
    yield Command(
        name="captions",
        target="vlmad_fine_grained.command:captions_command",
        summary="Make the captions file of a product: an empty form, or a draft by a language model to correct.",
    )
