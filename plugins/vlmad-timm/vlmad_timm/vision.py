"""A vision transformer of timm as the tower that the contracts ask for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from vlmad_core.contracts import check_size
from vlmad_core.errors import IncompatibleError
from vlmad_timm.blocks import open_blocks, refuse_unless_plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vlmad_core.contracts import Block

__all__ = ["TimmVision"]

_MOST_GRIDS = 16  # tables of positions that are kept


class TimmVision(nn.Module):
    """The image encoder; see :class:`vlmad_core.contracts.towers.VisionTower`.

    Args:
        model: timm's ``VisionTransformer`` or ``Eva``. The tower takes it over: its blocks move out of it.
        size: ``(height, width)`` of images; None: the model's own. With rotary positions no other size is taken.
        name: To tell in errors.

    Raises:
        IncompatibleError: The model cannot be opened into blocks, or the size is not made of whole patches.
    """

    blocks: Sequence[Block]
    joint = False

    def __init__(self, model: Any, size: tuple[int, int] | None = None, name: str = "this model") -> None:
        super().__init__()
        refuse_unless_plain(model, name)
        self.name = name
        self.model = model.eval()
        self.width = self.dim = int(self.model.embed_dim)
        self.prefix = int(self.model.num_prefix_tokens)
        down, across = self.model.patch_embed.patch_size
        self.patch = (int(down), int(across))
        self.home: tuple[int, int] = tuple(self.model.patch_embed.grid_size)  # of the position table
        self.size = size or (self.home[0] * self.patch[0], self.home[1] * self.patch[1])
        pooling, has_class = self.model.global_pool, self.model.cls_token is not None
        self.class_pool = self.model.attn_pool is None and has_class and pooling in ("token", "")
        self.is_rotary = getattr(self.model, "rope", None) is not None
        self.blocks = open_blocks(self.model, self.grid_of(*self.size))  # type: ignore[assignment]
        self.model.blocks = nn.Sequential()
        self.model.rope = None
        self._resized: dict[tuple[tuple[int, int], torch.dtype, torch.device], Tensor] = {}

    def embed(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """``[B, 3, H, W]`` to ``[B, prefix + h*w, W]`` and ``(h, w)``.

        Raises:
            IncompatibleError: H or W is not a multiple of the patch, or positions are rotary and it is another size.
        """
        grid = self.grid_of(images.shape[-2], images.shape[-1])
        model, count = self.model, len(images)
        cells = model.patch_embed.norm(model.patch_embed.proj(images).flatten(2).transpose(1, 2))  # [B, h*w, W]
        front = [t.expand(count, -1, -1) for t in (model.cls_token, model.reg_token) if t is not None]
        if model.pos_embed is None:
            x = torch.cat([*front, cells], dim=1)
        elif model.no_embed_class:
            x = torch.cat([*front, cells + self._positions(grid)], dim=1)
        else:
            x = torch.cat([*front, cells], dim=1) + self._positions(grid)
        out: Tensor = model.norm_pre(x)
        return out, grid

    def norm(self, x: Tensor) -> Tensor:
        """``[..., W]`` to the same; nothing happens where the model norms after pooling only."""
        out: Tensor = self.model.norm(x)
        return out

    def project(self, x: Tensor) -> Tensor:
        """The same: there is no text to be compared with."""
        return x

    def pool(self, x: Tensor) -> Tensor:
        """``[B, L, W]`` after the last block to ``[B, W]``, as the model pools before its classifier.

        A model without pooling gives its class token, or the mean where it has none.
        """
        pooled: Tensor = self.model.forward_head(self.norm(x), pre_logits=True)
        if pooled.ndim == 2:
            return pooled
        return pooled[:, 0] if self.class_pool else pooled[:, self.prefix :].mean(dim=1)

    def grid_of(self, height: int, width: int) -> tuple[int, int]:
        """``(h, w)`` of the patches of an image.

        Raises:
            IncompatibleError: The text names sizes that would do.
        """
        check_size((height, width), self.patch, self.name)
        if self.is_rotary and (height, width) != self.size:
            raise IncompatibleError(
                f"'{self.name}' has rotary positions and was built for images of {self.size[0]} x {self.size[1]} "
                f"(height x width); got {height} x {width}. Build a backbone with image_size of that size."
            )
        return height // self.patch[0], width // self.patch[1]

    def _positions(self, grid: tuple[int, int]) -> Tensor:
        """``[1, h*w, W]`` or ``[1, prefix + h*w, W]``, resized by timm once for each grid."""
        table: Tensor = self.model.pos_embed
        if grid == self.home:
            return table
        key = (grid, table.dtype, table.device)
        if key not in self._resized:
            if len(self._resized) >= _MOST_GRIDS:
                self._resized.clear()
            prefix = 0 if self.model.no_embed_class else self.prefix
            resize = import_module("timm.layers").resample_abs_pos_embed
            # A table made under inference_mode could never stand in a graph; another call may want gradients.
            with torch.inference_mode(False), torch.no_grad():
                self._resized[key] = resize(table, list(grid), list(self.home), num_prefix_tokens=prefix)
        return self._resized[key]
