"""Extractor: the patch tokens of chosen blocks, in the joint space, raw, or both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from vlmad_core.contracts.data import Features, Level, LevelSpec
from vlmad_core.contracts.layers import resolve_layers
from vlmad_core.contracts.parts import Extractor
from vlmad_core.contracts.towers import Backbone, VisionTower, forward_blocks
from vlmad_core.errors import IncompatibleError

if TYPE_CHECKING:
    from vlmad_core.builtin.plugin import PatchesConfig

__all__ = ["Patches"]


class Patches(Extractor):
    """Patch tokens after each chosen block: levels ``blockN`` in the joint space, ``rawN`` not projected.

    Raises:
        IncompatibleError: A layer beyond the tower, or the joint space of a tower that has none.
    """

    def __init__(self, config: PatchesConfig, backbone: Backbone) -> None:
        super().__init__()
        vision = backbone.vision
        self.layers = resolve_layers(config.layers, len(vision.blocks))
        if config.space in ("joint", "both") and not vision.joint:
            raise IncompatibleError(
                f"space '{config.space}' needs a backbone whose image and text features share a space; use space 'raw'."
            )
        self.norm = config.norm
        self.joint = vision.joint and config.space != "raw"
        self.raw = config.space in ("raw", "both") or not vision.joint
        self.whole = self.joint  # raw levels are never compared with text
        self.levels = (
            *(LevelSpec(f"block{layer}", vision.dim, True) for layer in self.layers if self.joint),
            *(LevelSpec(f"raw{layer}", vision.width, False) for layer in self.layers if self.raw),
        )

    def forward(self, vision: VisionTower, images: Tensor) -> Features:
        """``[B, 3, H, W]`` to one level a layer and space, each ``[B, h*w, dim]``."""
        x, grid = vision.embed(images)
        blocks = vision.blocks if self.whole else vision.blocks[: self.layers[-1]]  # later blocks need not run
        last, kept = forward_blocks(blocks, x, layers=self.layers)
        tokens = {layer: kept[layer][:, vision.prefix :] for layer in self.layers}
        vectors = [vision.project(vision.norm(t)) for t in tokens.values() if self.joint]
        vectors += [vision.norm(t) if self.norm else t for t in tokens.values() if self.raw]
        levels = tuple(Level(spec, v, grid) for spec, v in zip(self.levels, vectors, strict=True))
        return Features(levels, vision.pool(last) if self.whole else None)
