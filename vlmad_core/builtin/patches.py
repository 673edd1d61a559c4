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
        depth = len(vision.blocks)
        layers = resolve_layers(config.layers, depth)
        raw_layers = layers
        if config.raw_layers is not None:
            raw_layers = resolve_layers(config.raw_layers, depth, option="raw_layers")
        if config.space in ("joint", "both") and not vision.joint:
            raise IncompatibleError(
                f"space '{config.space}' needs a backbone whose image and text features share a space; use space 'raw'."
            )
        self.norm = config.norm
        self.joint = layers if vision.joint and config.space != "raw" else ()
        self.raw = raw_layers if config.space in ("raw", "both") or not vision.joint else ()
        self.layers = tuple(sorted({*self.joint, *self.raw}))
        self.levels = (
            *(LevelSpec(f"block{layer}", vision.dim, True) for layer in self.joint),
            *(LevelSpec(f"raw{layer}", vision.width, False) for layer in self.raw),
        )

    def forward(self, vision: VisionTower, images: Tensor) -> Features:
        """``[B, 3, H, W]`` to one level a layer and space, each ``[B, h*w, dim]``."""
        x, grid = vision.embed(images)
        # Raw levels are never compared with text, so without joint ones later blocks need not run.
        blocks = vision.blocks if self.joint else vision.blocks[: self.layers[-1]]
        last, kept = forward_blocks(blocks, x, layers=self.layers)
        tokens = {layer: kept[layer][:, vision.prefix :] for layer in self.layers}
        vectors = [vision.project(vision.norm(tokens[layer])) for layer in self.joint]
        vectors += [vision.norm(tokens[layer]) if self.norm else tokens[layer] for layer in self.raw]
        levels = tuple(Level(spec, v, grid) for spec, v in zip(self.levels, vectors, strict=True))
        return Features(levels, vision.pool(last) if self.joint else None)
