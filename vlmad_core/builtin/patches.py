"""Extractor: the patch tokens of chosen blocks, in the joint space, raw, or both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from vlmad_core.contracts.data import Features, Level, LevelSpec
from vlmad_core.contracts.parts import Extractor
from vlmad_core.contracts.towers import Backbone, VisionTower, forward_blocks
from vlmad_core.errors import IncompatibleError

if TYPE_CHECKING:
    from vlmad_core.builtin.plugin import PatchesConfig

__all__ = ["Patches"]


class Patches(Extractor):
    """Patch tokens after each kept block: levels ``blockN`` in the joint space, ``rawN`` as the tower has them.

    Raises:
        IncompatibleError: A layer beyond the tower, or the joint space of a tower that has none.
    """

    def __init__(self, config: PatchesConfig, backbone: Backbone) -> None:
        super().__init__()
        vision = backbone.vision
        depth = len(vision.blocks)
        self.layers = tuple(sorted({layer + depth + 1 if layer < 0 else layer for layer in config.layers}))
        if not all(1 <= layer <= depth for layer in self.layers):
            raise IncompatibleError(
                f"layers {list(config.layers)} leave this tower; it has blocks 1 to {depth}, -1 being the last."
            )
        if config.space in ("joint", "both") and not vision.joint:
            raise IncompatibleError(
                f"space '{config.space}' needs a backbone whose pictures share a space with text; use space 'raw'."
            )
        self.norm = config.norm
        self.joint = vision.joint and config.space != "raw"
        self.raw = config.space in ("raw", "both") or not vision.joint
        self.whole = vision.joint and config.space != "raw"  # nobody compares raw levels with text
        self.levels = (
            *(LevelSpec(f"block{layer}", vision.dim, True) for layer in self.layers if self.joint),
            *(LevelSpec(f"raw{layer}", vision.width, False) for layer in self.layers if self.raw),
        )

    def forward(self, vision: VisionTower, images: Tensor) -> Features:
        """``[B, 3, H, W]`` to one level a layer and space, each ``[B, h*w, dim]``."""
        x, grid = vision.embed(images)
        blocks = vision.blocks if self.whole else vision.blocks[: self.layers[-1]]  # what nobody reads need not run
        last, kept = forward_blocks(blocks, x, layers=self.layers)
        tokens = {layer: kept[layer][:, vision.prefix :] for layer in self.layers}
        vectors = [vision.project(vision.norm(t)) for t in tokens.values() if self.joint]
        vectors += [vision.norm(t) if self.norm else t for t in tokens.values() if self.raw]
        levels = tuple(Level(spec, v, grid) for spec, v in zip(self.levels, vectors, strict=True))
        return Features(levels, vision.pool(last) if self.whole else None)
