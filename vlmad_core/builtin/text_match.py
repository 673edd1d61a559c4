"""Scorer: softmax of the cosine between local features and the text embeddings of normal and abnormal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from vlmad_core.contracts.data import Features, LevelSpec, Scores, TextEmbeddings
from vlmad_core.contracts.level_maps import combine_levels
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
        self.maximum = float(len(self.chosen)) if config.combine == "sum" else 1.0

    def forward(self, features: Features, text_embeddings: TextEmbeddings | None, size: tuple[int, int]) -> Scores:
        """Maps in [0, 1] for ``combine`` mean, harmonic and max; up to the number of levels for sum."""
        if text_embeddings is None:
            raise IncompatibleError("compares features with text embeddings and got none; the pipeline has no prompts.")
        if self.config.upsample == "logits":
            maps = {name: self.pixels(features, text_embeddings, name, size) for name in self.chosen}
            fused = combine(list(maps.values()), self.config.combine)
            return Scores(self.image_score(features, text_embeddings, fused), fused, maps)
        cells = {name: self.cells(features, text_embeddings, name) for name in self.chosen}
        found = combine_levels(cells, size, self.config.combine, align_corners=self.config.align_corners)
        image = self.image_score(features, text_embeddings, found.fused)
        return Scores(image, found.anomaly_map, found.levels)

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
        logits = similarity_logits(level.vectors, text_embeddings.vectors, self.config.temperature)
        maps = resize(level.to_map(logits.movedim(-1, 1)), size, align_corners=self.config.align_corners)  # [B,S,H,W]
        return _sum_abnormal(maps.softmax(1).movedim(1, -1), text_embeddings.abnormal)

    def probability(self, vectors: Tensor, text_embeddings: TextEmbeddings) -> Tensor:
        """``[B, ..., D]`` to the probability of any abnormal state, ``[B, ...]``."""
        states = softmax_similarity(vectors, text_embeddings.vectors, self.config.temperature)
        return _sum_abnormal(states, text_embeddings.abnormal)


def _sum_abnormal(states: Tensor, abnormal: Tensor) -> Tensor:
    """``[..., S]`` to ``[...]``; not by a boolean index, for which a GPU would have to stop and report its length."""
    return states.masked_fill(~abnormal.to(states.device, torch.bool), 0).sum(-1)
