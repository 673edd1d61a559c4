"""What vlmad-subspace offers. Torch-free."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from vlmad_core.registry import Component, Config, Recipe, hookimpl

PAPER = "Lendering et al., SubspaceAD: Training-Free Few-Shot Anomaly Detection via Subspace Modeling, CVPR 2026"


class SubspaceConfig(Config):
    """Options of 'subspace'."""

    levels: tuple[str, ...] = Field(("*",), min_length=1, description="Names of levels, or patterns such as 'raw*'.")
    variance: float = Field(0.99, gt=0, le=1, description="Share of the variance of normal vectors that is kept.")
    components: int | None = Field(None, ge=1, description="Components kept at most; empty: as the variance asks.")
    unit: bool = Field(
        True, description="Vectors of unit length, which bounds the map; false: as they are (SubspaceAD)."
    )
    average: bool = Field(
        False, description="One subspace of the mean of the levels (SubspaceAD); false: one a level, and the mean map."
    )
    top: float = Field(
        0.01, ge=0, le=1, description="Share of the pixels whose mean is the image score; 0: the single highest one."
    )


@hookimpl
def vlmad_scorers() -> Iterable[Component]:
    """The residual."""
    yield Component(
        name="subspace",
        target="vlmad_subspace.subspace:Subspace",
        config=SubspaceConfig,
        summary="What the principal components of normal vectors leave over; state of fixed size.",
        paper=PAPER,
    )


@hookimpl
def vlmad_recipes() -> Iterable[Recipe]:
    """The paper's pipeline on the backbone that needs no download."""
    yield Recipe(
        name="subspace",
        spec={
            "backbone": {"use": "vlmad-pocket:pocket", "config": {"words": False, "image_size": 448}},
            # The paper averages blocks 23 to 29 of 40, without the last norm; these are as deep, 7 and 8 of 12.
            "extractor": {
                "use": "vlmad-core:patches",
                "config": {"layers": "57.5%-72.5%", "space": "raw", "norm": False},
            },
            "scorers": [{"use": "vlmad-subspace:subspace", "config": {"average": True, "unit": False}}],
            # The paper takes 30 rotations at equal steps; quarter turns where they are safe did better here.
            "references": {"rotations": "auto"},
            "output": {"smooth": 4.0},
        },
        summary="SubspaceAD: patches outside the principal components of normal ones; 1 or more normal images.",
        paper=PAPER,
        needs={"pocket": "vlmad-pocket"},
    )
