"""Scorer: a memory bank of normal images, and what a few defective ones add to it: a linear discriminant of regions.

The distance to the nearest normal region (PatchCore, CVPR 2022) is the prior. Regions of defective images give a
direction in feature space by Fisher's linear discriminant with the shrunk covariance of the normal regions (Ledoit and
Wolf, 2004, on why it is shrunk): a few defects fix one mean, and the many normal regions the covariance. Without a
defect the direction is 0, and the scorer is the memory bank alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from vlmad_core.contracts import (
    BankScorer,
    Features,
    LevelSpec,
    Scores,
    TextEmbeddings,
    combine_levels,
    l2_normalize,
    nearest_distance,
    select_levels,
    topk_mean,
)
from vlmad_core.errors import ConfigError, IncompatibleError, NotFittedError

if TYPE_CHECKING:
    from vlmad_adapters.plugin import ProbeConfig

__all__ = ["Probe"]

_HELD_OUT = 8
"""Normal images that are compared with the others for the spread of distances, at most."""


class Probe(BankScorer):
    """Distance to the nearest normal region, plus the discriminant where it says defect.

    Attributes:
        center_LEVEL: ``[dim]``, mean of the unit vectors of normal regions.
        direction_LEVEL: ``[dim]``; on normal regions the discriminant has the spread that the distance of held-out
            normal regions has. 0 before :meth:`fit_defects`.

    Raises:
        IncompatibleError: A pattern that matches no level.
    """

    def __init__(self, config: ProbeConfig, levels: Sequence[LevelSpec], dim: int | None) -> None:
        chosen = select_levels(levels, config.levels)
        super().__init__(chosen)
        self.config = config
        self.names = tuple(level.name for level in chosen)
        for level in chosen:
            self.register_buffer(f"center_{level.name}", torch.zeros(level.dim))
            self.register_buffer(f"direction_{level.name}", torch.zeros(level.dim))

    def fit(self, features: Features) -> None:
        """Add every region of a batch of normal images."""
        for name in self.names:
            vectors = l2_normalize(features[name].vectors.detach())
            self.remember(name, vectors.flatten(0, 1), origins=self.next_origins(name, *vectors.shape[:2]))

    def fit_defects(self, features: Features, masks: Sequence[Tensor | None] | None = None) -> None:
        """Set the direction from defective images, in place of an earlier one; :meth:`forget` leaves it.

        Args:
            features: Of N defective images.
            masks: For each image ``[H, W]`` bool, the defective pixels, of any size; None: the share ``defect_share``
                of its regions that is farthest from normal ones.

        Raises:
            ConfigError: A mask marks no pixel.
            NotFittedError: It was fitted on fewer than two normal images.
        """
        if not self.is_fitted or any(len(self._images(name)) < 2 for name in self.names):
            raise NotFittedError("learns from defects beside at least 2 normal images; call detector.fit(...) first.")
        for name in self.names:
            level = features[name]
            vectors, bank = l2_normalize(level.vectors.detach()).double(), self.bank(name).double()
            distances = nearest_distance(level.vectors.detach(), self.bank(name))
            marked = [None] * len(vectors) if masks is None else list(masks)
            chosen = [
                rows[self._defective(distances[i], mask, level.grid if level.cover is None else None)]
                for i, (rows, mask) in enumerate(zip(vectors, marked, strict=True))
            ]
            # Every image counts alike, however many of its regions are marked.
            defective = torch.stack([rows.mean(0) for rows in chosen]).mean(0)
            center = bank.mean(0)
            centered = bank - center
            covariance = centered.T @ centered / len(bank)
            largest = torch.linalg.matrix_norm(covariance, 2).clamp_min(torch.finfo(torch.float32).tiny)
            shrunk = covariance + self.config.shrinkage * largest * torch.eye(len(covariance)).to(covariance)
            direction = torch.linalg.solve(shrunk, defective - center)
            spread = (direction @ covariance @ direction).clamp_min(0).sqrt()
            scale = self.config.weight * self._spread(name) / spread.clamp_min(torch.finfo(torch.float32).tiny)
            self._set(f"center_{name}", center)
            self._set(f"direction_{name}", direction * scale)

    def forward(self, features: Features, text_embeddings: TextEmbeddings | None, size: tuple[int, int]) -> Scores:
        """Maps of at least 0, the mean over the levels; the image score is the mean of the highest cells."""
        if not self.is_fitted:
            raise NotFittedError("the memory bank is empty. Call detector.fit('folder of normal images') first.")
        cells = {name: features[name].to_map(self.values(features, name)) for name in self.names}
        found = combine_levels(cells, size, "mean")
        return Scores(topk_mean(found.fused, self.config.top), found.anomaly_map, found.levels)

    def values(self, features: Features, name: str) -> Tensor:
        """``[B, M]`` of one level: distance and discriminant, at least 0."""
        vectors = features[name].vectors
        unit = l2_normalize(vectors)
        center, direction = (self.get_buffer(f"{what}_{name}").to(unit) for what in ("center", "direction"))
        return (nearest_distance(vectors, self.bank(name)) + (unit - center) @ direction).clamp_min(0)

    def _defective(self, distances: Tensor, mask: Tensor | None, grid: tuple[int, int] | None) -> Tensor:
        """``[M]`` bool or indices: the regions of one image that are taken as defective."""
        if mask is not None:
            if grid is None:
                raise IncompatibleError("masks are for levels with one region a cell, such as those of 'patches'.")
            # The share of each cell, so that a defect of a few pixels marks its cell and no other one.
            covered = F.adaptive_avg_pool2d(mask[None].to(distances), grid)[0].flatten()
            if not covered.any():
                raise ConfigError("the mask of a defective image marks no pixel; correct it, or leave it out.")
            return covered >= min(0.5, float(covered.max()))
        count = max(1, round(self.config.defect_share * len(distances)))
        return distances.topk(count).indices

    def _images(self, name: str) -> list[int]:
        found: list[int] = self.origins(name)[:, 0].unique().tolist()
        return [image for image in found if image >= 0]

    def _spread(self, name: str) -> Tensor:
        """Standard deviation of the distances of normal regions to those of the other images."""
        bank, image = self.bank(name), self.origins(name)[:, 0].to(self.bank(name).device)
        found = [
            nearest_distance(bank[image == i][None], bank[image != i]).flatten() for i in self._images(name)[:_HELD_OUT]
        ]
        return torch.cat(found).double().std()

    def _set(self, name: str, value: Tensor) -> None:
        setattr(self, name, value.to(self.get_buffer(name)))
