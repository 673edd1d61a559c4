"""The losses that the papers train with, as pure functions of probabilities, differentiable, in at least float32."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["cross_entropy", "dice", "focal"]

_LEAST = 1e-12
"""What a probability counts for at least under a logarithm: it only keeps the loss from being infinite."""


def focal(probability: Tensor, target: Tensor, *, gamma: float = 2.0, smooth: float = 1e-5) -> Tensor:
    """Focal loss of two classes (Lin et al., ICCV 2017), as APRIL-GAN and AnomalyCLIP smooth it, mean over pixels.

    With ``q`` the probability of the true side, ``t = (1 - 2 s) q + 2 s`` and the loss is ``-(1 - t)^gamma log t``.

    Args:
        probability: ``[B, H, W]`` of abnormal, in [0, 1].
        target: ``[B, H, W]``, 1 where abnormal, 0 elsewhere.
        gamma: How little a pixel counts that is judged well already; 0 is cross-entropy.
        smooth: ``s``, by which the one-hot target is moved away from 0 and 1.

    >>> focal(torch.tensor([[[0.9, 0.2]]]), torch.tensor([[[1.0, 0.0]]]))
    tensor(0.0050)
    """
    probability, target = _pair(probability, target)
    true_side = probability * target + (1 - probability) * (1 - target)
    t = (1 - 2 * smooth) * true_side + 2 * smooth
    # t passes 1 by a rounding at most; a negative base would have no power for a gamma that is not whole
    return -((1 - t).clamp_min(0) ** gamma * t.log()).mean()


def dice(probability: Tensor, target: Tensor) -> Tensor:
    """Dice loss of each image with smoothing 1, mean over the batch, in [0, 1].

    ``1 - (2 sum(p y) + 1) / (sum(p) + sum(y) + 1)``, sums over the pixels of an image.

    Args:
        probability: ``[B, H, W]`` of one side, in [0, 1].
        target: ``[B, H, W]``, 1 on that side, 0 elsewhere.

    >>> dice(torch.tensor([[[0.9, 0.2]]]), torch.tensor([[[1.0, 0.0]]]))
    tensor(0.0968)
    """
    probability, target = (x.flatten(1) for x in _pair(probability, target))
    both = (probability * target).sum(1)
    return (1 - (2 * both + 1) / (probability.sum(1) + target.sum(1) + 1)).mean()


def cross_entropy(probability: Tensor, label: Tensor) -> Tensor:
    """``-log`` of the probability of the true side, mean over the batch.

    Args:
        probability: ``[B]`` of abnormal, in [0, 1].
        label: ``[B]``, 1 or True where abnormal.

    >>> cross_entropy(torch.tensor([0.5, 0.5]), torch.tensor([True, False]))
    tensor(0.6931)
    """
    probability, label = _pair(probability, label)
    true_side = probability * label + (1 - probability) * (1 - label)
    return -true_side.clamp_min(_LEAST).log().mean()


def _pair(probability: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    if probability.dtype not in (torch.float32, torch.float64):
        probability = probability.float()
    return probability, target.to(probability)
