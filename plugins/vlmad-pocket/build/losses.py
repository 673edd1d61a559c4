"""What the joint space is asked for: maps, pictures, captions, kinds, and nothing for nonsense."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

TEMPERATURE = 0.07
"""What the scorer text-match divides a cosine by."""


def logits(vectors: Tensor, normal: Tensor, abnormal: Tensor) -> Tensor:
    """``[B, ..., D]`` against one pair of anchors a picture, ``[B, D]`` each: the logit of abnormal, ``[B, ...]``."""
    return torch.einsum("b...d,bd->b...", vectors, abnormal - normal) / TEMPERATURE


def focal(logit: Tensor, target: Tensor, weight: Tensor, *, gamma: float = 2.0, alpha: float = 0.7) -> Tensor:
    """Mean over cells, counting those that are defective ``alpha : 1 - alpha``."""
    bce = functional.binary_cross_entropy_with_logits(logit, target, reduction="none")
    probability = torch.sigmoid(logit)
    wrong = target * (1 - probability) + (1 - target) * probability
    balance = alpha * target + (1 - alpha) * (1 - target)
    return 4 * (balance * wrong**gamma * bce * weight).sum() / weight.sum()


def dice(logit: Tensor, target: Tensor, is_abnormal: Tensor) -> Tensor:
    """Soft Dice of each defective picture, ``[B, M]``; normal ones have their turn in :func:`focal`."""
    probability = torch.sigmoid(logit)
    both = 2 * (probability * target).sum(1) + 1
    loss = 1 - both / (probability.square().sum(1) + target.square().sum(1) + 1)
    return (loss * is_abnormal).sum() / is_abnormal.sum().clamp_min(1)


def top_mean(logit: Tensor, share: float = 0.01) -> Tensor:
    """The mean of the highest cells, ``[B, M]`` to ``[B]``: at least three."""
    return logit.topk(max(3, round(share * logit.shape[1])), dim=1).values.mean(1)


def contrast(left: Tensor, right: Tensor, same: Tensor) -> Tensor:
    """InfoNCE both ways between unit ``[B, D]`` and ``[P, D]``; ``same`` ``[B, P]`` says who belongs together."""
    similarity = left @ right.T / TEMPERATURE
    to_right = torch.logsumexp(similarity, 1) - torch.logsumexp(similarity.masked_fill(~same, -torch.inf), 1)
    to_left = torch.logsumexp(similarity, 0) - torch.logsumexp(similarity.masked_fill(~same, -torch.inf), 0)
    return (to_right.mean() + to_left[same.any(0)].mean()) / 2


def name_kinds(vectors: Tensor, words: Tensor, kind: Tensor) -> Tensor:
    """Cross-entropy of regions ``[R, D]`` over what kinds are called ``[K, D]``."""
    return functional.cross_entropy(vectors @ words.T / TEMPERATURE, kind)
