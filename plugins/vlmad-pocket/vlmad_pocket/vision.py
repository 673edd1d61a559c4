"""The backbone 'pocket': DINOv2 ViT-S/14 in plain torch, opened into the parts that the contracts ask for.

It sees and does not read yet. Its parameters are called as in the file of weights, where those of this half begin with
``vision.``, so that a half that reads can lie beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from vlmad_core import Backbone, Preprocess, check_size, find_device
from vlmad_pocket.block import PocketBlock
from vlmad_pocket.weights import read_note, read_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vlmad_core import Block
    from vlmad_pocket.plugin import PocketConfig

__all__ = ["Pocket", "PocketBlock", "PocketVision"]

WIDTH, HEADS, DEPTH, PATCH, SIDE = 384, 6, 12, 14, 37
_EPSILON = 1e-6
_MOST_GRIDS = 16  # tables of positions that are kept


class PocketVision(nn.Module):
    """The half that sees (:class:`vlmad_core.towers.VisionTower`): a class token, then patches of 14 x 14 pixels."""

    blocks: Sequence[Block]
    width = WIDTH
    dim = WIDTH
    prefix = 1
    patch = (PATCH, PATCH)
    joint = False
    class_pool = True

    def __init__(self) -> None:
        super().__init__()
        self.to_tokens = nn.Conv2d(3, WIDTH, PATCH, stride=PATCH)
        self.class_token = nn.Parameter(torch.empty(1, 1, WIDTH))
        self.positions = nn.Parameter(torch.empty(1, 1 + SIDE * SIDE, WIDTH))
        self.blocks = nn.ModuleList(PocketBlock(WIDTH, HEADS) for _ in range(DEPTH))  # type: ignore[assignment]
        self.final = nn.LayerNorm(WIDTH, eps=_EPSILON)
        self._resized: dict[tuple[tuple[int, int], torch.dtype, torch.device], Tensor] = {}

    def embed(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """``[B, 3, H, W]`` to ``[B, 1 + h*w, 384]`` and ``(h, w)``.

        Raises:
            IncompatibleError: H or W is not a multiple of 14.
        """
        check_size((images.shape[-2], images.shape[-1]), self.patch, "pocket")
        cells: Tensor = self.to_tokens(images)  # [B, W, h, w]
        grid = (cells.shape[2], cells.shape[3])
        front = self.class_token.expand(len(images), -1, -1)
        return torch.cat([front, cells.flatten(2).transpose(1, 2)], dim=1) + self._positions(grid), grid

    def norm(self, x: Tensor) -> Tensor:
        """``[..., 384]`` to the same."""
        out: Tensor = self.final(x)
        return out

    def project(self, x: Tensor) -> Tensor:
        """The same: there is no joint space yet."""
        return x

    def pool(self, x: Tensor) -> Tensor:
        """``[B, L, 384]`` after the last block to the normed class token, ``[B, 384]``."""
        return self.project(self.norm(x[:, 0]))

    def _positions(self, grid: tuple[int, int]) -> Tensor:
        """``[1, 1 + h*w, W]``, resized once for each grid."""
        if grid == (SIDE, SIDE):
            return self.positions
        key = (grid, self.positions.dtype, self.positions.device)
        if key not in self._resized:
            if len(self._resized) >= _MOST_GRIDS:
                self._resized.clear()
            # A table made under inference_mode could never stand in a graph; another call may want gradients.
            with torch.inference_mode(False), torch.no_grad():
                self._resized[key] = resize_positions(self.positions, grid)
        return self._resized[key]


class Pocket(Backbone):
    """The backbone 'pocket', from the weights in the wheel.

    Args:
        config: Its options.

    Raises:
        ConfigError: The weights are missing or changed, or the device does not exist.
        IncompatibleError: The size of pictures is not a multiple of 14.
    """

    def __init__(self, config: PocketConfig) -> None:
        size = (config.image_size, config.image_size) if isinstance(config.image_size, int) else config.image_size
        check_size(size, (PATCH, PATCH), "pocket")
        note = read_note()
        device, dtype = find_device(config.device), getattr(torch, config.dtype)
        tensors = read_weights(note["sha256"], dtype=dtype, device=device)
        with torch.device("meta"):  # numbers that are about to be replaced need not be drawn
            vision = PocketVision()
        own = {name.removeprefix("vision."): t for name, t in tensors.items() if name.startswith("vision.")}
        vision.load_state_dict(own, assign=True)
        super().__init__(
            vision,
            None,
            Preprocess(size, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), interpolation="bicubic"),
            provenance={"backbone": "pocket", "weights": note["name"], "sha256": note["sha256"]},
        )


def resize_positions(positions: Tensor, grid: tuple[int, int]) -> Tensor:
    """``[1, 1 + 37*37, W]`` to ``[1, 1 + h*w, W]``: bicubic with antialiasing, in float32, as timm does."""
    table = positions[:, 1:].float().reshape(1, SIDE, SIDE, -1).permute(0, 3, 1, 2)  # [1, W, 37, 37]
    table = functional.interpolate(table, size=grid, mode="bicubic", antialias=True)
    return torch.cat([positions[:, :1], table.flatten(2).transpose(1, 2).to(positions.dtype)], dim=1)
