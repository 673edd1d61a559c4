"""How high a normal image can score: each of a few is held out in turn and scored by memory banks of the others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor

from vlmad_core.contracts.data import Features, TextEmbeddings
from vlmad_core.contracts.parts import Scorer
from vlmad_core.pipeline.fuse import Fuse

__all__ = ["HELD_OUT", "copy_of", "empty_copy", "normal_range"]

HELD_OUT = 8
"""How many normal images are held out, at most."""


def normal_range(
    scorers: Sequence[Scorer],
    fuse: Fuse,
    held: Sequence[Features],
    text_embeddings: Sequence[TextEmbeddings | None],
    size: tuple[int, int],
) -> Tensor:
    """Median and highest value of the maps of normal images, ``[2]``; NaN where there are fewer than two.

    Args:
        scorers: What they were fitted on is replaced by the images held out: give :func:`empty_copy` of them.
        fuse: How they become one.
        held: Features of one normal image each.
        text_embeddings: For each of them.
        size: Of the maps.
    """
    if len(held) < 2:
        return torch.full((2,), math.nan)
    labels, maps = [""] * len(scorers), []
    for i, features in enumerate(held):
        for scorer in scorers:
            if scorer.needs_fit:
                scorer.forget()
                for other in (*held[:i], *held[i + 1 :]):
                    scorer.fit(other)
        maps.append(fuse([scorer(features, text_embeddings[i], size) for scorer in scorers], labels).anomaly_map)
    values = torch.stack(maps)
    return torch.stack([values.median(), values.max()])


def copy_of(scorer: Scorer) -> Scorer:
    """A copy with a memory bank of its own; parameters are shared, for optimisers hold them."""
    return deepcopy(scorer, {id(parameter): parameter for parameter in scorer.parameters()})


def empty_copy(scorer: Scorer) -> Scorer:
    """A copy that was fitted on nothing; see :func:`copy_of`."""
    copy = copy_of(scorer)
    copy.forget()
    return copy
