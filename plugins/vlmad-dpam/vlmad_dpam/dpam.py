"""Extractor: a second, local path beside the stream of a vision transformer.

In CLIP's last blocks a patch token attends mostly to the whole image, which blurs positions. CLIP Surgery (Li et al.,
2023) and AnomalyCLIP's diagonally prominent attention (DPAM; Zhou et al., ICLR 2024) run a second path in
which values attend to values; others attend query to query or key to key, or not at all. Nothing is trained: the
weights are the block's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vlmad_core.contracts import (
    Backbone,
    Block,
    Extractor,
    Features,
    Level,
    LevelSpec,
    VisionTower,
    resolve_layer,
    resolve_layers,
)
from vlmad_core.errors import IncompatibleError

if TYPE_CHECKING:
    from vlmad_dpam.plugin import Attention, DpamConfig

__all__ = ["Dpam", "attend_locally"]


class Dpam(Extractor):
    """Levels ``localN``, the second path after block N: in the joint space, or normed tokens where there is none.

    From block ``start`` on, with q, k, v of the *stream* x before the block (not of the second path)::

        local = local + attend(v, v, v)
        x     = x + attend(q, k, v);  x = x + mlp(x)

    so the image feature is exactly that of the tower. Before ``start`` both paths are one.

    Raises:
        IncompatibleError: A block beyond the tower, or ``pool_norm: false`` where no class token is pooled.
    """

    def __init__(self, config: DpamConfig, backbone: Backbone) -> None:
        super().__init__()
        vision = backbone.vision
        depth = len(vision.blocks)
        start = max(1, depth // 4) if config.start is None else resolve_layer(config.start, depth, option="start")
        if not (config.pool_norm or vision.class_pool) and vision.joint:
            raise IncompatibleError(
                "pool_norm false projects the class token, and this tower pools none; use pool_norm true."
            )
        self.config, self.start, self.layers = config, start, resolve_layers(config.layers, depth)
        dim = vision.dim if vision.joint else vision.width
        self.levels = tuple(LevelSpec(f"local{layer}", dim, vision.joint) for layer in self.layers)

    def forward(self, vision: VisionTower, images: Tensor) -> Features:
        """``[B, 3, H, W]`` to one level a layer, each ``[B, h*w, dim]``."""
        tokens, grid = vision.embed(images)
        vectors, image = [], None
        for i, x, local in self.paths(vision, tokens):
            if i in self.layers:
                patches = vision.norm(local[:, vision.prefix :])
                vectors.append(vision.project(patches) if vision.joint else patches)
            if i == self.layers[-1] and not vision.joint:
                break  # the image feature is not used
            if i == len(vision.blocks):
                image = vision.pool(x) if self.config.pool_norm else vision.project(x[:, 0])
        levels = tuple(Level(spec, v, grid) for spec, v in zip(self.levels, vectors, strict=True))
        return Features(levels, image)

    def paths(self, vision: VisionTower, x: Tensor) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Number of each block, stream and second path after it, ``[B, L, W]``; the latter ends with the last layer."""
        local = x
        for i, block in enumerate(vision.blocks, start=1):
            if self.start <= i <= self.layers[-1]:
                q, k, v = block.qkv(x)
                if i == self.start and not self.config.residual:
                    local = torch.zeros_like(x)
                local = local + attend_locally(block, q, k, v, self.config.attention)
                x = x + block.attend(q, k, v)
                x = x + block.mlp(x)
            else:
                x = block(x)
                local = x if i < self.start else local
            yield i, x, local


def attend_locally(block: Block, q: Tensor, k: Tensor, v: Tensor, attention: Attention) -> Tensor:
    """What the second path adds in one block: ``[B, heads, L, W/heads]`` each, to ``[B, L, W]``.

    Args:
        block: Whose output projection is used.
        q: Queries.
        k: Keys.
        v: Values.
        attention: ``"vv"``, ``"qq"`` and ``"kk"`` attend with the values, queries or keys in the place of both queries
            and keys. ``"qq+kk"`` is the mean of two of them; SCLIP (Wang et al., ECCV 2024) adds the two tables of
            attention, the mean keeps the size of the others. ``"value"`` gives each token its own value.
    """
    if attention == "value":
        alone = [v.transpose(1, 2).flatten(0, 1).unsqueeze(2)] * 3  # a batch of single tokens: softmax of one is 1
        return block.attend(*alone).view(len(v), v.shape[2], -1)
    if attention == "qq+kk":
        return (block.attend(q, q, v) + block.attend(k, k, v)) / 2
    peers = {"vv": v, "qq": q, "kk": k}[attention]
    return block.attend(peers, peers, v)
