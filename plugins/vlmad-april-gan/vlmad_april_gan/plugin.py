"""What vlmad-april-gan offers. Torch-free."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import Field

from vlmad_core.contracts import Layers
from vlmad_core.registry import Component, Config, Recipe, hookimpl

PAPER = "Chen et al., APRIL-GAN: A Zero-/Few-Shot Anomaly Classification and Segmentation Method, VAND at CVPR 2023"


class ProjectionsConfig(Config):
    """Options of 'projections'."""

    layers: Layers = Field(
        "quarters",
        description="Blocks whose tokens are mapped: numbers from 1, with -1 for the last one; or quarters, the last "
        "of each quarter of the tower, as in the paper (6, 12, 18 and 24 of 24); or a range such as 50%-100%.",
    )
    raw: bool = Field(
        False, description="Also give the tokens of each layer as they are, for a memory; without text that is all."
    )


@hookimpl
def vlmad_extractors() -> Iterable[Component]:
    """The linear maps."""
    yield Component(
        name="projections",
        target="vlmad_april_gan.linear_maps:Projections",
        config=ProjectionsConfig,
        summary="Patch tokens of chosen blocks, each through a learned linear map to the space of the text.",
        paper=PAPER,
    )


def _spec(*, few_shot: bool, combine: str) -> dict[str, Any]:
    """The paper's pipeline; ``combine`` is what levels and scorers have in common."""
    words = {
        "temperature": 0.01,
        "levels": ["stage*"],
        "upsample": "logits",
        "align_corners": True,
        "combine": combine,
    }
    memory = {"levels": ["raw*"], "halve": combine == "mean", "align_corners": True, "combine": combine}
    scorers: list[dict[str, Any]] = [{"use": "vlmad-core:text-match", "config": words}]
    if few_shot:
        scorers[0]["optional"] = True  # without text, what is left is the paper's memory
        scorers.append({"use": "vlmad-core:memory", "config": memory})
    return {
        # Exact GELU on weights trained with quick GELU: what the authors' code does at 518 pixels (see the README).
        "backbone": {
            "use": "vlmad-core:open-clip",
            "config": {"model": "ViT-L-14-336", "image_size": 518, "activation": "gelu"},
        },
        "extractor": {"use": "vlmad-april-gan:projections", "config": {"raw": few_shot}},
        "prompts": {
            "use": "vlmad-compositional:compositional",
            "config": {"states": "april-gan", "templates": "april-gan-35", "underscores": "keep"},
        },
        "scorers": scorers,
        "fuse": {"image": "mean", "map": combine},
    }


_TRAINING = {
    "epochs": 3,
    "batch_size": 8,
    "optimizer": "adam",
    "lr": 1e-3,
    "betas": (0.5, 0.999),
    "focal": 1.0,
    "dice": 1.0,
    "mosaic": 0.2,
}
"""As the authors trained on MVTec AD; on VisA they took 15 epochs and no mosaics."""

_VARIANTS = {"": ("sum", "maps summed as the paper has it"), "-mean": ("mean", "maps averaged, in [0, 1]")}


@hookimpl
def vlmad_recipes() -> Iterable[Recipe]:
    """Zero-shot and few-shot, with the paper's sums and with means."""
    for suffix, (combine, what) in _VARIANTS.items():
        for shots, few_shot in (("", False), ("-few-shot", True)):
            yield Recipe(
                name=f"april-gan{suffix}{shots}",
                spec=_spec(few_shot=few_shot, combine=combine),
                summary=f"APRIL-GAN{' with 1 or more normal images' if few_shot else ', zero-shot'}, {what}; "
                "to be trained, or its checkpoint imported.",
                paper=PAPER,
                few_shot="" if few_shot else f"april-gan{suffix}-few-shot",
                needs={"compositional": "vlmad-compositional"},
                training=_TRAINING,
                checkpoint="vlmad_april_gan.checkpoint:convert",
            )
