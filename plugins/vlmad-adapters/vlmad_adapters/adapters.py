"""Residual adapters: behind the first blocks of a frozen tower, a little of what is learned joins what the block gave.

After AA-CLIP (Ma et al., CVPR 2025, section 3): ``x <- (1 - w) x + w a(x)``, where ``a(x)`` is a linear map and a leaky
rectifier, brought to the length of ``x``, and ``w`` is small, so that the tower keeps what it knows. Both towers are
trained together here, without the paper's two stages and its penalty on words that are alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from vlmad_core import (
    Anchors,
    Backbone,
    Extractor,
    Features,
    IncompatibleError,
    Level,
    LevelSpec,
    Prompts,
    TextTower,
    VisionTower,
    linear,
    unit,
    walk,
)

if TYPE_CHECKING:
    from vlmad_adapters.plugin import AdaptedViewConfig, AdaptedWordsConfig

__all__ = ["AdaptedPatches", "AdaptedWords", "Adapters"]


class Adapters(nn.Module):
    """One adapter behind each of the first blocks of a tower, to be handed to :func:`vlmad_core.walk`.

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
        learned = unit(leaky_relu(linear(given, weight))) * given.norm(dim=-1, keepdim=True)
        return torch.lerp(given, learned.to(given.dtype), self.weight).to(x.dtype)


class AdaptedPatches(Extractor):
    """Levels ``stageN``, comparable with text, for each tap: tokens, normed, through a learned linear map each.

    The maps start at random, so the levels mean nothing before training. On a backbone without text there is nothing to
    learn from: no adapters, no maps, and the tokens as they are, ``rawN``.

    Raises:
        IncompatibleError: A tap beyond the tower, or too many adapters.
    """

    def __init__(self, config: AdaptedViewConfig, backbone: Backbone) -> None:
        super().__init__()
        vision, text = backbone.vision, backbone.text
        depth = len(vision.blocks)
        self.taps = _taps(config.taps, depth)
        self.adapters = Adapters(vision.width, depth, config.blocks if text else 0, config.weight)
        self.maps = nn.ModuleList(nn.Linear(vision.width, text.dim) if text else nn.Identity() for _ in self.taps)
        self.joint = vision.joint
        name, dim = ("stage", text.dim) if text else ("raw", vision.width)
        self.levels = tuple(LevelSpec(f"{name}{tap}", dim, text is not None) for tap in self.taps)

    def forward(self, vision: VisionTower, images: Tensor) -> Features:
        """``[B, 3, H, W]`` to one level ``[B, h*w, D]`` a tap, and the image ``[B, D]`` where the tower pools so."""
        x, grid = vision.embed(images)
        blocks = vision.blocks if self.joint else vision.blocks[: self.taps[-1]]
        last, kept = walk(blocks, x, taps=self.taps, before=self.adapters.before)
        levels = []
        for spec, tap, map_ in zip(self.levels, self.taps, self.maps, strict=True):
            tokens = vision.norm(kept[tap][:, vision.prefix :])
            if isinstance(map_, nn.Linear):
                tokens = linear(tokens.to(map_.weight.dtype), map_.weight, map_.bias)
            levels.append(Level(spec, tokens, grid))
        return Features(tuple(levels), vision.pool(last) if self.joint else None)


class AdaptedWords(Prompts):
    """Two anchors, normal and abnormal: means of the sentences' unit vectors from the adapted tower."""

    takes_names = True

    def __init__(self, config: AdaptedWordsConfig, backbone: Backbone) -> None:
        super().__init__()
        text = backbone.text
        if text is None:
            raise IncompatibleError("words need a backbone with text, such as 'open-clip' or 'pocket'.")
        self.adapters = Adapters(text.width, len(text.blocks), config.blocks, config.weight)
        self.states = (config.normal, config.abnormal)
        self.needs_names = self.takes_names = any("{}" in sentence for side in self.states for sentence in side)
        self.register_buffer("abnormal", torch.tensor([False, True]), persistent=False)
        self.abnormal: Tensor

    def forward(self, text: TextTower, names: Sequence[str], features: Features | None = None) -> Anchors:
        """Anchors ``[len(names), 2, D]``."""
        distinct = {name: self._pair(text, name.replace("_", " ")) for name in dict.fromkeys(names)}
        return Anchors(torch.stack([distinct[name] for name in names]), self.abnormal)

    def _pair(self, text: TextTower, name: str) -> Tensor:
        sentences = [sentence.replace("{}", name) for side in self.states for sentence in side]
        ids = text.trim(text.tokenize(sentences))
        length = ids.shape[1]
        mask = None if text.mask is None else text.mask[:length, :length]
        x, _ = walk(text.blocks, text.add_positions(text.embed(ids)), mask=mask, before=self.adapters.before)
        sides = unit(text.pool(x, ids)).split([len(side) for side in self.states])
        return unit(torch.stack([side.mean(0) for side in sides]))  # [2, D]


def _taps(given: Sequence[int], depth: int) -> tuple[int, ...]:
    """In order, each once; empty: the last block of each quarter of the tower, rounded up."""
    if not given:
        return tuple(sorted({-(-depth * quarter // 4) for quarter in (1, 2, 3, 4)}))
    taps = tuple(sorted({tap + depth + 1 if tap < 0 else tap for tap in given}))
    if not all(1 <= tap <= depth for tap in taps):
        raise IncompatibleError(f"taps {list(given)} leave this tower; it has blocks 1 to {depth}, -1 being the last.")
    return taps
