"""Scorer: distance of each region to the nearest one of a memory bank of normal images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from vlmad_core.contracts.banks import BankScorer
from vlmad_core.contracts.coreset import coreset
from vlmad_core.contracts.data import Features, Level, LevelSpec, Scores, TextEmbeddings
from vlmad_core.contracts.level_maps import combine_levels
from vlmad_core.contracts.ops import l2_normalize, nearest_distance, nearest_index, topk_mean
from vlmad_core.contracts.parts import select_levels
from vlmad_core.contracts.positions import nearest_in_reach
from vlmad_core.errors import IncompatibleError, NotFittedError

if TYPE_CHECKING:
    from vlmad_core.builtin.plugin import MemoryConfig

__all__ = ["Memory"]

_WAITING = 4
"""A bank is reduced when it has so many times the rows that it may keep: memory does not grow with the images."""


class Memory(BankScorer):
    """A bank of unit vectors for each level; one memory for one class of object (WinCLIP+, CVPR 2023).

    The value of a region is half of one minus the cosine to the nearest vector of the bank, wherever that was in its
    image; with ``halve`` false it is one minus the cosine (APRIL-GAN, 2023). With ``reach`` it is the nearest vector at
    about the same place (RAD, 2026). With ``max_rows`` a bank that grows beyond it is reduced to a coreset (PatchCore,
    CVPR 2022); then another normal image may raise a score, so :attr:`is_monotone` is False.

    Raises:
        IncompatibleError: A pattern that matches no level.
    """

    def __init__(self, config: MemoryConfig, levels: Sequence[LevelSpec], dim: int | None) -> None:
        chosen = select_levels(levels, config.levels)
        scored = select_levels(levels, config.score_levels or config.levels)
        super().__init__([level for level in levels if level in chosen or level in scored])
        self.config = config
        self.chosen = tuple(level.name for level in chosen)
        self.scored = tuple(level.name for level in scored)
        self.maximum = (1.0 if config.halve else 2.0) * (len(chosen) if config.combine == "sum" else 1)
        self.is_monotone = True

    def fit(self, features: Features) -> None:
        """Add every region of a batch of normal images."""
        for name in dict.fromkeys(self.chosen + self.scored):
            if self.config.reach is not None and features[name].cover is not None:
                raise IncompatibleError("'reach' is for levels with one region a cell, such as those of 'patches'.")
            vectors = features[name].vectors.detach()
            self.remember(
                name, l2_normalize(vectors).flatten(0, 1), origins=self.next_origins(name, *vectors.shape[:2])
            )
            limit = self.config.max_rows
            if limit is not None and self.held(name) > limit:
                self.is_monotone = False
                if self.held(name) > _WAITING * limit:
                    self.bank(name)

    def forget(self) -> None:
        """Empty every bank."""
        super().forget()
        self.is_monotone = True

    def bank(self, name: str) -> Tensor:
        """``[N, dim]``, N of at most ``max_rows``."""
        rows, limit = super().bank(name), self.config.max_rows
        if limit is not None and len(rows) > limit:
            self.keep(name, coreset(rows, limit))
        return super().bank(name)

    def forward(self, features: Features, text_embeddings: TextEmbeddings | None, size: tuple[int, int]) -> Scores:
        """Maps in [0, 1], doubled without ``halve``, times the levels for ``sum``; the image score is of the cells."""
        if not self.is_fitted:
            raise NotFittedError("the memory bank is empty. Call detector.fit('folder of normal images') first.")
        return self.combine_regions(self.region_values(features, text_embeddings, size), features, size)

    def region_values(
        self, features: Features, text_embeddings: TextEmbeddings | None, size: tuple[int, int]
    ) -> dict[str, Tensor]:
        """``[B, M]`` of each level: the distance of each region to the bank."""
        return {name: self.distance(features[name], name) for name in dict.fromkeys(self.chosen + self.scored)}

    def combine_regions(self, values: Mapping[str, Tensor], features: Features, size: tuple[int, int]) -> Scores:
        """Regions to cells, cells of the levels of the map to one map, those of the score to one score."""
        cells = {name: features[name].to_map(one, self.config.regions) for name, one in values.items()}
        corners, combine = self.config.align_corners, self.config.combine
        maps = combine_levels({name: cells[name] for name in self.chosen}, size, combine, align_corners=corners)
        fused = maps.fused
        if self.scored != self.chosen:
            others = {name: cells[name] for name in self.scored}
            fused = combine_levels(others, size, combine, align_corners=corners).fused
        return Scores(topk_mean(fused, self.config.top), maps.anomaly_map, maps.levels)

    def distance(self, level: Level, name: str) -> Tensor:
        """``[B, M]``, to the nearest vector of the bank of a level."""
        bank = self.bank(name)
        if self.config.reach is None:
            distance = nearest_distance(level.vectors, bank)
        else:
            distance = nearest_in_reach(level.vectors, bank, level.grid, self.config.reach)
        return distance if self.config.halve else 2 * distance

    def nearest_rows(self, vectors: Tensor, level: str) -> tuple[Tensor, Tensor] | None:
        """The nearest vectors of the bank, and the image and region that they were taken from.

        None with ``reach``: which vectors may be nearest then depends on the place.
        """
        if level not in self.chosen or self.config.reach is not None:
            return None
        bank = self.bank(level)
        rows = nearest_index(vectors, bank)
        return bank[rows], self.origins(level)[rows]
