"""Options of a training, their defaults and meanings. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from vlmad_core.registry.component import Config, Recipe
from vlmad_core.registry.registry import default_registry
from vlmad_core.registry.validate import validate

__all__ = ["RUN_ONLY", "TrainingOptions", "training_options"]


class TrainingOptions(Config):
    """Options of `vlmad train`; a recipe brings those of its paper."""

    epochs: int = Field(15, gt=0, description="Times through the images.")
    batch_size: int = Field(8, gt=0, description="Images at a time, on each device.")
    accumulate: int = Field(
        1, gt=0, description="Batches whose gradients make one step: equal to a batch so many times larger."
    )
    optimizer: Literal["adam", "adamw"] = Field("adam", description="Adam, or AdamW with decoupled weight decay.")
    lr: float = Field(1e-3, gt=0, description="Learning rate, the highest of the schedule.")
    betas: tuple[float, float] = Field((0.9, 0.999), description="Memory of the optimiser, each in [0, 1).")
    weight_decay: float = Field(0.0, ge=0, description="Pull of the parameters towards 0.")
    schedule: Literal["none", "cosine", "linear"] = Field(
        "none", description="How the rate falls towards 0 from the end of the warm-up to the last step."
    )
    warmup: int = Field(0, ge=0, description="Steps in which the rate grows from near 0.")
    clip: float = Field(0.0, ge=0, description="Largest norm of the whole gradient; 0: any.")
    focal: float = Field(1.0, ge=0, description="Weight of the focal loss of each level's map.")
    gamma: float = Field(2.0, ge=0, description="Exponent of the focal loss.")
    dice: float = Field(1.0, ge=0, description="Weight of the dice loss of each level's map on the abnormal side.")
    dice_normal: float = Field(0.0, ge=0, description="Weight of the dice loss on the normal side.")
    cross_entropy: float = Field(0.0, ge=0, description="Weight of the cross-entropy of the image scores.")
    part_losses: float = Field(
        0.0, ge=0, description="Weight of the losses that prompts and scorers bring themselves, such as 'captions'."
    )
    mosaic: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of the images that are replaced by four of their category in one (APRIL-GAN); never cached.",
    )
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        "fp32", description="Of the arithmetic in backbone and parts (autocast); parameters and losses stay in float32."
    )
    seed: int = Field(0, ge=0, description="Of the first parameters, the order, the validation split and the mosaics.")
    validation: float = Field(0.0, ge=0, lt=1, description="Share of the images that is held out; 0: none.")
    patience: int = Field(0, ge=0, description="Epochs without a lower validation loss before training stops; 0: all.")
    cache: Literal["auto", "memory", "disk", "off"] = Field(
        "auto", description="Where features of the frozen backbone are kept; auto: memory where they fit, else disk."
    )
    cache_gb: float = Field(
        10.0, gt=0, description="Most that is kept, in GB; images beyond it go through the backbone in every epoch."
    )
    cache_precision: Literal["float32", "float16", "bfloat16"] = Field(
        "float32", description="Of what is kept; less than float32 changes the results a little."
    )
    keep_cache: bool = Field(False, description="Leave the cache on the disk when training is done.")
    minutes: float = Field(5.0, gt=0, description="Between two states that a stopped training goes on from.")
    workers: int = Field(2, gt=0, description="Threads that decode images.")
    tensorboard: bool = Field(False, description="Write the curves for TensorBoard too.")

    @model_validator(mode="after")
    def _check(self) -> TrainingOptions:
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError("betas must be at least 0 and below 1")
        if not (self.on_pixels or self.cross_entropy or self.part_losses):
            raise ValueError(
                "all losses have weight 0; give focal, dice, dice_normal, cross_entropy or part_losses some weight"
            )
        if self.patience and not self.validation:
            raise ValueError("patience needs images to validate on; give validation a share, such as 0.1")
        return self

    @property
    def on_pixels(self) -> bool:
        """Whether masks are needed."""
        return bool(self.focal or self.dice or self.dice_normal)

    @property
    def needs_defects(self) -> bool:
        """Whether images with defects are needed; losses of the parts may learn from normal images alone."""
        return bool(self.on_pixels or self.cross_entropy)


RUN_ONLY = frozenset({"cache", "cache_gb", "keep_cache", "minutes", "tensorboard", "workers"})
"""Options that may change when a training goes on: they decide how long it takes, not what is learned."""


def training_options(recipe: str | None = None, changes: Mapping[str, Any] | None = None) -> TrainingOptions:
    """The options of a recipe's paper, with changes; the defaults where no recipe is named.

    Raises:
        ConfigError: An option that does not exist or is out of range.
        UnknownComponentError: No such recipe.
    """
    paper: Mapping[str, Any] = {}
    if recipe is not None:
        item = default_registry().get("recipe", recipe).item
        assert isinstance(item, Recipe)
        paper = item.training
    return validate(TrainingOptions, {**paper, **(changes or {})}, "training", "training")
