"""How high the map of a normal image is: each of a few is held out in turn and scored by a memory of the others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor

from vlmad_core.contracts.data import Features, TextEmbeddings
from vlmad_core.contracts.parts import Scorer
from vlmad_core.pipeline.fuse import Fuse

__all__ = ["HELD_OUT", "USUAL", "copy_of", "empty_copy", "normal_range"]

HELD_OUT = 8
"""How many normal images are held out, at most."""

USUAL = 0.995
"""Share of the cells of held-out normal images that lie below the second value of :func:`normal_range`.

Not the highest cell: one cell of one image would then decide what is shown of all others.
"""


def normal_range(
    scorers: Sequence[Scorer],
    fuse: Fuse,
    held: Sequence[Features],
    text_embeddings: Sequence[TextEmbeddings | None],
    size: tuple[int, int],
) -> Tensor:
    """Median, and the value that 99.5 % of the cells do not exceed, in the maps of normal images.

    Returns:
        ``[2]``; NaN where there are fewer than two images.

    Args:
        scorers: What they were fitted on is replaced by the images held out: give :func:`empty_copy` of them.
        fuse: How they become one.
        held: Features of one normal image each, and after it of its rotated copies.
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
        own = features.select(slice(0, 1))
        maps.append(fuse([scorer(own, text_embeddings[i], size) for scorer in scorers], labels).anomaly_map)
    values = torch.stack(maps).flatten().float().cpu().numpy()  # torch.quantile takes no more than 16 million
    return torch.from_numpy(np.quantile(values, [0.5, USUAL]).astype(np.float32))


def copy_of(scorer: Scorer) -> Scorer:
    """A copy with a memory bank of its own; parameters are shared, for optimisers hold them."""
    return deepcopy(scorer, {id(parameter): parameter for parameter in scorer.parameters()})


def empty_copy(scorer: Scorer) -> Scorer:
    """A copy that was fitted on nothing; see :func:`copy_of`."""
    copy = copy_of(scorer)
    copy.forget()
    return copy
