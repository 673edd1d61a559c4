"""Overlapping tiles of a large image: which there are, and one map from the maps of all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlmad_core.errors import ImageError

__all__ = ["AREA_RATIO", "MAX_MAP", "Tiles", "blend_axis", "map_shape", "tile_starts"]

AREA_RATIO = 36
"""An image with more than so many times the pixels of the encoder's input is tiled by itself: six times each side."""

MAX_MAP = 4_000_000
"""Cells of a map that is put together from tiles, at most; a larger one is stored at a lower resolution."""

_MAX_TILES = 10_000
_REDUCTION = 2  # a tile of its own choice covers twice the sides of the encoder's input


@dataclass(frozen=True)
class Tiles:
    """When an image is cut into tiles, and into which.

    Args:
        count: Tiles along the longer side; None: decided by ``side``.
        side: Pixels of the image along the longer side of a tile; None with ``count`` None: twice the encoder's input,
            and only where the image has more than 36 times the pixels of that input (``auto``).
        overlap: Share of a tile that its neighbour covers too, at least.
    """

    count: int | None = None
    side: int | None = None
    overlap: float = 0.25

    def of(self, given: tuple[int, int], size: tuple[int, int]) -> tuple[tuple[int, int, int, int], ...]:
        """The tiles of an image as ``(top, left, bottom, right)``, row by row; none where one would cover the image.

        Args:
            given: ``(height, width)`` of the image.
            size: ``(height, width)`` of the encoder's input.

        Raises:
            ImageError: There would be more than 10,000.
        """
        is_auto = self.count is None and self.side is None
        if is_auto and given[0] * given[1] <= AREA_RATIO * size[0] * size[1]:
            return ()
        side = self.side or _REDUCTION * max(size)
        if self.count is not None:
            side = math.ceil(max(given) / (1 + (self.count - 1) * (1 - self.overlap)))
        height, width = (max(1, round(side * one / max(size))) for one in size)
        tops, lefts = tile_starts(given[0], height, self.overlap), tile_starts(given[1], width, self.overlap)
        if len(tops) * len(lefts) > _MAX_TILES:
            raise ImageError(
                f"{given[1]} x {given[0]} pixels would be {len(tops) * len(lefts):,} tiles of {width} x {height}, more "
                f"than {_MAX_TILES:,}; take larger tiles (--tiles {4 * side}px)."
            )
        if len(tops) == len(lefts) == 1:
            return ()
        return tuple(
            (top, left, min(top + height, given[0]), min(left + width, given[1])) for top in tops for left in lefts
        )


def tile_starts(length: int, side: int, overlap: float) -> list[int]:
    """Where the tiles of one axis begin, evenly spread, from the first pixel to the last; one where ``side`` is enough.

    >>> tile_starts(1000, 400, 0.25), tile_starts(300, 400, 0.25)
    ([0, 300, 600], [0])
    """
    if length <= side:
        return [0]
    steps = math.ceil((length - side) / max(1.0, side * (1 - overlap)))
    return [round(i * (length - side) / steps) for i in range(steps + 1)]


def map_shape(given: tuple[int, int], reduction: tuple[float, float]) -> tuple[int, int]:
    """``(h, w)`` of the map of all tiles: as fine as theirs and no finer than the image, with at most 4 million cells.

    Args:
        given: ``(height, width)`` of the image.
        reduction: Pixels of the image to one pixel of a tile's map, down and across.
    """
    height, width = given[0] / max(1.0, reduction[0]), given[1] / max(1.0, reduction[1])
    share = min(1.0, math.sqrt(MAX_MAP / (height * width)))
    return max(1, round(height * share)), max(1, round(width * share))


def blend_axis(
    length: int, cells: int, spans: Sequence[tuple[int, int]], inputs: Sequence[int]
) -> list[tuple[slice, NDArray[np.float32]]]:
    """One axis of the blend: for each tile the cells of the whole map that it reaches, and a matrix to them.

    The matrix interpolates the tile's map at the centres of the cells, bilinear, and multiplies by weights that rise
    from the border of the tile to its middle (a squared sine). The weights of all tiles at a cell sum to 1, so a map
    that is equal in all tiles comes out as it is, and no seam is seen.

    Args:
        length: Pixels of the image along the axis.
        cells: Cells of the whole map.
        spans: ``(start, end)`` of each tile, in pixels of the image; together they cover the axis.
        inputs: Pixels of each tile's map.

    Returns:
        For each tile a slice of n cells and ``[n, inputs]``.
    """
    centres = (np.arange(cells) + 0.5) * (length / cells)
    weights = np.stack([_weight((centres - start) / (end - start)) for start, end in spans])  # [tiles, cells]
    weights /= weights.sum(0)
    found = []
    for (start, end), size, weight in zip(spans, inputs, weights, strict=True):
        reached = np.flatnonzero(weight)
        part = slice(int(reached[0]), int(reached[-1]) + 1) if reached.size else slice(0, 0)
        place = np.clip((centres[part] - start) / (end - start) * size - 0.5, 0, size - 1)
        low = np.minimum(place.astype(np.intp), max(0, size - 2))
        share = place - low
        matrix = np.zeros((len(place), size), np.float64)
        rows = np.arange(len(place))
        matrix[rows, low] = 1 - share
        matrix[rows, np.minimum(low + 1, size - 1)] += share
        found.append((part, (matrix * weight[part, None]).astype(np.float32)))
    return found


def _weight(place: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of a tile at places from 0, its start, to 1, its end; 0 outside, and never 0 inside."""
    inside = (place > 0) & (place < 1)
    weight: NDArray[np.float64] = np.where(inside, np.sin(np.pi * np.clip(place, 0, 1)) ** 2 + 1e-4, 0.0)
    return weight
