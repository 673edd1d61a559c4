"""timm's pre-norm blocks, opened into query-key-value, attention and MLP.

Two kinds are known: those of timm's ``VisionTransformer`` and those of its ``Eva``, whose positions may be rotary. All
others are refused by :func:`refuse_unless_plain` in a sentence.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vlmad_core.contracts import import_with_torchvision
from vlmad_core.errors import IncompatibleError

__all__ = ["EvaBlock", "TimmBlock", "open_blocks", "refuse_unless_plain"]

_SUCH_AS = "Take a plain vision transformer such as 'vit_small_patch14_dinov2' or 'vit_base_patch16_224'."
_ROTARY = (
    "this model turns queries and keys by where a token stands in the image (rotary positions), so its blocks run on "
    "the whole grid they were built for: {prefix} + {height} x {width} tokens; got {got}. Extractors that take windows "
    "or other parts of the grid need a model without rotary positions, such as 'vit_small_patch14_dinov2'."
)


class TimmBlock(nn.Module):
    """A block of timm's ``VisionTransformer``; see :class:`vlmad_core.contracts.towers.Block` for its law.

    Args:
        block: timm's own.
    """

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """``[B, L, W]`` to the same."""
        x = x + self.attend(*self.qkv(x), mask)
        return x + self.mlp(x)

    def qkv(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key, value, each ``[B, heads, L, W/heads]``; the norms are inside."""
        attention = self.block.attn
        q, k, v = _split(attention, self.block.norm1(x))
        return attention.q_norm(q), attention.k_norm(k), v

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        """``[B, L, W]`` with the L of ``q``; out-projection and layer scale are inside, the residual is not."""
        return self._scale_attention(_join(self.block.attn, q, k, v, mask))

    def mlp(self, x: Tensor) -> Tensor:
        """``[B, L, W]``; norm and layer scale are inside, the residual is not."""
        return self._scale_mlp(self.block.mlp(self.block.norm2(x)))

    def _scale_attention(self, x: Tensor) -> Tensor:
        out: Tensor = self.block.ls1(x)
        return out

    def _scale_mlp(self, x: Tensor) -> Tensor:
        out: Tensor = self.block.ls2(x)
        return out


