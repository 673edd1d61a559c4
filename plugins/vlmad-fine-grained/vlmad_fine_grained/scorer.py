"""Scorer: counts and places of parts against those of normal images, which a memory of patches cannot see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor

from vlmad_core.contracts import (
    BankScorer,
    Features,
    LevelSpec,
    Scores,
    TextEmbeddings,
    combine_levels,
    l2_normalize,
    select_levels,
)
from vlmad_core.errors import IncompatibleError, NotFittedError
from vlmad_fine_grained.layout import Layout, Statistics, learn_layout, statistics_of

if TYPE_CHECKING:
    from vlmad_fine_grained.plugin import PartsConfig

__all__ = ["Parts"]

_MIDDLE, _SLOPE = 3.0, 2.0
"""The score is 0.5 at 3 standard deviations of the normal images, and 0.73 at 5."""


class Parts(BankScorer):
    """Groups patch tokens into parts and background, and compares number, size and place of the parts.

    The score is ``sigmoid((z - 3) / 2)`` of the largest deviation ``z`` of ``missing``, ``extra``, ``moved`` and
    ``spread``, in standard deviations of the normal images. It tells nothing of scratches: fuse it with ``memory``
    for both.

    Raises:
        IncompatibleError: A pattern that matches no level.
    """

    maximum = 1.0
    takes_rotations: ClassVar[bool] = False  # a turned product has its parts in other places
    known_failures: ClassVar[Mapping[str, str]] = {
        "memory_allows_gradients": "parts are counted and placed, and a count has no gradient",
        "fitted_images_score_lowest": "without parts before a background there is nothing to count",
        "fit_accumulates": "likewise; its own test fits images with parts in two batches",
    }

    def __init__(self, config: PartsConfig, levels: Sequence[LevelSpec], dim: int | None) -> None:
        chosen = select_levels(levels, (config.level,))[-1]
        super().__init__([chosen], ndim=3)
        self.config = config
        self.level = chosen.name
        self.register_buffer("grid", torch.zeros(2, dtype=torch.long))
        self.grid: Tensor
        self._layout: tuple[Tensor, Layout] | None = None

    def fit(self, features: Features) -> None:
        """Add normal images, all of one size."""
        level = features[self.level]
        grid = torch.tensor(level.grid)
        if level.cover is not None:
            raise IncompatibleError(f"scorer 'parts' needs a level of single patches, and '{self.level}' has windows.")
        self.remember(self.level, l2_normalize(level.vectors.detach()))
        self.grid = grid.to(self.grid.device)

    @property
    def layout(self) -> Layout:
        """What the normal images have in common; computed when it is first asked for.

        Raises:
            NotFittedError: There are none yet.
        """
        if not self.is_fitted:
            raise NotFittedError("there are no normal images yet. Call detector.fit('folder of normal images') first.")
        bank = self.bank(self.level)
        if self._layout is None or self._layout[0] is not bank:
            rows, columns = (int(side) for side in self.grid.tolist())
            layout = learn_layout(
                bank.detach().cpu().double().numpy(),
                (rows, columns),
                groups=self.config.groups,
                smallest=self.config.smallest,
                use_places=self.config.places,
            )
            self._layout = (bank, layout)
        return self._layout[1]

    def statistics(self, features: Features) -> list[Statistics]:
        """One for each image of a batch.

        Raises:
            IncompatibleError: Another grid than that of the normal images.
        """
        level, layout = features[self.level], self.layout
        if tuple(level.grid) != tuple(self.grid.tolist()):
            raise IncompatibleError(
                f"the normal images had {' x '.join(map(str, self.grid.tolist()))} patches, this one has "
                f"{' x '.join(map(str, level.grid))}."
            )
        tokens = l2_normalize(level.vectors.detach()).cpu().double().numpy()
        return [statistics_of(one, (level.grid[0], level.grid[1]), layout) for one in tokens]

    def forward(self, features: Features, text_embeddings: TextEmbeddings | None, size: tuple[int, int]) -> Scores:
        """Maps in [0, 1]: the surroundings of each place, and what lies nearest to it, have the score of its part."""
        layout = self.layout
        found = self.statistics(features)
        vectors = features[self.level].vectors
        scores = np.array([_squashed(one.deviations(layout).max()) for one in found])
        cells = np.stack([_cells(one, layout) for one in found])
        maps = combine_levels({self.level: torch.from_numpy(cells).to(vectors.device, torch.float32)}, size, "mean")
        return Scores(torch.from_numpy(scores).to(vectors.device, torch.float32), maps.anomaly_map, maps.levels)


def _squashed(deviation: float) -> float:
    return float(1 / (1 + np.exp(-np.clip((deviation - _MIDDLE) / _SLOPE, -50, 50))))


def _cells(statistics: Statistics, layout: Layout) -> np.ndarray:
    """``[h, w]``: the largest of what each cell has to do with."""
    share = statistics.share
    values = [_squashed(float(row.max())) for row in statistics.deviations(layout)]
    if not len(layout.places):
        return np.full(share.shape, values[0])
    rows, columns = np.mgrid[: share.shape[0], : share.shape[1]]
    away = np.stack([np.hypot(rows - row, columns - column) for row, column in layout.places])
    # Where the part should be, and where it lies: a missing one has no area, an extra one lies beside its place.
    inside = np.maximum(away.min(0) <= layout.radius, share)
    cells: np.ndarray = np.asarray(values)[away.argmin(0)] * inside
    return cells
