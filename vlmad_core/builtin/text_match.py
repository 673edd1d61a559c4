"""Scorer: softmax of the cosine between local evidence and the words for normal and abnormal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from vlmad_core.contracts.data import Features, LevelSpec, Scores, TextEmbeddings
from vlmad_core.contracts.ops import combine, resize, similarity_logits, softmax_similarity, topk_mean
from vlmad_core.contracts.parts import Scorer, select_levels
from vlmad_core.errors import IncompatibleError

if TYPE_CHECKING:
    from vlmad_core.builtin.plugin import TextMatchConfig

__all__ = ["TextMatch"]


class TextMatch(Scorer):
    """Probability of "abnormal" for each region, averaged over the regions above a cell, then over levels.

    It is resized to pixels as a probability (WinCLIP, AnomalyCLIP), or its logits are, before the softmax (APRIL-GAN).

    Raises:
        IncompatibleError: No text, or no level that can be compared with it.
    """

    needs_text: ClassVar[bool] = True

    def __init__(self, config: TextMatchConfig, levels: Sequence[LevelSpec], dim: int | None) -> None:
        super().__init__()
        if dim is None:
            there = ", ".join(map(str, levels))
            raise IncompatibleError(
                "compares with text, but the backbone has none; its levels are only: "
                f"{there}. Use scorer 'memory' with normal images, or a backbone with text such as 'open-clip'."
            )
        self.chosen = tuple(level.name for level in select_levels(levels, config.levels, joint=True))
        self.config = config

    def forward(self, features: Features, text_embeddings: TextEmbeddings | None, size: tuple[int, int]) -> Scores:
        """Maps in [0, 1] for ``combine`` mean, harmonic and max; up to the number of levels for sum."""
        if text_embeddings is None:
            raise IncompatibleError("compares with words and was given none; the pipeline has no prompts.")
        corners = self.config.align_corners
        if self.config.upsample == "logits":
            maps = {name: self.pixels(features, text_embeddings, name, size) for name in self.chosen}
            fused = combine(list(maps.values()), self.config.combine)
            return Scores(self.image_score(features, text_embeddings, fused), fused, maps)
        cells = {name: self.cells(features, text_embeddings, name) for name in self.chosen}
        maps = {name: resize(grid, size, align_corners=corners) for name, grid in cells.items()}
        # Levels may differ in grid; on one grid, combining before the resize is the papers' order and is cheaper.
        grids = {tuple(grid.shape[-2:]) for grid in cells.values()}
        fused = combine(list((cells if len(grids) == 1 else maps).values()), self.config.combine)
        return Scores(
            self.image_score(features, text_embeddings, fused), resize(fused, size, align_corners=corners), maps
        )

    def image_score(self, features: Features, text_embeddings: TextEmbeddings, fused: Tensor) -> Tensor:
        """``[B]``, from the whole image, the highest cells (pixels, where logits are resized), or both."""
        top = topk_mean(fused, self.config.top)
        if self.config.image == "max" or features.image is None:
            return top
        whole = self.probability(features.image, text_embeddings)
        return (whole + top) / 2 if self.config.image == "both" else whole

    def cells(self, features: Features, text_embeddings: TextEmbeddings, name: str) -> Tensor:
        """``[B, h, w]`` of one level."""
        level = features[name]
        return level.to_map(self.probability(level.vectors, text_embeddings), self.config.regions)

    def pixels(self, features: Features, text_embeddings: TextEmbeddings, name: str, size: tuple[int, int]) -> Tensor:
        """``[B, H, W]`` of one level, with the softmax after the resize."""
        level = features[name]
        states = similarity_logits(level.vectors, text_embeddings.vectors, self.config.temperature).movedim(
            -1, 1
        )  # [B, S, M]
        states = resize(level.to_map(states), size, align_corners=self.config.align_corners)  # [B, S, H, W]
        return states.softmax(1)[:, text_embeddings.abnormal.to(torch.bool)].sum(1)

    def probability(self, vectors: Tensor, text_embeddings: TextEmbeddings) -> Tensor:
        """``[B, ..., D]`` to the probability of any abnormal state, ``[B, ...]``."""
        states = softmax_similarity(vectors, text_embeddings.vectors, self.config.temperature)
        return states[..., text_embeddings.abnormal.to(torch.bool)].sum(-1)
