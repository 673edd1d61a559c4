"""The loss of a batch: which losses, on which maps, with which weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from vlmad_core.contracts.data import Scores
from vlmad_core.errors import IncompatibleError
from vlmad_core.training.losses import cross_entropy, dice, focal
from vlmad_core.training.options import TrainingOptions

__all__ = ["check_scores", "loss_terms", "weighted"]

_TERMS = ("focal", "dice", "dice_normal", "cross_entropy")


def loss_terms(scores: Scores, masks: Tensor | None, labels: Tensor, options: TrainingOptions) -> dict[str, Tensor]:
    """The losses that have a weight, each summed over the levels, not weighted yet.

    Args:
        scores: Maps ``[B, H, W]`` of each level and ``[B]`` image scores: probabilities of abnormal.
        masks: ``[B, H, W]``, 1 where abnormal; None where no loss looks at pixels.
        labels: ``[B]``, 1 where abnormal.
        options: Which have a weight, and gamma.
    """
    terms: dict[str, Tensor] = {}
    if masks is not None:
        levels = [level.float() for level in scores.levels.values()]
        target = masks.to(levels[0])
        if options.focal:
            terms["focal"] = torch.stack([focal(p, target, gamma=options.gamma) for p in levels]).sum()
        if options.dice:
            terms["dice"] = torch.stack([dice(p, target) for p in levels]).sum()
        if options.dice_normal:
            terms["dice_normal"] = torch.stack([dice(1 - p, 1 - target) for p in levels]).sum()
    if options.cross_entropy:
        terms["cross_entropy"] = cross_entropy(scores.image, labels)
    return terms


def weighted(terms: Mapping[str, Tensor], options: TrainingOptions) -> Tensor:
    """One number to make small."""
    return torch.stack([getattr(options, name) * terms[name] for name in _TERMS if name in terms]).sum()


def check_scores(scores: Scores, options: TrainingOptions) -> None:
    """Refuse what is no probability.

    Raises:
        IncompatibleError: No maps of levels, or values outside [0, 1], where the losses need them.
    """
    if options.on_pixels and not scores.levels:
        raise IncompatibleError(
            "the losses on pixels read the maps of each level, and no scorer here gives any. Train with scorer "
            "'text-match', or with cross_entropy alone."
        )
    read = [("image scores", scores.image)] if options.cross_entropy else []
    read += [(f"maps of level '{name}'", level) for name, level in scores.levels.items() if options.on_pixels]
    for what, values in read:
        low, high = (float(end) for end in values.detach().aminmax())
        if not (low >= -1e-5 and high <= 1 + 1e-5):
            raise IncompatibleError(
                f"the losses need probabilities, and the {what} run from {low:.4g} to {high:.4g}. Train with scorer "
                "'text-match', whose levels are probabilities (and combine 'mean' where image is 'max' or 'both')."
            )
