"""From the cells of a level to places in an image, and back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vlmad_core.contracts.data import Level
from vlmad_core.inspection.evidence import Box, Place
from vlmad_core.inspection.outline import outline

__all__ = ["box_of_cells", "cells_of", "main_box", "peak_area", "place_of", "region_box", "regions_over", "scaled"]

_HALF = 0.5


def peak_area(raw_map: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Pixels connected to the highest one, above half its height over the median of the map."""
    low = float(np.median(raw_map))
    return _connected(raw_map, low + _HALF * (float(raw_map.max()) - low))


def place_of(area: NDArray[np.bool_], size: tuple[int, int]) -> Place:
    """An area of a map in pixels of the image.

    Args:
        area: ``[h, w]``, connected.
        size: ``(height, width)`` of the image.
    """
    down, right = size[0] / area.shape[0], size[1] / area.shape[1]
    rows, columns = np.flatnonzero(area.any(1)), np.flatnonzero(area.any(0))
    box = (columns[0] * right, rows[0] * down, (columns[-1] + 1) * right, (rows[-1] + 1) * down)
    rings = tuple(tuple((x * right, y * down) for x, y in ring) for ring in outline(area))
    return Place((float(box[0]), float(box[1]), float(box[2]), float(box[3])), rings, float(area.mean()))


def cells_of(area: NDArray[np.bool_], grid: tuple[int, int]) -> NDArray[np.bool_]:
    """The cells of a grid that an area touches: ``[H, W]`` to ``[h * w]``."""
    rows, columns = np.nonzero(area)
    cells = np.zeros(grid, dtype=bool)
    cells[rows * grid[0] // area.shape[0], columns * grid[1] // area.shape[1]] = True
    return cells.reshape(-1)


def regions_over(cells: NDArray[np.bool_], cover: Tensor | None) -> NDArray[np.intp]:
    """Numbers of the regions of a level that cover any of these cells."""
    if cover is None:
        return np.flatnonzero(cells)
    return np.flatnonzero((cover.cpu().numpy() & cells).any(1))


def box_of_cells(cells: NDArray[np.bool_], grid: tuple[int, int]) -> Box:
    """Around ``[h * w]`` cells, at least one of them, as shares of the width and height of an image."""
    rows, columns = np.nonzero(cells.reshape(grid))
    height, width = grid
    return (
        float(columns.min() / width),
        float(rows.min() / height),
        float((columns.max() + 1) / width),
        float((rows.max() + 1) / height),
    )


def region_box(level: Level, region: int) -> Box | None:
    """Of one region, as shares; None where the level has no such region."""
    count = level.grid[0] * level.grid[1]
    if level.cover is None:
        if not 0 <= region < count:
            return None
        cells = np.arange(count) == region
    elif 0 <= region < len(level.cover):
        cells = level.cover[region].cpu().numpy()
    else:
        return None
    return box_of_cells(cells, level.grid)


def main_box(values: NDArray[np.float32], grid: tuple[int, int]) -> Box | None:
    """The box of the cells with more than half of the largest contribution, as shares; None where there is none.

    Args:
        values: ``[h * w]``.
        grid: ``(h, w)``.
    """
    sizes = np.abs(values)
    if not sizes.any():
        return None
    return box_of_cells(_connected(sizes.reshape(grid), _HALF * float(sizes.max())).reshape(-1), grid)


def _connected(values: NDArray[np.float32], threshold: float) -> NDArray[np.bool_]:
    """What is above a threshold and connected to the highest value."""
    from scipy import ndimage  # takes a while, so only where it is used

    labels, _ = ndimage.label(values >= threshold, structure=np.ones((3, 3)))
    area: NDArray[np.bool_] = labels == labels[np.unravel_index(int(values.argmax()), values.shape)]
    return area


def scaled(box: Box, size: tuple[int, int]) -> Box:
    """From shares to pixels of an image of ``(height, width)``."""
    return box[0] * size[1], box[1] * size[0], box[2] * size[1], box[3] * size[0]
