"""The losses that the papers train with, as pure functions of probabilities, and the loss of a batch as their sum.

All are differentiable and computed in at least float32.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from vlmad_core.contracts.data import Scores
from vlmad_core.errors import IncompatibleError
from vlmad_core.training.options import TrainingOptions

__all__ = [
    "batch_losses",
    "check_scores",
    "cross_entropy",
    "dice",
    "focal",
    "loss_names",
    "total_loss",
]

_SMALLEST = 1e-12
"""Smallest probability under a logarithm: it only keeps the loss from being infinite."""


def focal(probability: Tensor, target: Tensor, *, gamma: float = 2.0, smooth: float = 1e-5) -> Tensor:
    """Focal loss of two classes (Lin et al., ICCV 2017), as APRIL-GAN and AnomalyCLIP smooth it, mean over pixels.

    With ``q`` the probability of the true side, ``t = (1 - 2 s) q + 2 s`` and the loss is ``-(1 - t)^gamma log t``.

    Args:
        probability: ``[B, H, W]`` of abnormal, in [0, 1].
        target: ``[B, H, W]``, 1 where abnormal, 0 elsewhere.
        gamma: How little a pixel counts that is classified well already; 0 is cross-entropy.
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
    return -true_side.clamp_min(_SMALLEST).log().mean()


def _pair(probability: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    if probability.dtype not in (torch.float32, torch.float64):
        probability = probability.float()
    return probability, target.to(probability)


# -- the loss of a batch: which losses, on which maps, with which weights

_NAMES = ("focal", "dice", "dice_normal", "cross_entropy", "part_losses")


def loss_names(options: TrainingOptions) -> list[str]:
    """The losses that have a weight, in the order in which they are reported."""
    return [name for name in _NAMES if getattr(options, name)]


def batch_losses(
    scores: Scores,
    masks: Tensor | None,
    labels: Tensor,
    options: TrainingOptions,
    part_losses: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """The losses that have a weight, each summed over the levels, not weighted yet.

    Args:
        scores: Maps ``[B, H, W]`` of each level and ``[B]`` image scores: probabilities of abnormal.
        masks: ``[B, H, W]``, 1 where abnormal; None where no loss reads pixels.
        labels: ``[B]``, 1 where abnormal.
        options: Which have a weight, and gamma.
        part_losses: What the parts bring themselves, by name; their sum is one loss.
    """
    losses: dict[str, Tensor] = {}
    if masks is not None:
        levels = [level.float() for level in scores.levels.values()]
        target = masks.to(levels[0])
        if options.focal:
            losses["focal"] = torch.stack([focal(p, target, gamma=options.gamma) for p in levels]).sum()
        if options.dice:
            losses["dice"] = torch.stack([dice(p, target) for p in levels]).sum()
        if options.dice_normal:
            losses["dice_normal"] = torch.stack([dice(1 - p, 1 - target) for p in levels]).sum()
    if options.cross_entropy:
        losses["cross_entropy"] = cross_entropy(scores.image, labels)
    if options.part_losses:
        own = [loss.float() for loss in (part_losses or {}).values()]
        losses["part_losses"] = torch.stack(own).sum() if own else scores.image.new_zeros(())
    return losses


def total_loss(losses: Mapping[str, Tensor], options: TrainingOptions) -> Tensor:
    """The weighted sum: the one number that is made small."""
    return torch.stack([getattr(options, name) * losses[name] for name in _NAMES if name in losses]).sum()


def check_scores(scores: Scores, options: TrainingOptions) -> None:
    """Refuse scores that are no probabilities.

    Raises:
        IncompatibleError: No maps of levels, or values outside [0, 1], where the losses need them.
    """
    if options.on_pixels and not scores.levels:
        raise IncompatibleError(
            "the losses on pixels read the maps of each level, and no scorer here gives any. Train with scorer "
            "'text-match', or with cross_entropy alone."
        )
    inputs = [("image scores", scores.image)] if options.cross_entropy else []
    inputs += [(f"maps of level '{name}'", level) for name, level in scores.levels.items() if options.on_pixels]
    for what, values in inputs:
        low, high = (float(end) for end in values.detach().aminmax())
        if not (low >= -1e-5 and high <= 1 + 1e-5):
            raise IncompatibleError(
                f"the losses need probabilities, and the {what} run from {low:.4g} to {high:.4g}. Train with scorer "
                "'text-match', whose levels are probabilities (and combine 'mean' where image is 'max' or 'both')."
            )
