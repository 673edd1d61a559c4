"""Scorer: images without labels judge each other (MuSc, ICLR 2024).

A region of a normal part finds its like in most other images, a defect in few. So the images to be judged, good and bad
as they come, are what it is fitted on; an image that is among them is left out when it is judged itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from vlmad_core.contracts import (
    Features,
    Level,
    LevelSpec,
    Scorer,
    Scores,
    TextEmbeddings,
    combine,
    l2_normalize,
    linear,
    resize,
    select_levels,
    topk_mean,
)
from vlmad_core.errors import IncompatibleError, NotFittedError

if TYPE_CHECKING:
    from vlmad_musc.plugin import MuscConfig

__all__ = ["Musc", "aggregate"]

_SAME = 1e-3
"""One minus the cosine, at the region where two images differ most, below which they are one image: above what another
batch size changes in bfloat16, far below what two photographs differ by."""

_PAIRS = 2**24
"""Pairs of regions compared at a time: 64 MiB of cosines."""


class Musc(Scorer):
    """Every region against every other image; memory and time of an image grow with the number of images.

    The value of a region is half of the Euclidean distance between unit vectors to the nearest region of an image,
    averaged over the share ``lowest`` of the other images that are nearest, then over ``degrees`` and levels.

    Raises:
        IncompatibleError: A pattern that matches no level.
    """

    needs_fit: ClassVar[bool] = True
    known_failures: ClassVar[Mapping[str, str]] = {
        "fit_adds_to_what_it_remembers": "an image that is remembered is left out when it is judged itself (MuSc)"
    }

    def __init__(self, config: MuscConfig, levels: Sequence[LevelSpec], dim: int | None) -> None:
        super().__init__()
        self.config = config
        self.chosen = select_levels(levels, config.levels)
        for level in self.chosen:
            self.register_buffer(f"seen_{level.name}", torch.empty(0, 0, level.dim))

    @property
    def is_fitted(self) -> bool:
        """Whether anything is remembered."""
        return all(len(self.seen(level.name)) for level in self.chosen)

    def seen(self, name: str) -> Tensor:
        """``[N, M, dim]``, the regions of one level of each remembered image, as they came."""
        return self.get_buffer(f"seen_{name}")

    def fit(self, features: Features) -> None:
        """Remember a batch of images, good and bad alike."""
        for level in self.chosen:
            new, old = features[level.name].vectors.detach(), self.seen(level.name)
            if len(old):
                self._require_same(features[level.name], old)
            setattr(self, f"seen_{level.name}", torch.cat([old.to(new), new]) if len(old) else new.clone())

    def forget(self) -> None:
        """Back to nothing."""
        for level in self.chosen:
            setattr(self, f"seen_{level.name}", self.seen(level.name).new_empty(0, 0, level.dim))

    def forward(self, features: Features, text_embeddings: TextEmbeddings | None, size: tuple[int, int]) -> Scores:
        """Maps in [0, 1]; the image score is of the cells. 0 for an image beside which no other is remembered."""
        if not self.is_fitted:
            raise NotFittedError(
                "has seen no image to compare with. Call detector.fit('folder of the images to judge') first; they "
                "need no labels."
            )
        corners = self.config.align_corners
        cells = {level.name: self.cells(features[level.name]) for level in self.chosen}
        maps = {name: resize(grid, size, align_corners=corners) for name, grid in cells.items()}
        grids = {tuple(grid.shape[-2:]) for grid in cells.values()}
        fused = combine(list((cells if len(grids) == 1 else maps).values()), "mean")
        return Scores(topk_mean(fused, self.config.top), resize(fused, size, align_corners=corners), maps)

    def cells(self, level: Level) -> Tensor:
        """``[B, h, w]`` of one level: the mutual scoring mechanism, averaged over the degrees of aggregation."""
        # Regions that cover several cells are neighbourhoods already.
        degrees = self.config.degrees if level.cover is None else (1,)
        seen = self.seen(level.spec.name)
        self._require_same(level, seen)
        queries = aggregate(level.vectors, level.grid, (1, *degrees))
        count, regions = level.vectors.shape[:2]
        cosines, same = [], []
        for images in seen.split(max(1, _PAIRS // (count * regions**2))):
            keys = aggregate(images, level.grid, (1, *degrees))
            same.append(torch.einsum("bmd,nmd->bnm", queries[1], keys[1]).amin(-1) > 1 - _SAME)  # [B, n]
            cosines.append(torch.stack([_nearest(queries[degree], keys[degree]) for degree in degrees], 1))
        distances = (2 - 2 * torch.cat(cosines, -1)).clamp_min(1e-12).sqrt() / 2  # [B, degrees, M, N]
        rows = zip(distances, torch.cat(same, -1), strict=True)
        return level.to_map(torch.stack([self._lowest(distance[..., ~itself]).mean(0) for distance, itself in rows]))

    def _lowest(self, distances: Tensor) -> Tensor:
        """``[..., others]`` to ``[...]``: the interval average."""
        others = distances.shape[-1]
        if others == 0:
            return distances.sum(-1)
        return distances.topk(max(1, int(self.config.lowest * others)), largest=False).values.mean(-1)

    @staticmethod
    def _require_same(level: Level, seen: Tensor) -> None:
        if level.vectors.shape[1] != seen.shape[1]:
            raise IncompatibleError(
                f"remembers images of {seen.shape[1]} regions, and these have {level.vectors.shape[1]}; fit and judge "
                "images of one size."
            )

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        # What is remembered has no fixed length, and load_state_dict refuses another shape: make room first.
        for level in self.chosen:
            name = f"seen_{level.name}"
            saved = state_dict.get(prefix + name)
            if isinstance(saved, Tensor) and saved.ndim == 3 and saved.shape[-1] == level.dim:
                setattr(self, name, saved.new_empty(saved.shape, device=self.seen(level.name).device))
        super()._load_from_state_dict(state_dict, prefix, *args)


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
