"""Residual adapters: behind the first blocks of a frozen tower, a small learned correction is added to the output.

After AA-CLIP (Ma et al., CVPR 2025, section 3): ``x <- (1 - w) x + w a(x)``, where ``a(x)`` is a linear map and a leaky
rectifier, brought to the length of ``x``, and ``w`` is small, so that the tower keeps what it knows. Both towers are
trained together here, without the paper's two stages and its penalty on text embeddings that are alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from vlmad_core.contracts import (
    Backbone,
    Extractor,
    Features,
    Level,
    LevelSpec,
    Prompts,
    Sentence,
    TextEmbeddings,
    TextParts,
    TextTower,
    VisionTower,
    forward_blocks,
    l2_normalize,
    linear,
    resolve_layers,
)
from vlmad_core.errors import IncompatibleError

if TYPE_CHECKING:
    from vlmad_adapters.plugin import AdaptedViewConfig, AdaptedWordsConfig

__all__ = ["AdaptedPatches", "AdaptedWords", "Adapters"]


class Adapters(nn.Module):
    """One adapter behind each of the first blocks of a tower, for :func:`vlmad_core.contracts.forward_blocks`.

    Args:
        width: W of the tower.
        depth: Number of its blocks.
        blocks: How many get an adapter; None for a quarter, rounded up.
        weight: Share of the adapter.

    Raises:
        IncompatibleError: More adapters than there are blocks before the last.
    """

    def __init__(self, width: int, depth: int, blocks: int | None, weight: float) -> None:
        super().__init__()
        count = -(-depth // 4) if blocks is None else blocks
        if count >= depth:
            raise IncompatibleError(
                f"adapters behind {count} blocks, but this tower has {depth}, and the last is followed by none. "
                f"Take blocks from 1 to {depth - 1}."
            )
        self.weight = weight
        self.maps = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(count))
        for map_ in cast("Iterable[nn.Linear]", self.maps):
            nn.init.eye_(map_.weight)  # then the first steps start from nearly the tower as it is

    def before(self, block: int, x: Tensor) -> Tensor:
        """What block number ``block``, from 1, receives instead of ``x``: ``[B, L, W]`` to the same."""
        if not 2 <= block <= len(self.maps) + 1:
            return x
        weight = cast("nn.Linear", self.maps[block - 2]).weight
        given = x.to(weight.dtype)
        learned = l2_normalize(leaky_relu(linear(given, weight))) * given.norm(dim=-1, keepdim=True)
        return torch.lerp(given, learned.to(given.dtype), self.weight).to(x.dtype)


class AdaptedPatches(Extractor):
    """Levels ``stageN``, comparable with text, for each layer: tokens, normed, through a learned linear map each.

    The maps start at random, so the levels mean nothing before training. On a backbone without text there is nothing to
    train towards: no adapters, no maps, and the tokens as they are, ``rawN``.

    Raises:
        IncompatibleError: A layer beyond the tower, or too many adapters.
    """

    def __init__(self, config: AdaptedViewConfig, backbone: Backbone) -> None:
        super().__init__()
        vision, text = backbone.vision, backbone.text
        depth = len(vision.blocks)
        self.layers = resolve_layers(config.layers, depth)
        self.adapters = Adapters(vision.width, depth, config.blocks if text else 0, config.weight)
        self.maps = nn.ModuleList(nn.Linear(vision.width, text.dim) if text else nn.Identity() for _ in self.layers)
        self.joint = vision.joint
        name, dim = ("stage", text.dim) if text else ("raw", vision.width)
        self.levels = tuple(LevelSpec(f"{name}{layer}", dim, text is not None) for layer in self.layers)

    def forward(self, vision: VisionTower, images: Tensor) -> Features:
        """``[B, 3, H, W]`` to one level ``[B, h*w, D]`` a layer, and the image ``[B, D]`` where the tower pools so."""
        x, grid = vision.embed(images)
        blocks = vision.blocks if self.joint else vision.blocks[: self.layers[-1]]
        last, kept = forward_blocks(blocks, x, layers=self.layers, before=self.adapters.before)
        levels = []
        for spec, layer, map_ in zip(self.levels, self.layers, self.maps, strict=True):
            tokens = vision.norm(kept[layer][:, vision.prefix :])
            if isinstance(map_, nn.Linear):
                tokens = linear(tokens.to(map_.weight.dtype), map_.weight, map_.bias)
            levels.append(Level(spec, tokens, grid))
        return Features(tuple(levels), vision.pool(last) if self.joint else None)


class AdaptedWords(Prompts):
    """Two text embeddings, normal and abnormal: means of the sentences' unit vectors from the adapted tower."""

    def __init__(self, config: AdaptedWordsConfig, backbone: Backbone) -> None:
        super().__init__()
        text = backbone.text
        if text is None:
            raise IncompatibleError("prompts need a backbone with text, such as 'open-clip' or 'pocket'.")
        self.adapters = Adapters(text.width, len(text.blocks), config.blocks, config.weight)
        self.states = (config.normal, config.abnormal)
        uses_name = any("{}" in sentence for side in self.states for sentence in side)
        self.class_name_use = "required" if uses_name else "ignored"
        self.register_buffer("abnormal", torch.tensor([False, True]), persistent=False)
        self.abnormal: Tensor

    def forward(self, text: TextTower, names: Sequence[str], features: Features | None = None) -> TextEmbeddings:
        """TextEmbeddings ``[len(names), 2, D]``."""
        distinct = {name: self._pair(text, name.replace("_", " ")) for name in dict.fromkeys(names)}
        return TextEmbeddings(torch.stack([distinct[name] for name in names]), self.abnormal)

    def text_parts(self, text: TextTower, name: str) -> TextParts:
        """Each sentence's unit vector over the number of them and the length of their mean."""
        name = name.replace("_", " ")
        filled = [(i, sentence.replace("{}", name)) for i, side in enumerate(self.states) for sentence in side]
        vectors = [side / (len(side) * side.mean(0).norm()) for side in self._sides(text, name)]
        return TextParts(tuple(Sentence(one, i, one) for i, one in filled), torch.cat(vectors))

    def _pair(self, text: TextTower, name: str) -> Tensor:
        return l2_normalize(torch.stack([side.mean(0) for side in self._sides(text, name)]))  # [2, D]

    def _sides(self, text: TextTower, name: str) -> tuple[Tensor, ...]:
        """The unit vectors of the sentences of both states."""
        sentences = [sentence.replace("{}", name) for side in self.states for sentence in side]
        ids = text.trim(text.tokenize(sentences))
        length = ids.shape[1]
        mask = None if text.mask is None else text.mask[:length, :length]
        x, _ = forward_blocks(text.blocks, text.add_positions(text.embed(ids)), mask=mask, before=self.adapters.before)
        sides: tuple[Tensor, ...] = l2_normalize(text.pool(x, ids)).split([len(side) for side in self.states])
        return sides
