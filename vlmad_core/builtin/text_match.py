"""Scorer: softmax of the cosine between local features and the text embeddings of normal and abnormal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from vlmad_core.contracts.data import Features, LevelSpec, Scores, TextEmbeddings
from vlmad_core.contracts.level_maps import combine_levels
from vlmad_core.contracts.ops import combine, resize, similarity_logits, softmax_shares, softmax_similarity, topk_mean
from vlmad_core.contracts.parts import WHOLE_IMAGE, Scorer, TextWeights, select_levels
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
        return self.combine_regions(self.region_values(features, text_embeddings, size), features, size)

    def region_values(
        self, features: Features, text_embeddings: TextEmbeddings | None, size: tuple[int, int]
    ) -> dict[str, Tensor]:
        """Probabilities of the regions of each level, or of pixels, and of the whole image where it has a score."""
        assert text_embeddings is not None
        of = self.pixels if self.config.upsample == "logits" else self.regions
        values = {name: of(features, text_embeddings, name, size) for name in self.chosen}
        if self.config.image != "max" and features.image is not None:
            values[WHOLE_IMAGE] = self.probability(features.image, text_embeddings)[:, None]
        return values

    def combine_regions(self, values: Mapping[str, Tensor], features: Features, size: tuple[int, int]) -> Scores:
        """Regions to cells, cells of all levels to one map; the image score is of the whole image, the map, or both."""
        if self.config.upsample == "logits":
            maps = {name: values[name].unflatten(-1, size) for name in self.chosen}
            fused = combine(list(maps.values()), self.config.combine)
            return Scores(self.image_score(values, fused), fused, maps)
        cells = {name: features[name].to_map(values[name], self.config.regions) for name in self.chosen}
        found = combine_levels(cells, size, self.config.combine, align_corners=self.config.align_corners)
        return Scores(self.image_score(values, found.fused), found.anomaly_map, found.levels)

    def image_score(self, values: Mapping[str, Tensor], fused: Tensor) -> Tensor:
        """``[B]``, from the whole image, the highest cells (pixels, where logits are resized), or both."""
        if WHOLE_IMAGE not in values:
            return topk_mean(fused, self.config.top)
        whole = values[WHOLE_IMAGE][:, 0]
        return (whole + topk_mean(fused, self.config.top)) / 2 if self.config.image == "both" else whole

    def regions(self, features: Features, text_embeddings: TextEmbeddings, name: str, size: tuple[int, int]) -> Tensor:
        """``[B, M]`` of one level."""
        return self.probability(features[name].vectors, text_embeddings)

    def pixels(self, features: Features, text_embeddings: TextEmbeddings, name: str, size: tuple[int, int]) -> Tensor:
        """``[B, H * W]`` of one level, with the softmax after the resize."""
        logits = self._resized(features, similarity_logits(*self._pair(features, text_embeddings, name)), name, size)
        return _sum_abnormal(logits.softmax(-1), text_embeddings.abnormal)

    def text_weights(
        self,
        features: Features,
        text_embeddings: TextEmbeddings,
        size: tuple[int, int],
        gradients: Mapping[str, Tensor],
    ) -> TextWeights:
        """The probability beyond even odds, divided over the cosines by integrated gradients (see `softmax_shares`)."""
        base, cosines = {}, {}
        for name, gradient in gradients.items():
            vectors, texts, temperature = self._pair(features, text_embeddings, name)
            logits = similarity_logits(vectors, texts, temperature)
            is_resized = self.config.upsample == "logits" and name != WHOLE_IMAGE
            at = self._resized(features, logits, name, size) if is_resized else logits
            shares, even = softmax_shares(at, text_embeddings.abnormal)
            factors = gradient[..., None] * shares / temperature
            base[name] = even * gradient.sum(-1)
            cosines[name] = self._spread(features, factors, logits, name, size) if is_resized else factors
        return TextWeights(base, cosines)

    def _pair(self, features: Features, text_embeddings: TextEmbeddings, name: str) -> tuple[Tensor, Tensor, float]:
        if name != WHOLE_IMAGE:
            return features[name].vectors, text_embeddings.vectors, self.config.temperature
        assert features.image is not None
        return features.image[:, None], text_embeddings.vectors, self.config.temperature

    def _resized(self, features: Features, logits: Tensor, name: str, size: tuple[int, int]) -> Tensor:
        """``[B, M, S]`` to ``[B, H * W, S]``."""
        cells = features[name].to_map(logits.movedim(-1, 1))
        return resize(cells, size, align_corners=self.config.align_corners).flatten(2).movedim(1, -1)

    def _spread(self, features: Features, factors: Tensor, logits: Tensor, name: str, size: tuple[int, int]) -> Tensor:
        """Factors of pixels ``[B, H * W, S]`` to those of the regions ``[B, M, S]``: the resize is linear."""
        with torch.enable_grad():
            leaf = torch.zeros_like(logits, requires_grad=True)
            pixels = self._resized(features, leaf, name, size)
            (found,) = torch.autograd.grad(pixels, leaf, factors.to(pixels.dtype))
        return found

    def probability(self, vectors: Tensor, text_embeddings: TextEmbeddings) -> Tensor:
        """``[B, ..., D]`` to the probability of any abnormal state, ``[B, ...]``."""
        states = softmax_similarity(vectors, text_embeddings.vectors, self.config.temperature)
        return _sum_abnormal(states, text_embeddings.abnormal)


def _sum_abnormal(states: Tensor, abnormal: Tensor) -> Tensor:
    """``[..., S]`` to ``[...]``; not by a boolean index, for which a GPU would have to stop and report its length."""
    return states.masked_fill(~abnormal.to(states.device, torch.bool), 0).sum(-1)
