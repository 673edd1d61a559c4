"""How high the map of a normal image is: each of a few is held out in turn and scored by a memory of the others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from vlmad_core.contracts.images import Picture
from vlmad_core.contracts.parts import Scorer
from vlmad_core.pipeline.image_features import ImageFeatures, ScorersByScale, ScoreViews, add_scores, fit_images
from vlmad_core.pipeline.scales import ScaleRule, ViewScores, ranges_of

__all__ = ["HELD_OUT", "USUAL", "copy_of", "empty_copy", "held_out", "may_hold", "normal_range"]

HELD_OUT = 8
"""How many normal images are held out, at most."""

_MOST_VIEWS = 300
"""Of all images held out: their features are in memory together, about 1 MB each."""

USUAL = 0.995
"""Share of the cells of held-out normal images that lie below the second value of :func:`normal_range`.

Not the highest cell: one cell of one image would then decide what is shown of all others.
"""


def held_out(images: Sequence[ImageFeatures]) -> list[ImageFeatures]:
    """The first of them, as many as :func:`normal_range` takes: 8, and fewer where they are read in many tiles."""
    counts = accumulate(len(image.views) for image in images[:HELD_OUT])
    return [image for image, count in zip(images, counts, strict=False) if count <= _MOST_VIEWS]


def may_hold(held: Sequence[ImageFeatures], picture: Picture) -> bool:
    """Whether :func:`held_out` would take the next image too."""
    return len(held) < HELD_OUT and sum(len(image.views) for image in held) + len(picture.views) <= _MOST_VIEWS


def normal_range(
    scorers: ScorersByScale, held: Sequence[ImageFeatures], score: ScoreViews, rule: ScaleRule
) -> tuple[Tensor, Tensor]:
    """Median, and the value that 99.5 % of the cells do not exceed, in the maps of normal images.

    Returns:
        ``[2]`` of the maps of images, and ``[scales, 2]`` of the maps of each scale by itself; NaN where there are
        fewer than two images.

    Args:
        scorers: What they were fitted on is replaced by the images held out: give :func:`empty_copy` of them.
        held: Features of one normal image each, from :func:`held_out`.
        score: How features become scores.
        rule: How scales become one.
    """
    if len(held) < 2:
        return torch.full((2,), math.nan), torch.full((len(scorers), 2), math.nan)
    found: list[ViewScores] = []
    for i, image in enumerate(held):
        for scorer in {id(scorer): scorer for of_scale in scorers for scorer in of_scale}.values():
            if scorer.needs_fit:
                scorer.forget()
        fit_images(scorers, [*held[:i], *held[i + 1 :]], 1)
        scored = _without_unfitted(image, scorers)
        found.append(add_scores(ViewScores(scored.views, image.size, rule), scored, scorers, score))
    maps = [{scale: map_ for scale, (_, map_) in one.scales.items()} for one in found]
    ranges = np.stack([ranges_of([m[scale] for m in maps if scale in m], USUAL) for scale in range(len(scorers))])
    values = [one.result(ranges)[1] for one in found]
    return torch.from_numpy(ranges_of(values, USUAL)), torch.from_numpy(ranges)


def _without_unfitted(image: ImageFeatures, scorers: ScorersByScale) -> ImageFeatures:
    """Without tiles where this is the only normal image that has any."""
    kept = [all(scorer.is_fitted for scorer in scorers[view.scale]) for view in image.views]
    if all(kept):
        return image
    parts = [pair for pair, keep in zip(zip(image.views, image.features, strict=True), kept, strict=True) if keep]
    return ImageFeatures(image.size, tuple(view for view, _ in parts), tuple(features for _, features in parts))


def copy_of(scorer: Scorer) -> Scorer:
    """A copy with a memory bank of its own; parameters are shared, for optimisers hold them."""
    return deepcopy(scorer, {id(parameter): parameter for parameter in scorer.parameters()})


def empty_copy(scorer: Scorer) -> Scorer:
    """A copy that was fitted on nothing; see :func:`copy_of`."""
    copy = copy_of(scorer)
    copy.forget()
    return copy
