"""Scorer: distance of each region to the nearest one of a memory bank of normal images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from vlmad_core.contracts.banks import BankScorer
from vlmad_core.contracts.data import Features, LevelSpec, Scores, TextEmbeddings
from vlmad_core.contracts.level_maps import combine_levels
from vlmad_core.contracts.ops import l2_normalize, nearest_distance, nearest_index, topk_mean
from vlmad_core.contracts.parts import select_levels
from vlmad_core.errors import NotFittedError

if TYPE_CHECKING:
    from vlmad_core.builtin.plugin import MemoryConfig

__all__ = ["Memory"]


class Memory(BankScorer):
    """A bank of unit vectors for each level; one memory for one class of object (WinCLIP+, CVPR 2023).

    The value of a region is half of one minus the cosine to the nearest vector of the bank, wherever that was in its
    image; with ``halve`` false it is one minus the cosine (APRIL-GAN, 2023).

    Raises:
        IncompatibleError: A pattern that matches no level.
    """

    is_monotone: ClassVar[bool] = True

    def __init__(self, config: MemoryConfig, levels: Sequence[LevelSpec], dim: int | None) -> None:
        chosen = select_levels(levels, config.levels)
        super().__init__(chosen)
        self.config = config
        self.chosen = tuple(level.name for level in chosen)
        self.maximum = (1.0 if config.halve else 2.0) * (len(chosen) if config.combine == "sum" else 1)

    def fit(self, features: Features) -> None:
        """Add every region of a batch of normal images."""
        for name in self.chosen:
            vectors = features[name].vectors.detach()
            self.remember(
                name, l2_normalize(vectors).flatten(0, 1), origins=self.next_origins(name, *vectors.shape[:2])
            )

    def forward(self, features: Features, text_embeddings: TextEmbeddings | None, size: tuple[int, int]) -> Scores:
        """Maps in [0, 1], doubled without ``halve``, times the levels for ``sum``; the image score is of the cells."""
        if not self.is_fitted:
            raise NotFittedError("the memory bank is empty. Call detector.fit('folder of normal images') first.")
        return self.combine_regions(self.region_values(features, text_embeddings, size), features, size)

    def region_values(
        self, features: Features, text_embeddings: TextEmbeddings | None, size: tuple[int, int]
    ) -> dict[str, Tensor]:
        """``[B, M]`` of each level: the distance of each region to the bank."""
        return {name: self.distance(features[name].vectors, name) for name in self.chosen}

    def combine_regions(self, values: Mapping[str, Tensor], features: Features, size: tuple[int, int]) -> Scores:
        """Regions to cells, cells of all levels to one map."""
        cells = {name: features[name].to_map(values[name], self.config.regions) for name in self.chosen}
        maps = combine_levels(cells, size, self.config.combine, align_corners=self.config.align_corners)
        return Scores(topk_mean(maps.fused, self.config.top), maps.anomaly_map, maps.levels)

    def distance(self, vectors: Tensor, name: str) -> Tensor:
        """``[..., dim]`` to ``[...]``, to the nearest vector of the bank of a level."""
        distance = nearest_distance(vectors, self.bank(name))
        return distance if self.config.halve else 2 * distance

    def nearest_rows(self, vectors: Tensor, level: str) -> tuple[Tensor, Tensor] | None:
        """The nearest vectors of the bank, and the image and region that they were taken from."""
        if level not in self.chosen:
            return None
        bank = self.bank(level)
        rows = nearest_index(vectors, bank)
        return bank[rows], self.origins(level)[rows]
