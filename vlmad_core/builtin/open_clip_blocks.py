"""Blocks over open_clip's and timm's own modules, whose parameters they read and never copy.

Both layouts of open_clip (sequence first up to 2.24, batch first later) name their parameters alike, and the blocks
here call the elementary operations on ``[B, L, W]`` themselves, so the layout never matters.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlmad_core.contracts.kernels import linear
from vlmad_core.errors import IncompatibleError

__all__ = ["Activation", "OpenBlock", "attention", "open_block", "split_heads"]

Activation: TypeAlias = Literal["weights", "gelu", "quick-gelu"]


def open_block(block: Any, activation: Activation) -> OpenBlock:
    """A library's block as one that keeps the law of :class:`~vlmad_core.contracts.towers.Block`.

    Args:
        block: Of open_clip, or of timm.
        activation: "weights": the block's own.

    Raises:
        IncompatibleError: It is not a plain pre-norm block.
    """
    return _ClipBlock(block, activation) if hasattr(block, "ln_1") else _TimmBlock(block, activation)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """``[B, L, W]`` to ``[B, heads, L, W/heads]``."""
    out: Tensor = x.unflatten(-1, (heads, -1)).transpose(1, 2)
    return out


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Softmax attention of separate heads, joined to ``[B, L, W]``."""
    # Fused also for a handful of tokens. Measured on one core, torch 2.13, 14 heads of 64, against an explicit
    # softmax(q k') v: 196 windows of 5 tokens 5.0 and 7.2 ms, 169 of 10 tokens 9.4 and 12.8 ms in float32. In bfloat16
    # the explicit one is faster (3.3 and 8.4 ms) but rounds the scores to 8 bits, which puts the result 1e-2 off.
    mask = None if mask is None else mask.to(q.dtype)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)


def _quick_gelu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


class OpenBlock(ABC):
    """The law of :class:`~vlmad_core.contracts.towers.Block`, over a library's block whose parameters it reads."""

    def __init__(self, block: Any) -> None:
        self.block = block
        self.heads: int = block.attn.num_heads

    def __call__(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """See :class:`~vlmad_core.contracts.towers.Block`, as for the next three."""
        y = x + self.attend(*self.qkv(x), mask)
        return y + self.mlp(y)

    @abstractmethod
    def qkv(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Split heads, normed."""

    @abstractmethod
    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        """Without the residual."""

    @abstractmethod
    def mlp(self, x: Tensor) -> Tensor:
        """Without the residual."""


class _ClipBlock(OpenBlock):
    """open_clip's own block, plain or with the extra norms of its configurable one."""

    def __init__(self, block: Any, activation: Activation) -> None:
        if hasattr(block, "ln_1_kv") or any(
            getattr(block.attn, name, None) is not None for name in ("logit_scale", "head_scale")
        ):
            raise IncompatibleError(
                "blocks with cosine attention, scaled heads or cross attention cannot be opened; take a plain ViT."
            )
        super().__init__(block)
        weights_own = block.mlp.gelu
        exact = isinstance(weights_own, nn.GELU) and weights_own.approximate == "none"
        self._is_exact = activation == "gelu" or (activation == "weights" and exact)
        self._activation: Callable[[Tensor], Tensor] = _quick_gelu if activation == "quick-gelu" else weights_own

    def qkv(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        attn = self.block.attn
        packed = linear(self.block.ln_1(x), attn.in_proj_weight, attn.in_proj_bias)
        q, k, v = (split_heads(part, self.heads) for part in packed.chunk(3, -1))
        return (attn.ln_q(q), attn.ln_k(k), v) if hasattr(attn, "ln_q") else (q, k, v)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        x = attention(q, k, v, mask)
        if hasattr(self.block.attn, "ln_inner"):
            x = self.block.attn.ln_inner(x)
        x = linear(x, self.block.attn.out_proj.weight, self.block.attn.out_proj.bias)
        if hasattr(self.block, "ln_attn"):
            x = self.block.ln_attn(x)
        out: Tensor = self.block.ls_1(x)
        return out

    def mlp(self, x: Tensor) -> Tensor:
        feed = self.block.mlp
        x = linear(self.block.ln_2(x), feed.c_fc.weight, feed.c_fc.bias, gelu=self._is_exact)
        x = x if self._is_exact else self._activation(x)
        x = feed.ln(x) if hasattr(feed, "ln") else x
        out: Tensor = self.block.ls_2(linear(x, feed.c_proj.weight, feed.c_proj.bias))
        return out


class _TimmBlock(OpenBlock):
    """timm's pre-norm block, of its ViT or of EVA without rotary positions."""

    def __init__(self, block: Any, activation: Activation) -> None:
        kind, attn = type(block).__name__, getattr(block, "attn", None)
        if kind not in {"Block", "EvaBlock"} or type(attn).__name__ not in {"Attention", "EvaAttention"}:
            raise IncompatibleError(
                f"timm's {kind} with {type(attn).__name__} is not a plain pre-norm block; take a plain ViT."
            )
        if getattr(attn, "qkv", None) is None or getattr(attn, "gate", None) is not None:
            raise IncompatibleError("blocks with split or gated attention cannot be opened; take a plain ViT.")
        if activation != "weights":
            raise IncompatibleError("the activation of a timm tower cannot be overridden; use activation='weights'.")
        super().__init__(block)

    def qkv(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        attn, bias = self.block.attn, self.block.attn.qkv.bias
        if getattr(attn, "q_bias", None) is not None:  # EVA: keys have none
            bias = torch.cat([attn.q_bias, torch.zeros_like(attn.q_bias), attn.v_bias])
        q, k, v = (split_heads(p, self.heads) for p in linear(self.block.norm1(x), attn.qkv.weight, bias).chunk(3, -1))
        return attn.q_norm(q), attn.k_norm(k), v

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        attn = self.block.attn
        return self._scale(attn.proj(attn.norm(attention(q, k, v, mask))), "ls1", "gamma_1")

    def mlp(self, x: Tensor) -> Tensor:
        return self._scale(self.block.mlp(self.block.norm2(x)), "ls2", "gamma_2")

    def _scale(self, x: Tensor, module: str, factor: str) -> Tensor:
        gamma = getattr(self.block, factor, None)
        out: Tensor = (
            getattr(self.block, module)(x) if hasattr(self.block, module) else x if gamma is None else x * gamma
        )
        return out
