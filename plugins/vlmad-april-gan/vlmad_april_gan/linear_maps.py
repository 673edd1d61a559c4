"""Extractor: patch tokens of several blocks, each block's through a linear map of its own to the space of the text.

APRIL-GAN (Chen et al., 2023). Only the maps are trained; the tower stays as it is, so the tokens of an image
(:meth:`Projections.extract_frozen`) are computed only once while they are trained.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from torch import Tensor, nn

from vlmad_core.contracts import (
    Backbone,
    Extractor,
    Features,
    Level,
    LevelSpec,
    VisionTower,
    forward_blocks,
    linear,
    resolve_layers,
)

if TYPE_CHECKING:
    from vlmad_april_gan.plugin import ProjectionsConfig

__all__ = ["Projections"]


class Projections(Extractor):
    """Levels ``stageN`` (comparable with text) for each layer, and ``rawN`` (the tokens as they are) if asked.

    Tokens are taken after the block, without the tower's last norm and projection. The maps start at random, so the
    stages mean nothing before training. On a backbone without text there is nothing to map to, and only ``rawN``.

    Raises:
        IncompatibleError: A layer beyond the tower.
    """

    def __init__(self, config: ProjectionsConfig, backbone: Backbone) -> None:
        super().__init__()
        vision, text = backbone.vision, backbone.text
        self.layers = resolve_layers(config.layers, len(vision.blocks))
        self.joint = vision.joint  # whether the whole image can be compared with text too
        mapped = () if text is None else self.layers
        dim = 0 if text is None else text.dim
        self.fc = nn.ModuleList(nn.Linear(vision.width, dim) for _ in mapped)
        self._raw = tuple(LevelSpec(f"raw{layer}", vision.width, False) for layer in self.layers)
        self._stages = tuple(LevelSpec(f"stage{layer}", dim, True) for layer in mapped)
        self.levels = (*self._stages, *(self._raw if config.raw or text is None else ()))

    def forward(self, vision: VisionTower, images: Tensor) -> Features:
        """``[B, 3, H, W]`` to one level ``[B, h*w, D]`` a layer, then perhaps the raw ones ``[B, h*w, W]``."""
        return self.apply_learned(self.extract_frozen(vision, images))

    def extract_frozen(self, vision: VisionTower, images: Tensor) -> Features:
        """``[B, 3, H, W]`` to the raw tokens of each layer, ``[B, h*w, W]``, and the whole image, ``[B, D]``."""
        x, grid = vision.embed(images)
        blocks = vision.blocks if self.joint else vision.blocks[: self.layers[-1]]  # later blocks need not run
        last, kept = forward_blocks(blocks, x, layers=self.layers)
        levels = tuple(
            Level(spec, kept[layer][:, vision.prefix :], grid)
            for spec, layer in zip(self._raw, self.layers, strict=True)
        )
        return Features(levels, vision.pool(last) if self.joint else None)

    def apply_learned(self, features: Features) -> Features:
        """From the raw tokens of :meth:`extract_frozen` to the declared levels."""
        maps = cast("Iterable[nn.Linear]", self.fc)
        stages = [
            # In the precision of the maps, whatever the tower's.
            Level(spec, linear(level.vectors.to(fc.weight.dtype), fc.weight, fc.bias), level.grid)
            for spec, fc, level in zip(self._stages, maps, features.levels, strict=False)
        ]
        kept = features.levels if self._raw[0] in self.levels else ()
        return Features((*stages, *kept), features.image)
