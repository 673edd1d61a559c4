"""The block of 'pocket': a pre-norm transformer block with layer scale, for both halves."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from vlmad_core.contracts import linear

__all__ = ["PocketBlock"]

_EPSILON = 1e-6


class PocketBlock(nn.Module):
    """A pre-norm block with layer scale; see :class:`vlmad_core.contracts.Block` for its law."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, eps=_EPSILON)
        self.to_qkv = nn.Linear(width, 3 * width)
        self.to_out = nn.Linear(width, width)
        self.scale1 = nn.Parameter(torch.empty(width))
        self.norm2 = nn.LayerNorm(width, eps=_EPSILON)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        self.scale2 = nn.Parameter(torch.empty(width))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """``[B, L, W]`` to the same."""
        x = x + self.attend(*self.qkv(x), mask)
        return x + self.mlp(x)

    def qkv(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key, value, each ``[B, heads, L, W/heads]``; the norm is inside."""
        packed = linear(self.norm1(x), self.to_qkv.weight, self.to_qkv.bias)
        packed = packed.unflatten(-1, (3, self.heads, -1))  # [B, L, 3, heads, W/heads]
        q, k, v = packed.permute(2, 0, 3, 1, 4).unbind(0)
        return q, k, v

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        """``[B, L, W]``; out-projection and layer scale are inside, the residual is not."""
        x = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return linear(x.transpose(1, 2).flatten(2), self.to_out.weight, self.to_out.bias) * self.scale1

    def mlp(self, x: Tensor) -> Tensor:
        """``[B, L, W]``; norm and layer scale are inside, the residual is not."""
        hidden = linear(self.norm2(x), self.up.weight, self.up.bias, gelu=True)
        return linear(hidden, self.down.weight, self.down.bias) * self.scale2
