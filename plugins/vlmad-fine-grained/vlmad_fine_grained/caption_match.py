"""Scorer: each patch against the sentences of the part that it fits best.

FineGrainedAD (arXiv 2510.26464), written from its description: patches of an image are grouped, groups are aligned with
the sentences of parts and background, and the probability of "abnormal" of a patch is that of its best level alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vlmad_core.contracts import (
    WHOLE_IMAGE,
    Features,
    LevelSpec,
    Scorer,
    Scores,
    TextEmbeddings,
    TextWeights,
    combine_levels,
    l2_normalize,
    select_levels,
    topk_mean,
)
from vlmad_core.contracts.ops import similarity_logits, softmax_shares
from vlmad_core.errors import IncompatibleError
from vlmad_fine_grained.groups import group_tokens

if TYPE_CHECKING:
    from vlmad_fine_grained.plugin import CaptionMatchConfig

__all__ = ["CaptionMatch"]


class CaptionMatch(Scorer):
    """Probability of "abnormal" of each patch under the level that it fits best.

    A patch fits a level by its cosines to the normal and the abnormal text embedding, added; to that comes, with
    ``group_weight``, the mean of the same over the patches of its group. The first level is the whole image and is
    compared with the whole image alone, if there are others. Text embeddings that are not in pairs are one level.

    Raises:
        IncompatibleError: No text, or no level that can be compared with it.
    """

    needs_text: ClassVar[bool] = True
    maximum = 1.0
    no_export: ClassVar[str] = "the patches of each image are grouped by k-means, which is no fixed function"

    def __init__(self, config: CaptionMatchConfig, levels: Sequence[LevelSpec], dim: int | None) -> None:
        super().__init__()
        if dim is None:
            there = ", ".join(map(str, levels))
            raise IncompatibleError(
                f"compares with text, but the backbone has none; its levels are only: {there}. Use scorer 'parts' or "
                "'memory' with normal images, or a backbone with text such as 'open-clip'."
            )
        self.level = select_levels(levels, (config.level,), joint=True)[-1].name
        self.config = config

    def forward(self, features: Features, text_embeddings: TextEmbeddings | None, size: tuple[int, int]) -> Scores:
        """Scores and maps in [0, 1]."""
        if text_embeddings is None:
            raise IncompatibleError("compares features with text embeddings and got none; the pipeline has no prompts.")
        return self.combine_regions(self.region_values(features, text_embeddings, size), features, size)

    def region_values(
        self, features: Features, text_embeddings: TextEmbeddings | None, size: tuple[int, int]
    ) -> dict[str, Tensor]:
        """Probabilities of the patches, and of the whole image where it has a score."""
        assert text_embeddings is not None
        chosen = self.assign(features, text_embeddings)
        values = {self.level: self._probability(features[self.level].vectors, text_embeddings, chosen)}
        if self.config.image != "max" and features.image is not None:
            whole = features.image[:, None]
            values[WHOLE_IMAGE] = self._probability(whole, text_embeddings, chosen.new_zeros(len(whole), 1))
        return values

    def combine_regions(self, values: Mapping[str, Tensor], features: Features, size: tuple[int, int]) -> Scores:
        """Patches to a map; the image score is of the whole image, of the highest patches, or the mean of both."""
        cells = features[self.level].to_map(values[self.level])
        maps = combine_levels({self.level: cells}, size, "mean")
        highest = topk_mean(maps.fused, self.config.top)
        if WHOLE_IMAGE not in values:
            return Scores(highest, maps.anomaly_map, maps.levels)
        whole = values[WHOLE_IMAGE][:, 0]
        return Scores((whole + highest) / 2 if self.config.image == "both" else whole, maps.anomaly_map, maps.levels)

    def assign(self, features: Features, text_embeddings: TextEmbeddings) -> Tensor:
        """``[B, M]``: the number of the level that each patch is compared with."""
        fits, groups = self._fits(features, text_embeddings)
        chosen = (fits + self.config.group_weight * (groups.transpose(1, 2) @ _group_means(fits, groups))).argmax(-1)
        return chosen + _first_local(text_embeddings)

    def text_weights(
        self,
        features: Features,
        text_embeddings: TextEmbeddings,
        size: tuple[int, int],
        gradients: Mapping[str, Tensor],
    ) -> TextWeights:
        """The probability beyond even odds, divided over the two cosines of the level that decided."""
        members, abnormal = _members(text_embeddings)
        chosen = self.assign(features, text_embeddings)
        base, cosines = {}, {}
        for name, gradient in gradients.items():
            whole = features.image
            is_whole = name == WHOLE_IMAGE and whole is not None
            vectors = whole[:, None] if is_whole and whole is not None else features[name].vectors
            of = members[chosen.new_zeros(len(vectors), 1) if is_whole else chosen]  # [B, M, K]
            logits = similarity_logits(vectors, text_embeddings.vectors, self.config.temperature)
            shares, even = softmax_shares(logits.gather(-1, of), abnormal)
            factors = gradient[..., None] * shares / self.config.temperature
            base[name] = even * gradient.sum(-1)
            cosines[name] = torch.zeros_like(logits).scatter(-1, of, factors.to(logits.dtype))
        return TextWeights(base, cosines)

    def losses(
        self, features: Features, text_embeddings: TextEmbeddings | None, labels: Tensor
    ) -> Mapping[str, Tensor]:
        """Cross-entropy and triplet margin of normal images, mean over the levels; nothing without pairs of states.

        The whole image is compared with the first level; of the groups of patches one is aligned with each other level,
        none with two where there are enough. The margin is between the distances to the abnormal and to the normal
        embedding, of unit vectors.
        """
        if text_embeddings is None:
            return {}
        members, abnormal = _members(text_embeddings)
        if members.shape[1] != 2 or not bool(abnormal[1]):
            return {}
        matched = self._matched(features, text_embeddings)  # [B, L, D]
        pairs = text_embeddings.vectors[:, members]  # [B, L, 2, D]
        cosines = torch.einsum("bld,blkd->blk", matched.to(pairs.dtype), pairs)
        distances = (2 - 2 * cosines).clamp_min(1e-6).sqrt()
        entropy = -(cosines / self.config.temperature).log_softmax(-1)[..., 0]
        triplet = F.relu(distances[..., 0] - distances[..., 1] + self.config.margin)
        weights = (labels == 0).to(entropy.dtype)
        weights = weights / weights.sum().clamp_min(1)
        return {"cross_entropy": entropy.mean(1) @ weights, "triplet": triplet.mean(1) @ weights}

    def _matched(self, features: Features, text_embeddings: TextEmbeddings) -> Tensor:
        """``[B, L, D]`` of unit length: the whole image, then for each other level the group aligned with it."""
        from scipy.optimize import linear_sum_assignment

        vectors = l2_normalize(features[self.level].vectors)
        whole = vectors.mean(1) if features.image is None else features.image
        found = [l2_normalize(whole)[:, None]]
        if _first_local(text_embeddings):
            fits, groups = self._fits(features, text_embeddings)
            means = l2_normalize(_group_means(vectors, groups))  # [B, G, D]
            table = _group_means(fits, groups)  # [B, G, L - 1]
            best = table.argmax(1)
            for image, one in enumerate(table.cpu().double().numpy()):
                rows, columns = linear_sum_assignment(-one)
                best[image, torch.from_numpy(columns)] = torch.from_numpy(rows).to(best)
            found.append(means.gather(1, best[..., None].expand(-1, -1, means.shape[-1])))
        return torch.cat(found, 1)

    def _fits(self, features: Features, text_embeddings: TextEmbeddings) -> tuple[Tensor, Tensor]:
        """How well each patch fits each level that patches are compared with, ``[B, M, L]``; groups ``[B, G, M]``."""
        vectors = l2_normalize(features[self.level].vectors.detach().float())
        members, abnormal = _members(text_embeddings)
        cosines = vectors @ text_embeddings.vectors.detach().to(vectors).transpose(1, 2)
        cosines = cosines[..., members[_first_local(text_embeddings) :]]  # [B, M, L, K]
        fits = cosines[..., ~abnormal].mean(-1) + cosines[..., abnormal].mean(-1)
        found = group_tokens(vectors.cpu().double().numpy().astype(np.float64), self.config.groups)
        groups = F.one_hot(torch.from_numpy(found).to(fits.device), int(found.max()) + 1).to(fits).transpose(1, 2)
        return fits, groups

    def _probability(self, vectors: Tensor, text_embeddings: TextEmbeddings, chosen: Tensor) -> Tensor:
        """``[B, M]``: of the abnormal states of the chosen levels."""
        members, abnormal = _members(text_embeddings)
        logits = similarity_logits(vectors, text_embeddings.vectors, self.config.temperature)
        shares = logits.gather(-1, members[chosen]).softmax(-1)
        return shares.masked_fill(~abnormal, 0).sum(-1)


def _members(text_embeddings: TextEmbeddings) -> tuple[Tensor, Tensor]:
    """The states of each level, ``[L, K]``, and which of the K are abnormal: pairs, or else all states as one level."""
    abnormal = text_embeddings.abnormal.to(text_embeddings.vectors.device, torch.bool)
    normal_states, abnormal_states = (~abnormal).nonzero()[:, 0], abnormal.nonzero()[:, 0]
    if len(normal_states) == len(abnormal_states):
        return torch.stack([normal_states, abnormal_states], 1), torch.tensor([False, True], device=abnormal.device)
    return torch.arange(len(abnormal), device=abnormal.device)[None], abnormal


def _first_local(text_embeddings: TextEmbeddings) -> int:
    """Number of the first level that patches are compared with."""
    return 1 if len(_members(text_embeddings)[0]) > 1 else 0


def _group_means(values: Tensor, groups: Tensor) -> Tensor:
    """``[B, M, X]`` to the mean over each group, ``[B, G, X]``."""
    groups = groups.to(values)
    return (groups @ values) / groups.sum(-1, keepdim=True).clamp_min(1)