class EvaBlock(TimmBlock):
    """A block of timm's ``Eva``, for one size of image where its positions are rotary.

    Args:
        block: timm's own.
        rope: ``[h*w, 2 * W/heads]`` or ``[heads, h*w, 2 * W/heads]``, sines then cosines; None: no rotary positions.
        grid: ``(h, w)`` of ``rope``.
    """

    rope: Tensor | None

    def __init__(self, block: Any, rope: Tensor | None, grid: tuple[int, int]) -> None:
        super().__init__(block)
        self.grid = grid
        self.register_buffer("rope", rope, persistent=False)

    def qkv(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key, value, each ``[B, heads, L, W/heads]``; norms and rotation are inside.

        Raises:
            IncompatibleError: Positions are rotary, and the tokens are not those of the whole grid.
        """
        q, k, v = super().qkv(x)
        if self.rope is None:
            return q, k, v
        attention, (height, width) = self.block.attn, self.grid
        prefix = attention.num_prefix_tokens
        if x.shape[1] != prefix + height * width:
            raise IncompatibleError(_ROTARY.format(prefix=prefix, height=height, width=width, got=x.shape[1]))
        rotate, half = import_module("timm.layers").apply_rot_embed_cat, getattr(attention, "rotate_half", False)
        q, k = (
            torch.cat([t[:, :, :prefix], rotate(t[:, :, prefix:], self.rope, half=half)], dim=2).type_as(v)
            for t in (q, k)
        )
        return q, k, v

    def _scale_attention(self, x: Tensor) -> Tensor:
        gamma: Tensor | None = self.block.gamma_1
        return x if gamma is None else gamma * x

    def _scale_mlp(self, x: Tensor) -> Tensor:
        gamma: Tensor | None = self.block.gamma_2
        return x if gamma is None else gamma * x


def _split(attention: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """``[B, L, W]``, normed, to query, key, value of one packed projection or of three."""
    heads = attention.num_heads
    if getattr(attention, "q_proj", None) is not None:
        groups = getattr(attention, "num_kv_groups", 1)  # queries that share a key
        q = attention.q_proj(x).unflatten(2, (heads, -1)).transpose(1, 2)
        k, v = (
            project(x).unflatten(2, (heads // groups, -1)).transpose(1, 2).repeat_interleave(groups, dim=1)
            for project in (attention.k_proj, attention.v_proj)
        )
        return q, k, v
    bias = attention.qkv.bias
    if getattr(attention, "q_bias", None) is not None:  # EVA: keys have no bias that is learned
        bias = torch.cat([attention.q_bias, attention.k_bias, attention.v_bias])
    packed = functional.linear(x, attention.qkv.weight, bias).reshape(*x.shape[:2], 3, heads, -1)
    q, k, v = packed.permute(2, 0, 3, 1, 4).unbind(0)
    return q, k, v


def _join(attention: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    x = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)
    out: Tensor = attention.proj(attention.norm(x))
    return out


def open_blocks(model: Any, grid: tuple[int, int]) -> nn.ModuleList:
    """The blocks of a model that :func:`refuse_unless_plain` let pass.

    Args:
        model: timm's, in eval mode.
        grid: ``(h, w)`` that rotary positions are computed for.
    """
    if not hasattr(model, "rope"):
        return nn.ModuleList(TimmBlock(block) for block in model.blocks)
    table = _rotary_table(model.rope, grid)
    each = table if getattr(model, "rope_mixed", False) and table is not None else [table] * len(model.blocks)
    return nn.ModuleList(EvaBlock(block, rope, grid) for block, rope in zip(model.blocks, each, strict=True))


@torch.no_grad()
def _rotary_table(rope: Any, grid: tuple[int, int]) -> Tensor | None:
    """As timm computes it after ``set_input_size``; ``[depth, ...]`` where each block has its own frequencies."""
    if rope is None:
        return None
    table: Tensor
    if getattr(rope, "feat_shape", None) is None:
        table = rope.get_embed(shape=list(grid))
    else:  # it keeps a table of its own, and would answer with that one
        rope.update_feat_shape(list(grid))
        table = rope.get_embed()
    return table.clone()


def refuse_unless_plain(model: Any, name: str) -> None:
    """Let pass only what this file can open.

    Args:
        model: timm's.
        name: To tell.

    Raises:
        IncompatibleError: The text says what is in the way.
    """
    import_with_torchvision("timm", extra="vlmad-timm")
    layers, vit, eva = (import_module(f"timm.{part}") for part in ("layers", "models.vision_transformer", "models.eva"))
    if type(model) not in (vit.VisionTransformer, eva.Eva):
        raise IncompatibleError(
            f"'{name}' is a {type(model).__name__} of timm, which has no plain transformer blocks. {_SUCH_AS}"
        )
    if type(model.patch_embed) is not layers.PatchEmbed:
        raise IncompatibleError(
            f"'{name}' does not cut images into patches but begins with a {type(model.patch_embed).__name__}. "
            f"{_SUCH_AS}"
        )
    if model.patch_embed.proj.in_channels != 3:
        raise IncompatibleError(
            f"'{name}' wants images of {model.patch_embed.proj.in_channels} channels, and vlmad reads RGB. {_SUCH_AS}"
        )
    for block in model.blocks:
        if type(block) not in (vit.Block, eva.EvaBlock):
            raise IncompatibleError(
                f"'{name}' is made of {type(block).__name__}, not of blocks that norm, attend, add, then norm, run an "
                f"MLP, add. {_SUCH_AS}"
            )
        if type(block.attn) not in (layers.Attention, layers.AttentionRope, eva.EvaAttention):
            raise IncompatibleError(f"'{name}' attends by {type(block.attn).__name__}, not by softmax. {_SUCH_AS}")
        if getattr(block.attn, "gate", None) is not None:
            raise IncompatibleError(
                f"'{name}' gates its attention by the tokens themselves, which queries, keys and values do not hold. "
                f"{_SUCH_AS}"
            )
