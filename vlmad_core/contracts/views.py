"""The inputs of the encoder for one image: the whole image at one or several sizes, and tiles of a large one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from vlmad_core.contracts.image_size import ImageSize
from vlmad_core.contracts.tiles import AREA_RATIO, Tiles

__all__ = ["View", "Views", "squeezed"]


@dataclass(frozen=True)
class View:
    """One input of the encoder.

    Args:
        scale: Which of the sizes of the detector, from 0; that of tiles comes last.
        box: ``(top, left, bottom, right)`` in pixels of the image as it was given.
        size: ``(height, width)`` in pixels that this part of the image is resized to.
        is_tile: False: the whole image.
    """

    scale: int
    box: tuple[int, int, int, int]
    size: tuple[int, int]
    is_tile: bool = False

    @property
    def aspect(self) -> float:
        """Width over height of this part of the image as it was given."""
        top, left, bottom, right = self.box
        return (right - left) / (bottom - top)

    @property
    def reduction(self) -> tuple[float, float]:
        """Pixels of the image to one of the input, down and across."""
        top, left, bottom, right = self.box
        return (bottom - top) / self.size[0], (right - left) / self.size[1]


def squeezed(views: Sequence[View]) -> tuple[float, float] | None:
    """Pixels of an image to one of its finest input, down and across, where small defects are lost in between.

    That is where ``tiles: auto`` would cut it: it has more than 36 times the pixels of that input. None elsewhere.

    >>> squeezed([View(0, (0, 0, 3000, 4000), (224, 224))]), squeezed([View(0, (0, 0, 600, 800), (224, 224))])
    ((13.392857142857142, 17.857142857142858), None)
    """
    down, across = min((view.reduction for view in views), key=lambda both: both[0] * both[1], default=(1.0, 1.0))
    return (down, across) if down * across > AREA_RATIO else None


@dataclass(frozen=True)
class Views:
    """Which inputs are made of an image.

    Args:
        sizes: Of the whole image, one for each scale.
        tiles: Where large images are cut into tiles beside; each tile is resized as the first scale says.
    """

    sizes: tuple[ImageSize, ...]
    tiles: Tiles | None = None

    @property
    def count(self) -> int:
        """Scales, with that of tiles."""
        return len(self.sizes) + (self.tiles is not None)

    def of(self, given: tuple[int, int]) -> tuple[View, ...]:
        """The inputs for an image of this ``(height, width)``: the whole image at each size, then tiles row by row.

        Raises:
            ImageError: There would be too many tiles.
        """
        whole = tuple(View(i, (0, 0, *given), one.of(given)) for i, one in enumerate(self.sizes))
        if self.tiles is None:
            return whole
        first, scale = self.sizes[0], len(self.sizes)
        boxes = self.tiles.of(given, first.square)
        return whole + tuple(View(scale, box, first.of((box[2] - box[0], box[3] - box[1])), True) for box in boxes)

    def needed(self, given: tuple[int, int]) -> tuple[int, int]:
        """``(height, width)`` of which a decoder must give twice at least, so that no input is enlarged."""
        views = self.of(given)
        sides = [
            tuple(math.ceil(one / r / 2) for one, r in zip(given, view.reduction, strict=True))
            if view.is_tile
            else view.size
            for view in views
        ]
        return max(height for height, _ in sides), max(width for _, width in sides)
