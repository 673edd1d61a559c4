"""The backbone 'timm': one of timm's vision transformers, its weights, and their preprocessing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

import torch

from vlmad_core.contracts import Backbone, Preprocess, find_device
from vlmad_timm.vision import TimmVision
from vlmad_timm.weights import make

if TYPE_CHECKING:
    from vlmad_timm.plugin import TimmConfig

__all__ = ["Timm"]


class Timm(Backbone):
    """Any plain vision transformer of timm, without text.

    Args:
        config: Its options.

    Raises:
        ConfigError: No such model, weights or device, or weights that do not fit.
        IncompatibleError: The model cannot be opened into blocks, or the size is not a multiple of the patch.
    """

    def __init__(self, config: TimmConfig) -> None:
        device = find_device(config.device)
        made = make(config)
        wanted = (config.image_size, config.image_size) if isinstance(config.image_size, int) else config.image_size
        vision = TimmVision(made.model, wanted, config.model)
        super().__init__(vision, None, _preprocess(vision), provenance=made.provenance)
        self.to(device=device, dtype=getattr(torch, config.dtype))


def _preprocess(vision: TimmVision) -> Preprocess:
    """As the weights were trained; timm keeps the numbers beside each model."""
    preset: dict[str, Any] = vision.model.pretrained_cfg
    filters = ("nearest", "bilinear", "bicubic", "lanczos")
    kind = preset.get("interpolation")
    return Preprocess(
        vision.size,
        mean=tuple(preset.get("mean", (0.5, 0.5, 0.5))),
        std=tuple(preset.get("std", (0.5, 0.5, 0.5))),
        interpolation=cast(
            'Literal["nearest", "bilinear", "bicubic", "lanczos"]', kind if kind in filters else "bicubic"
        ),
    )
