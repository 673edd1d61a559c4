"""A random two-tower transformer in plain torch: every law of the contracts, and milliseconds on a CPU.

It knows nothing of the world, so its scores mean nothing; shapes, gradients, caching and refusals are what it is for.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vlmad_core.contracts.images import Preprocess
from vlmad_core.contracts.text_length import check_text_length
from vlmad_core.contracts.towers import Backbone, Block

if TYPE_CHECKING:
    from vlmad_core.testing.registry import TinyConfig

__all__ = ["TinyBlock", "TinyText", "TinyVision", "tiny_backbone", "tiny_from_config"]

PATCH = 8
CONTEXT = 32
_VOCABULARY = 4096
_PAD, _START, _END = 0, 1, _VOCABULARY - 1
_HEADS = 4
_WORD = re.compile(r"\w+|[^\w\s]")


class TinyBlock(nn.Module):
    """A pre-norm block; see :class:`vlmad_core.contracts.towers.Block` for its law."""

    def __init__(self, width: int, heads: int = _HEADS) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.to_qkv = nn.Linear(width, 3 * width)
        self.to_out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """``[B, L, W]`` to the same."""
        x = x + self.attend(*self.qkv(x), mask)
        return x + self.mlp(x)

    def qkv(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key, value, each ``[B, heads, L, W/heads]``; the norm is inside."""
        packed = self.to_qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1))  # [B, L, 3, heads, W/heads]
        q, k, v = packed.permute(2, 0, 3, 1, 4).unbind(0)
        return q, k, v

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        """``[B, L, W]`` with the L of ``q``; the out-projection is inside, the residual is not."""
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        out: Tensor = self.to_out(x.transpose(1, 2).flatten(2))
        return out

    def mlp(self, x: Tensor) -> Tensor:
        """``[B, L, W]``; the norm is inside, the residual is not."""
        out: Tensor = self.down(F.gelu(self.up(self.norm2(x))))
        return out


