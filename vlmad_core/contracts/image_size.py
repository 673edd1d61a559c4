"""How large an image is when it goes into the encoder: stretched to one size, or with its aspect ratio kept."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vlmad_core.errors import ConfigError

__all__ = ["SHORTEST", "ImageSize", "fit_size"]

SHORTEST = 4
"""Patches of the shorter side at least, where the aspect ratio is kept: a line of pixels is no grid."""


@dataclass(frozen=True)
class ImageSize:
    """Of one input of the encoder, as a function of the size of the image.

    Args:
        size: ``(height, width)`` in pixels that every image is stretched to, where ``tokens`` is None.
        tokens: Patches at most; the aspect ratio is kept (policy ``fit``).
        patch: ``(height, width)`` of a patch in pixels.
    """

    size: tuple[int, int]
    tokens: int | None = None
    patch: tuple[int, int] = (1, 1)

    def of(self, given: tuple[int, int]) -> tuple[int, int]:
        """``(height, width)`` in pixels for an image of this height and width."""
        return self.size if self.tokens is None else fit_size(given, self.patch, self.tokens)

    @property
    def square(self) -> tuple[int, int]:
        """The size for an image that is as high as it is wide."""
        return self.of((1, 1))


def fit_size(given: tuple[int, int], patch: tuple[int, int], tokens: int) -> tuple[int, int]:
    """The largest size in whole patches, with about the aspect ratio of the image and at most ``tokens`` patches.

    The shorter side has at least four patches, so that an image longer than ``tokens / 16`` times its width is
    stretched along its shorter side.

    Args:
        given: ``(height, width)`` of the image, in pixels.
        patch: ``(height, width)`` of a patch, in pixels.
        tokens: Patches at most.

    Raises:
        ConfigError: Fewer tokens than a grid of 4 x 4.

    >>> fit_size((300, 400), (14, 14), 256), fit_size((512, 512), (14, 14), 256), fit_size((1, 20000), (14, 14), 256)
    ((196, 252), (224, 224), (56, 896))
    """
    if tokens < SHORTEST**2:
        raise ConfigError(f"tokens must be at least {SHORTEST**2}, a grid of {SHORTEST} x {SHORTEST}; got {tokens}.")
    ratio = (given[0] / patch[0]) / (given[1] / patch[1])  # rows to columns
    longest = tokens // SHORTEST
    exact = math.sqrt(tokens * ratio), math.sqrt(tokens / ratio)
    rows, columns = ([min(max(n, SHORTEST), longest) for n in (math.floor(e), math.ceil(e))] for e in exact)
    grids = {(r, c) for r in rows for c in columns if r * c <= tokens}

    def cost(grid: tuple[int, int]) -> tuple[float, tuple[int, int]]:
        return abs(math.log(grid[0] / grid[1] / ratio)) + 1 - grid[0] * grid[1] / tokens, grid

    best = min(grids, key=cost)
    return best[0] * patch[0], best[1] * patch[1]
