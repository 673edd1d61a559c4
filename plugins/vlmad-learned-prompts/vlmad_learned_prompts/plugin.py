"""What vlmad-learned-prompts offers. Torch-free."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from vlmad_core.registry import Component, Config, Recipe, hookimpl

PAPER = "Zhou et al., AnomalyCLIP: Object-agnostic Prompt Learning for Zero-shot Anomaly Detection, ICLR 2024"


class LearnedConfig(Config):
    """Options of 'learned'."""

    length: int = Field(12, gt=0, description="Learned vectors in front of the words, for each of the two states.")
    depth: int | None = Field(
        None,
        ge=1,
        description="Last block of the text tower that receives deep prompts, from 1; they begin at block 2, so 1 is "
        "none. Empty: three quarters of the blocks, which is AnomalyCLIP's 9 of 12.",
    )
    deep_length: int = Field(
        4, gt=0, description="Positions that each deep prompt overwrites, from the first learned vector on."
    )
    normal: str = Field("{}.", description="Words behind the learned vectors for normal; {} is what is shown.")
    abnormal: str = Field("damaged {}.", description="Words behind the learned vectors for abnormal.")
    word: str = Field("object", min_length=1, description="What {} stands for, whatever the image shows.")
    class_wise: bool = Field(False, description="{} stands for the class name instead, which then must be given.")
    init: str = Field(
        "",
        description="Words that the learned vectors begin as, such as 'a photo of a', next to the sentence's own; "
        "vectors in front of them, and all without words, begin at random.",
    )
    half: bool = Field(
        False,
        description="Round deep prompts to float16 on their way in, and their gradients on the way back, as "
        "AnomalyCLIP's code does; its checkpoints want it.",
    )

    @field_validator("normal", "abnormal")
    @classmethod
    def _only_empty_braces(cls, words: str) -> str:
        rest = words.replace("{}", "")
        if "{" in rest or "}" in rest:
            raise ValueError("the only placeholder is {}, which stands for what is shown")
        if not words.strip():
            raise ValueError("a state needs a word, such as '{}.'")
        return words

    @model_validator(mode="after")
    def _fits_itself(self) -> Self:
        if self.deep_length > self.length:
            raise ValueError(f"deep_length must be at most length, which is {self.length}: it overwrites those alone")
        if self.class_wise and "{}" not in self.normal + self.abnormal:
            raise ValueError("class_wise needs {} in normal or abnormal, or the class name would be nowhere")
        return self


@hookimpl
def vlmad_prompts() -> Iterable[Component]:
    """The learned ones."""
    yield Component(
        name="learned",
        target="vlmad_learned_prompts.learned:Learned",
        config=LearnedConfig,
        summary="Learned vectors in front of 'object' and 'damaged object', and deeper in the text tower.",
        paper=PAPER,
    )


_ANOMALYCLIP: dict[str, Any] = {
    "backbone": {
        "use": "vlmad-core:open-clip",
        "config": {
            "model": "ViT-L-14-336",
            "image_size": 518,
            "positions": "bilinear",
        },
    },
    # The class token is projected without the last norm, and the last block alone is read: as the code does it.
    "extractor": {"use": "vlmad-dpam:dpam", "config": {"layers": [-1], "pool_norm": False}},
    "prompts": {"use": "vlmad-learned-prompts:learned", "config": {"half": True}},
    "scorers": [{"use": "vlmad-core:text-match", "config": {"combine": "sum"}}],
    "output": {"smooth": 4.0},
}

_TRAINING: dict[str, Any] = {
    "epochs": 15,
    "batch_size": 8,
    "lr": 1e-3,
    "betas": [0.5, 0.999],
    "cross_entropy": 1.0,
    # Lambda: 1 for each of the four layers that were, by a slip, one and the same; now 4 for that one.
    "focal": 4.0,
    "dice": 4.0,
    "dice_normal": 4.0,
}


@hookimpl
def vlmad_recipes() -> Iterable[Recipe]:
    """AnomalyCLIP."""
    yield Recipe(
        name="anomalyclip",
        spec=_ANOMALYCLIP,
        summary="AnomalyCLIP: learned prompts for any object against value-to-value patches; train or import it first.",
        paper=PAPER,
        needs={"dpam": "vlmad-dpam", "pocket": "vlmad-pocket"},
        training=_TRAINING,
        checkpoint="vlmad_learned_prompts.checkpoint:convert",
    )
