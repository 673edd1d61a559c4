"""Scorer: distance of each region to the nearest one remembered from normal images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from vlmad_core.contracts.data import Features, LevelSpec, Scores, TextEmbeddings
from vlmad_core.contracts.ops import combine, l2_normalize, nearest_distance, resize, topk_mean
from vlmad_core.contracts.parts import Scorer, select_levels
from vlmad_core.errors import NotFittedError

if TYPE_CHECKING:
    from vlmad_core.builtin.plugin import MemoryConfig

__all__ = ["Memory"]


class Memory(Scorer):
    """A bank of unit vectors for each level, one kind of object a memory (WinCLIP+, CVPR 2023).

    The value of a region is half of one minus the cosine to the nearest remembered one, wherever that was in its image;
    with ``halve`` false it is one minus the cosine (APRIL-GAN, 2023).

    Raises:
        IncompatibleError: A pattern that matches no level.
    """

    needs_fit: ClassVar[bool] = True

    def __init__(self, config: MemoryConfig, levels: Sequence[LevelSpec], dim: int | None) -> None:
        super().__init__()
        self.config = config
        chosen = select_levels(levels, config.levels)
        self.chosen = tuple(level.name for level in chosen)
        for level in chosen:
            self.register_buffer(_bank(level.name), torch.empty(0, level.dim))

    @property
    def is_fitted(self) -> bool:
        """Whether anything is remembered."""
        return all(len(self.bank(name)) for name in self.chosen)

    def bank(self, name: str) -> Tensor:
        """``[N, dim]`` of unit length, what is remembered of one level."""
        return self.get_buffer(_bank(name))

    def fit(self, features: Features) -> None:
        """Remember every region of a batch of normal images."""
        for name in self.chosen:
            rows = l2_normalize(features[name].vectors.detach()).flatten(0, 1)
            bank = self.bank(name).to(rows)
            setattr(self, _bank(name), torch.cat([bank, rows]))

    def forget(self) -> None:
        """Back to empty banks."""
        for name in self.chosen:
            setattr(self, _bank(name), self.bank(name)[:0])

    def forward(self, features: Features, text_embeddings: TextEmbeddings | None, size: tuple[int, int]) -> Scores:
        """Maps in [0, 1], doubled without ``halve``, times the levels for ``sum``; the image score is of the cells."""
        if not self.is_fitted:
            raise NotFittedError("the memory is empty. Call detector.fit('folder of normal images') first.")
        corners = self.config.align_corners
        cells = {name: self.cells(features, name) for name in self.chosen}
        maps = {name: resize(grid, size, align_corners=corners) for name, grid in cells.items()}
        grids = {tuple(grid.shape[-2:]) for grid in cells.values()}
        fused = combine(list((cells if len(grids) == 1 else maps).values()), self.config.combine)
        return Scores(topk_mean(fused, self.config.top), resize(fused, size, align_corners=corners), maps)

    def cells(self, features: Features, name: str) -> Tensor:
        """``[B, h, w]`` of one level."""
        level = features[name]
        distance = nearest_distance(level.vectors, self.bank(name))
        return level.to_map(distance if self.config.halve else 2 * distance, self.config.regions)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        # Banks have no fixed length, and load_state_dict refuses another shape: make room first.
        for name in self.chosen:
            saved = state_dict.get(prefix + _bank(name))
            if isinstance(saved, Tensor) and saved.shape[1:] == self.bank(name).shape[1:]:
                setattr(self, _bank(name), self.bank(name).new_empty(saved.shape))
        super()._load_from_state_dict(state_dict, prefix, *args)


def _bank(level: str) -> str:
    return f"bank_{level}"