class TinyVision(nn.Module):
    """The image encoder: patches of 8 x 8 pixels, any size, behind a class token (or none) and registers (or none)."""

    blocks: Sequence[Block]
    patch = (PATCH, PATCH)

    def __init__(
        self, *, grid: tuple[int, int], depth: int, width: int, dim: int, registers: int, class_pool: bool, joint: bool
    ) -> None:
        super().__init__()
        self.native, self.width, self.dim = grid, width, dim
        self.joint, self.class_pool = joint, class_pool
        self.prefix = int(class_pool) + registers
        self.to_tokens = nn.Conv2d(3, width, PATCH, stride=PATCH)
        self.front = nn.Parameter(torch.empty(1, self.prefix, width))
        self.positions = nn.Parameter(torch.empty(1, grid[0] * grid[1], width))
        self.blocks = nn.ModuleList(TinyBlock(width) for _ in range(depth))  # type: ignore[assignment]
        self.final = nn.LayerNorm(width)
        self.projection = nn.Parameter(torch.empty(width, dim))

    def embed(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """``[B, 3, H, W]`` to ``[B, prefix + h*w, W]`` with positions, and ``(h, w)``."""
        cells: Tensor = self.to_tokens(images)  # [B, W, h, w]
        grid = (cells.shape[2], cells.shape[3])
        table: Tensor = self.positions
        if grid != self.native:
            table = table.reshape(1, *self.native, self.width).permute(0, 3, 1, 2)
            table = F.interpolate(table, size=grid, mode="bilinear").flatten(2).transpose(1, 2)
        tokens = cells.flatten(2).transpose(1, 2) + table
        return torch.cat([self.front.expand(len(images), -1, -1), tokens], dim=1), grid

    def norm(self, x: Tensor) -> Tensor:
        """``[..., W]`` to the same."""
        out: Tensor = self.final(x)
        return out

    def project(self, x: Tensor) -> Tensor:
        """``[..., W]``, normed, to ``[..., D]``."""
        return x @ self.projection

    def pool(self, x: Tensor) -> Tensor:
        """``[B, L, W]`` to ``[B, D]``: the class token, or the mean of the patches where there is none."""
        return self.project(self.norm(x[:, 0] if self.class_pool else x[:, self.prefix :].mean(1)))


class TinyText(nn.Module):
    """The text encoder: each word has an id made from its letters; a causal mask, as CLIP has."""

    blocks: Sequence[Block]
    mask: Tensor | None

    def __init__(self, *, depth: int, width: int, dim: int) -> None:
        super().__init__()
        self.width, self.dim = width, dim
        self.words = nn.Parameter(torch.empty(_VOCABULARY, width))
        self.positions = nn.Parameter(torch.empty(CONTEXT, width))
        self.blocks = nn.ModuleList(TinyBlock(width) for _ in range(depth))  # type: ignore[assignment]
        self.final = nn.LayerNorm(width)
        self.projection = nn.Parameter(torch.empty(width, dim))
        self.register_buffer("mask", torch.full((CONTEXT, CONTEXT), -torch.inf).triu(1), persistent=False)

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """``[P, 32]`` ids: a start, one a word or sign, an end, padding.

        Raises:
            IncompatibleError: More than 30 words and signs.
        """
        ids = torch.full((len(texts), CONTEXT), _PAD)
        sentences = [_WORD.findall(text.lower()) for text in texts]
        check_text_length(texts, [len(words) + 2 for words in sentences], CONTEXT)
        for row, words in zip(ids, sentences, strict=True):
            # Not hash(): that changes from one process to the next.
            known = [zlib.crc32(word.encode()) % (_END - 2) + 2 for word in words]
            row[: len(known) + 2] = torch.tensor([_START, *known, _END])
        return ids.to(self.words.device)

    def trim(self, ids: Tensor) -> Tensor:
        """``[P, L']``: up to the last end, behind which a causal mask lets nothing matter."""
        return ids[:, : int((ids == _END).int().argmax(1).max()) + 1]

    def embed(self, ids: Tensor) -> Tensor:
        """``[P, L, W]`` words, no positions yet."""
        return self.words[ids]

    def add_positions(self, x: Tensor) -> Tensor:
        """``[P, L, W]`` to the same."""
        return x + self.positions[: x.shape[1]]

    def pool(self, x: Tensor, ids: Tensor) -> Tensor:
        """``[P, L, W]`` after the last block to ``[P, D]``, read at the end of each sentence."""
        ends = (ids == _END).int().argmax(1)
        out: Tensor = self.final(x[torch.arange(len(x), device=x.device), ends]) @ self.projection
        return out


def tiny_backbone(
    *,
    text: bool = True,
    image_size: tuple[int, int] = (32, 32),
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    registers: int = 0,
    depth: int = 3,
    width: int = 32,
    dim: int = 16,
    class_pool: bool = True,
) -> Backbone:
    """A small random backbone, the same for the same arguments.

    Args:
        text: Whether it has a text encoder; without, its images share no space with text.
        image_size: ``(height, width)`` in pixels, multiples of 8.
        seed: Of its weights.
        dtype: Of its weights.
        registers: Tokens between the class token and the patches.
        depth: Blocks in each tower.
        width: W of both towers, a multiple of 4.
        dim: D of the joint space.
        class_pool: False: no class token, and the patches are averaged, as SigLIP-like towers need.
    """
    grid = (image_size[0] // PATCH, image_size[1] // PATCH)
    with torch.random.fork_rng(devices=[]):  # torch fills new layers from the global state, which is not ours to move
        sees = TinyVision(
            grid=grid, depth=depth, width=width, dim=dim, registers=registers, class_pool=class_pool, joint=text
        )
        reads = TinyText(depth=depth, width=width, dim=dim) if text else None
    draws = torch.Generator().manual_seed(seed)
    digest = hashlib.sha256()
    with torch.no_grad():
        for tower in (sees, reads):
            for name, parameter in tower.named_parameters() if tower else ():
                _fill(name, parameter, draws)
                digest.update(parameter.numpy().tobytes())
    return Backbone(
        sees,
        reads,
        Preprocess(image_size),
        provenance={"backbone": "tiny", "weights": f"random, seed {seed}", "sha256": digest.hexdigest()},
    ).to(dtype)


def tiny_from_config(config: TinyConfig) -> Backbone:
    """The backbone ``tiny`` of :func:`vlmad_core.testing.memory_registry`, from its options."""
    return tiny_backbone(**config.model_dump())


def _fill(name: str, parameter: nn.Parameter, draws: torch.Generator) -> None:
    """Numbers of a size at which all of attention, words and positions can be seen in the result."""
    if name.endswith("bias"):
        parameter.normal_(0, 0.02, generator=draws)
    elif "norm" in name or name.startswith("final"):
        parameter.normal_(1, 0.1, generator=draws)
    elif name in ("words", "front"):
        parameter.normal_(0, 1, generator=draws)
    elif name == "positions":
        parameter.normal_(0, 0.3, generator=draws)
    else:
        fan = parameter[0].numel() if parameter.ndim > 1 and "projection" not in name else len(parameter)
        # Twice as loud where attention speaks, or the last token drowns what it heard from the others.
        parameter.normal_(0, (2 if "to_out" in name else 1) * fan**-0.5, generator=draws)
