"""Extractor: windows of patch tokens at several scales, each through the whole tower by itself, with the class token.

WinCLIP (Jeong et al., CVPR 2023). A window keeps its class token and the patches under it, with their original
positions; the rest is dropped, not masked.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vlmad_core.contracts import Backbone, Extractor, Features, Level, LevelSpec, VisionTower, forward_blocks
from vlmad_core.errors import ImageError, IncompatibleError

if TYPE_CHECKING:
    from vlmad_winclip.plugin import WindowsConfig

__all__ = ["Windows", "window_cells"]


class Windows(Extractor):
    """Levels ``image`` (one region over everything), ``windowN`` for each scale, ``patch`` (raw tokens for a memory).

    Raises:
        IncompatibleError: A window larger than the grid, or a tower of one block.
    """

    def __init__(self, config: WindowsConfig, backbone: Backbone) -> None:
        super().__init__()
        vision, grid = backbone.vision, backbone.grid
        if len(vision.blocks) < 2:
            raise IncompatibleError("windows need a tower of at least 2 blocks, and this one has 1.")
        if max(config.scales) > min(grid):
            height, width = backbone.preprocess.size
            raise IncompatibleError(
                f"a window of {max(config.scales)} patches is larger than the grid of {grid[0]} x {grid[1]} patches "
                f"that {height} x {width} pixels give; take a larger image_size, or scales up to {min(grid)}."
            )
        self.config = config
        self.levels = (
            LevelSpec("image", vision.dim, vision.joint),
            *(LevelSpec(f"window{side}", vision.dim, vision.joint) for side in config.scales),
            LevelSpec("patch", vision.width, False),
        )

    def forward(self, vision: VisionTower, images: Tensor) -> Features:
        """``[B, 3, H, W]`` to the levels, in the order of ``levels``.

        Raises:
            ImageError: A window is larger than the grid of these images, whose aspect ratio was kept.
        """
        x, grid = vision.embed(images)
        if max(self.config.scales) > min(grid):
            raise ImageError(
                f"a window of {max(self.config.scales)} patches is larger than the grid of {grid[0]} x {grid[1]} "
                f"patches of this image; take more tokens or image_size 'stretch', or scales up to {min(grid)}."
            )
        full, _ = forward_blocks(vision.blocks, x)
        image = vision.pool(full)
        patches = full[:, vision.prefix :]
        everything = torch.ones(1, grid[0] * grid[1], dtype=torch.bool, device=x.device)
        levels = [Level(self.levels[0], image[:, None], grid, everything)]
        # Norm and projections of the first block do not depend on the window: once for the image, not once a window.
        shared = vision.blocks[0].qkv(x)
        for spec, side in zip(self.levels[1:-1], self.config.scales, strict=True):
            cells = window_cells(grid, side, self.config.stride).to(x.device)
            parts = [self._through(vision, x, shared, part) for part in self._split(cells, x)]
            levels.append(Level(spec, torch.cat(parts, dim=1), grid, _cover(cells, grid)))
        levels.append(Level(self.levels[-1], vision.norm(patches) if self.config.patch_norm else patches, grid))
        return Features(tuple(levels), image if vision.joint else None)

    def _through(self, vision: VisionTower, x: Tensor, shared: tuple[Tensor, Tensor, Tensor], cells: Tensor) -> Tensor:
        """Some windows of each image through the tower: ``[M, side*side]`` cells to ``[B, M, dim]``."""
        front = torch.arange(vision.prefix, device=x.device).expand(len(cells), -1)
        index = torch.cat([front, cells + vision.prefix], dim=1)  # [M, n]
        y = x[:, index].flatten(0, 1)  # [B*M, n, W]
        q, k, v = (t[:, :, index].transpose(1, 2).flatten(0, 1) for t in shared)  # [B*M, heads, n, W/heads]
        first, *middle, last = vision.blocks
        y = y + first.attend(q, k, v)
        y = y + first.mlp(y)
        y, _ = forward_blocks(middle, y)
        if vision.class_pool:  # only the class token is read, so only it needs to be finished
            q, k, v = last.qkv(y)
            y = y[:, :1] + last.attend(q[:, :, :1], k, v)
            y = y + last.mlp(y)
        else:
            y = last(y)
        return vision.pool(y).reshape(len(x), len(cells), -1)

    def _split(self, cells: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        if torch.compiler.is_compiling():  # the number of parts must not depend on the number of images
            return (cells,)
        parts: tuple[Tensor, ...] = cells.split(max(1, self.config.chunk // len(x)))
        return parts


@lru_cache(maxsize=64)
def window_cells(grid: tuple[int, int], side: int, stride: int = 1) -> Tensor:
    """Cells, numbered row by row, under each window: ``[M, side*side]``, windows row by row by their top-left corner.

    Where the stride does not divide, a last window ends at the border, so that no cell is left out.

    >>> window_cells((3, 3), 2)
    tensor([[0, 1, 3, 4],
            [1, 2, 4, 5],
            [3, 4, 6, 7],
            [4, 5, 7, 8]])
    """
    height, width = grid
    rows, columns = (sorted({*range(0, length - side, stride), length - side}) for length in grid)
    cells = torch.arange(height * width).view(height, width)
    return torch.stack([cells[r : r + side, c : c + side].flatten() for r in rows for c in columns])


def _cover(cells: Tensor, grid: tuple[int, int]) -> Tensor:
    """``[M, h*w]`` bool from ``[M, side*side]``."""
    return torch.zeros(len(cells), grid[0] * grid[1], dtype=torch.bool, device=cells.device).scatter_(1, cells, True)
