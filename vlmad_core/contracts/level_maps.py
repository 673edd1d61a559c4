"""From the maps of several levels to one anomaly map: combine, then resize to pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from vlmad_core.contracts.ops import Combine, combine, resize

__all__ = ["LevelMaps", "combine_levels"]


class LevelMaps(NamedTuple):
    """Maps of one batch.

    Args:
        fused: ``[B, h, w]``, the combination, on the grid of the levels where they share one, else in pixels.
        anomaly_map: ``[B, H, W]``, the same in pixels.
        levels: ``[B, H, W]`` each, by name.
    """

    fused: Tensor
    anomaly_map: Tensor
    levels: dict[str, Tensor]


def combine_levels(
    cells: Mapping[str, Tensor], size: tuple[int, int], how: Combine, *, align_corners: bool = False
) -> LevelMaps:
    """Combine the maps of levels and resize them.

    Levels on one grid are combined before they are resized, which is the order of the papers and cheaper; levels on
    different grids are resized first.

    Args:
        cells: ``[B, h, w]`` each, by the name of the level.
        size: ``(H, W)`` in pixels.
        how: See :func:`combine`.
        align_corners: Resize so that corner cells lie on corner pixels.
    """
    maps = {name: resize(grid, size, align_corners=align_corners) for name, grid in cells.items()}
    is_one_grid = len({tuple(grid.shape[-2:]) for grid in cells.values()}) == 1
    fused = combine(list((cells if is_one_grid else maps).values()), how)
    return LevelMaps(fused, resize(fused, size, align_corners=align_corners), maps)
