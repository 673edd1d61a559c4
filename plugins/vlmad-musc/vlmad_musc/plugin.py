"""What vlmad-musc offers. Torch-free."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field, field_validator

from vlmad_core.registry import Component, Config, Recipe, hookimpl

PAPER = "Li et al., MuSc: Zero-Shot Industrial Anomaly Classification and Segmentation with Mutual Scoring, ICLR 2024"


class MuscConfig(Config):
    """Options of 'musc'."""

    levels: tuple[str, ...] = Field(("*",), min_length=1, description="Names of levels, or patterns such as 'raw*'.")
    degrees: tuple[int, ...] = Field(
        (1, 3, 5), min_length=1, description="Sides of the squares of cells that are averaged, odd; one map for each."
    )
    lowest: float = Field(
        0.3, gt=0, le=1, description="Share of the other images, the most alike ones, that a region is scored by."
    )
    top: float = Field(
        0.0, ge=0, le=1, description="Share of the cells whose mean is the image score; 0: the single highest one."
    )
    align_corners: bool = Field(True, description="Resize so that the corner cells lie on the corner pixels.")

    @field_validator("degrees")
    @classmethod
    def _odd(cls, degrees: tuple[int, ...]) -> tuple[int, ...]:
        if any(degree < 1 or degree % 2 == 0 for degree in degrees):
            raise ValueError("a square around a cell has an odd side of at least 1, such as 1, 3 or 5")
        return degrees


@hookimpl
def vlmad_scorers() -> Iterable[Component]:
    """Mutual scoring."""
    yield Component(
        name="musc",
        target="vlmad_musc.mutual:Musc",
        config=MuscConfig,
        summary="Distance to the nearest region of each other image, over the images most alike; needs no labels.",
        paper=PAPER,
    )


_POCKET_BATCH = {
    "backbone": "vlmad-pocket:pocket",
    # Of the nine blocks that lead to the words; blocks 7 and 8 are middle ones of the published twelve.
    "extractor": {"use": "vlmad-core:patches", "config": {"layers": [-1], "space": "both", "raw_layers": "75%-90%"}},
    "prompts": {
        "use": "vlmad-compositional:compositional",
        "config": {"states": "winclip", "templates": "winclip-22", "needs_name": False},
    },
    "scorers": [
        {"use": "vlmad-core:text-match", "config": {"levels": ["block*"], "image": "both", "top": 0.01}},
        {"use": "vlmad-musc:musc", "config": {"levels": ["raw*"], "degrees": [3], "top": 0.01}},
    ],
    # Probabilities and distances count alike, whatever their scales.
    "fuse": {"image": "geometric", "map": "geometric"},
    "output": {"smooth": 4.0},
}


@hookimpl
def vlmad_recipes() -> Iterable[Recipe]:
    """The paper's pipeline on the backbone that needs no download, and the same beside words."""
    yield Recipe(
        name="musc",
        spec={
            "backbone": {"use": "vlmad-pocket:pocket", "config": {"words": False}},
            "extractor": {"use": "vlmad-core:patches", "config": {"layers": "quarters", "space": "raw"}},
            "scorers": ["vlmad-musc:musc"],
        },
        summary="MuSc: unlabelled images are compared with each other; give the folder to predict as --normal too.",
        paper=PAPER,
        needs={"pocket": "vlmad-pocket"},
    )
    yield Recipe(
        name="pocket-batch",
        spec=_POCKET_BATCH,
        summary="The words of 'pocket', and unlabelled images compared with each other; the folder is --normal too.",
        paper=PAPER,
        needs={"pocket": "vlmad-pocket", "compositional": "vlmad-compositional"},
    )
