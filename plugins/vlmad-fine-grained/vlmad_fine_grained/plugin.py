"""What vlmad-fine-grained offers: the scorer ``parts``, a recipe, and a second opinion in words. Torch-free."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import Field

from vlmad_core.registry import Command, Component, Config, Recipe, hookimpl

PAPER = (
    "After FineGrainedAD (arXiv 2510.26464): captions of parts with number and place, patch tokens grouped into parts; "
    "counts and places are compared with the normal images, nothing is learned."
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


@hookimpl
def vlmad_scorers() -> Iterable[Component]:
    """Counts and places."""
    yield Component(
        name="parts",
        target="vlmad_fine_grained.scorer:Parts",
        config=PartsConfig,
        summary="Counts and places of parts against those of normal images: missing, extra, moved.",
        paper=PAPER,
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
