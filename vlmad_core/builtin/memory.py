"""Scorer: distance of each region to the nearest one of a memory bank of normal images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from vlmad_core.contracts.banks import BankScorer
from vlmad_core.contracts.coreset import coreset
from vlmad_core.contracts.data import Features, LevelSpec, Scores, TextEmbeddings
from vlmad_core.contracts.level_maps import combine_levels
from vlmad_core.contracts.ops import l2_normalize, nearest_distance, topk_mean
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
            self.remember(name, l2_normalize(features[name].vectors.detach()).flatten(0, 1))
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
            rows = rows[coreset(rows, limit)]
            self.replace(name, rows)
        return rows

    def forward(self, features: Features, text_embeddings: TextEmbeddings | None, size: tuple[int, int]) -> Scores:
        """Maps in [0, 1], doubled without ``halve``, times the levels for ``sum``; the image score is of the cells."""
        if not self.is_fitted:
            raise NotFittedError("the memory bank is empty. Call detector.fit('folder of normal images') first.")
        cells = {name: self.cells(features, name) for name in dict.fromkeys(self.chosen + self.scored)}
        corners, combine = self.config.align_corners, self.config.combine
        maps = combine_levels({name: cells[name] for name in self.chosen}, size, combine, align_corners=corners)
        fused = maps.fused
        if self.scored != self.chosen:
            others = {name: cells[name] for name in self.scored}
            fused = combine_levels(others, size, combine, align_corners=corners).fused
        return Scores(topk_mean(fused, self.config.top), maps.anomaly_map, maps.levels)

    def cells(self, features: Features, name: str) -> Tensor:
        """``[B, h, w]`` of one level."""
        level, bank = features[name], self.bank(name)
        if self.config.reach is None:
            distance = nearest_distance(level.vectors, bank)
        else:
            distance = nearest_in_reach(level.vectors, bank, level.grid, self.config.reach)
        return level.to_map(distance if self.config.halve else 2 * distance, self.config.regions)
