"""Scorer: unlabelled images are compared with each other (MuSc, ICLR 2024).

A region of a normal part has similar regions in most other images, a defect in few. So the scorer is fitted on the
images to be scored, normal and abnormal alike; an image that is among them is left out when it is scored itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from vlmad_core.contracts import (
    BankScorer,
    Features,
    Level,
    LevelSpec,
    Scores,
    TextEmbeddings,
    combine_levels,
    l2_normalize,
    linear,
    select_levels,
    topk_mean,
)
from vlmad_core.errors import IncompatibleError, NotFittedError

if TYPE_CHECKING:
    from vlmad_musc.plugin import MuscConfig

__all__ = ["Musc", "aggregate"]

_SAME = 1e-3
"""Two images whose regions all differ by less than this, as one minus the cosine, are one image: more than another
batch size changes in bfloat16, far less than two photographs differ by."""

_PAIRS = 2**24
"""Pairs of regions compared at a time: 64 MiB of cosines."""


class Musc(BankScorer):
    """Each region against every other image; memory and time of an image grow with the number of images.

    The value of a region is half of the Euclidean distance between unit vectors to the nearest region of an image,
    averaged over the share ``lowest`` of the other images that are nearest, then over ``degrees`` and levels.

    Raises:
        IncompatibleError: A pattern that matches no level.
    """

    takes_rotations: ClassVar[bool] = False
    known_failures: ClassVar[Mapping[str, str]] = {
        "fit_accumulates": "an image of the bank is left out when it is scored itself (MuSc)"
    }
    no_export: ClassVar[str] = (
        "it compares the images of a batch with each other, so a score depends on which others are there. "
        "Export a detector with a memory of normal images, such as 'pocket-few-shot'."
    )

    def __init__(self, config: MuscConfig, levels: Sequence[LevelSpec], dim: int | None) -> None:
        chosen = select_levels(levels, config.levels)
        super().__init__(chosen, prefix="seen", ndim=3)
        self.config, self.chosen = config, chosen
        self.maximum = 1.0

    def fit(self, features: Features) -> None:
        """Add a batch of images, normal and abnormal alike: every region as it is, ``[B, M, dim]``."""
        for level in self.chosen:
            self.remember(level.name, features[level.name].vectors.clone())

    def forward(self, features: Features, text_embeddings: TextEmbeddings | None, size: tuple[int, int]) -> Scores:
        """Maps in [0, 1]; the image score is of the cells. 0 for an image beside which no other is remembered."""
        if not self.is_fitted:
            raise NotFittedError(
                "there is no image to compare with. Call detector.fit('folder of the images to score') first; they "
                "need no labels."
            )
        cells = {level.name: self.cells(features[level.name]) for level in self.chosen}
        maps = combine_levels(cells, size, "mean", align_corners=self.config.align_corners)
        return Scores(topk_mean(maps.fused, self.config.top), maps.anomaly_map, maps.levels)

    def cells(self, level: Level) -> Tensor:
        """``[B, h, w]`` of one level: the mutual scoring mechanism, averaged over the degrees of aggregation."""
        # Regions that cover several cells are neighbourhoods already.
        degrees = self.config.degrees if level.cover is None else (1,)
        bank = self.bank(level.spec.name)
        self._require_same(level, bank)
        queries = aggregate(level.vectors, level.grid, (1, *degrees))
        count, regions = level.vectors.shape[:2]
        cosines, is_same_image = [], []
        for images in bank.split(max(1, _PAIRS // (count * regions**2))):
            keys = aggregate(images, level.grid, (1, *degrees))
            is_same_image.append(torch.einsum("bmd,nmd->bnm", queries[1], keys[1]).amin(-1) > 1 - _SAME)  # [B, n]
            cosines.append(torch.stack([_nearest(queries[degree], keys[degree]) for degree in degrees], 1))
        distances = (2 - 2 * torch.cat(cosines, -1)).clamp_min(1e-12).sqrt() / 2  # [B, degrees, M, N]
        values = []
        for distance, is_itself in zip(distances, torch.cat(is_same_image, -1), strict=True):  # one query image each
            values.append(self._mean_of_lowest(distance[..., ~is_itself]).mean(0))
        return level.to_map(torch.stack(values))

    def _mean_of_lowest(self, distances: Tensor) -> Tensor:
        """``[..., others]`` to ``[...]``: the paper's interval average."""
        others = distances.shape[-1]
        if others == 0:
            return distances.sum(-1)
        return distances.topk(max(1, int(self.config.lowest * others)), largest=False).values.mean(-1)

    @staticmethod
    def _require_same(level: Level, bank: Tensor) -> None:
        if level.vectors.shape[1] != bank.shape[1]:
            raise IncompatibleError(
                f"was fitted on images of {bank.shape[1]} regions, and these have {level.vectors.shape[1]}; fit and "
                "predict images of one size."
            )


def aggregate(vectors: Tensor, grid: tuple[int, int], degrees: Sequence[int]) -> dict[int, Tensor]:
    """Local neighbourhood aggregation: the direction of the mean over a square of cells, cut at the border.

    Args:
        vectors: ``[B, M, dim]``; with M = h * w if a degree is above 1.
        grid: ``(h, w)``.
        degrees: Sides of the squares, odd.

    Returns:
        For each degree ``[B, M, dim]`` of unit length. As in the authors' program, the mean of all numbers of an image
        is taken off first; that it divides by their deviation too changes no direction.
    """
    vectors = vectors if vectors.dtype == torch.float64 else vectors.float()
    vectors = vectors - vectors.mean((1, 2), keepdim=True)
    found = {1: l2_normalize(vectors)} if 1 in degrees else {}
    for degree in {*degrees} - {1}:
        cells = vectors.transpose(1, 2).unflatten(2, grid)  # [B, dim, h, w]
        means = F.avg_pool2d(cells, degree, stride=1, padding=degree // 2)  # zeros beyond the border turn nothing
        found[degree] = l2_normalize(means.flatten(2).transpose(1, 2))
    return found


def _nearest(queries: Tensor, keys: Tensor) -> Tensor:
    """``[B, M, dim]`` and ``[n, M, dim]`` of unit length to ``[B, M, n]``: cosine to the nearest region."""
    cosine = linear(queries.flatten(0, 1), keys.flatten(0, 1)).view(*queries.shape[:2], *keys.shape[:2])
    return cosine.amax(-1)
