"""open_clip's image and text towers, opened; what cannot be opened is refused in a sentence."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Literal, Self, TypeAlias, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlmad_core.builtin.open_clip_blocks import Activation, attention, open_block, split_heads
from vlmad_core.builtin.open_clip_fill import library
from vlmad_core.contracts.text_length import check_text_length
from vlmad_core.contracts.towers import Block, TextTower, check_size
from vlmad_core.errors import ConfigError, IncompatibleError

__all__ = ["Positions", "Vision", "open_model"]

Positions: TypeAlias = Literal["bicubic", "bilinear"]
_Grid: TypeAlias = tuple[int, int]


def open_model(
    model: nn.Module, positions: Positions, activation: Activation, *, tokenizer: Callable[[], Any] | None
) -> tuple[Vision, TextTower | None]:
    """Both towers of open_clip's model; no text where the text tower wants more than blocks and a mask, as CoCa's does.

    Args:
        model: A ``CLIP``, ``CustomTextCLIP`` or ``CoCa``.
        positions: How positions are resized.
        activation: Override of the blocks' own.
        tokenizer: Makes the tokenizer when it is first needed; None: CLIP's own.

    Raises:
        IncompatibleError: A tower that cannot be opened.
    """
    visual: Any = model.visual
    text = _open_text(model, activation, tokenizer)
    if hasattr(visual, "trunk"):
        return _TimmVision(visual, positions, activation, joint=text is not None), text
    if not (hasattr(visual, "conv1") and hasattr(getattr(visual, "transformer", None), "resblocks")):
        raise IncompatibleError(
            f"the image tower is a {type(visual).__name__}, which has no transformer blocks; take a plain ViT such as "
            "'ViT-B-16-plus-240'."
        )
    return _ClipVision(visual, positions, activation, joint=text is not None), text


def _open_text(model: nn.Module, activation: Activation, tokenizer: Callable[[], Any] | None) -> TextTower | None:
    source: Any = getattr(model, "text", model)
    if not hasattr(getattr(source, "transformer", None), "resblocks"):
        raise IncompatibleError(
            f"the text tower is a {type(source).__name__} from another library, which cannot be opened into blocks; "
            "take a model with open_clip's own text tower such as 'ViT-B-16-plus-240'."
        )
    if getattr(source, "cls_emb", None) is not None:
        return None  # CoCa: a class token at the end, and a mask of its own for each text; images alone can be used
    return _ClipText(source, activation, tokenizer)


class Vision(nn.Module, ABC):
    """What the two image towers share: sizes, and positions for any grid.

    Args:
        visual: The library's tower.
        blocks: Its blocks, opened.
        home: Grid of the stored positions.
        patch: In pixels.
        resize: How positions reach another grid.
        joint: Whether there are text vectors to land among.
    """

    width: int
    dim: int
    prefix: int
    class_pool: bool

    def __init__(
        self, visual: nn.Module, blocks: Sequence[Block], home: _Grid, patch: _Grid, resize: Positions, joint: bool
    ) -> None:
        super().__init__()
        self.visual: Any = visual
        self.blocks: Sequence[Block] = tuple(blocks)
        self.home, self.patch, self.resize, self.joint = home, patch, resize, joint
        self._resized: dict[tuple[_Grid, int], Tensor] = {}

    @abstractmethod
    def tokens(self, images: Tensor) -> tuple[Tensor, _Grid]:
        """As ``embed``, before the norm that some models have in front of the first block."""

    @abstractmethod
    def embed(self, images: Tensor) -> tuple[Tensor, _Grid]:
        """See :class:`~vlmad_core.contracts.towers.VisionTower`, as for the next three."""

    @abstractmethod
    def norm(self, x: Tensor) -> Tensor:
        """The last norm."""

    @abstractmethod
    def project(self, x: Tensor) -> Tensor:
        """Any token to the joint space."""

    @abstractmethod
    def pool(self, x: Tensor) -> Tensor:
        """All tokens to one vector of the joint space."""

    def grid_of(self, height: int, width: int) -> _Grid:
        """``(h, w)``; refuses what is not a whole number of patches."""
        check_size((height, width), self.patch, "open-clip")
        down, across = self.patch
        return height // down, width // across

    @abstractmethod
    def table(self) -> Tensor | None:
        """``[rows + h*w, W]`` as stored, or None."""

    def positions(self, grid: _Grid) -> Tensor | None:
        """``[rows + h*w, W]`` for a grid; rows of the class token and registers, where there are, stay in front."""
        table = self.table()
        if table is None or grid == self.home:
            return table
        if torch.compiler.is_compiling():  # a tracer knows no version; the table was resized before, by a plain call
            return {known: resized for (known, _), resized in self._resized.items()}[grid]
        key = grid, table._version
        if key not in self._resized:
            # A tensor made under inference_mode could not stand in a later graph.
            with torch.inference_mode(False), torch.no_grad():
                self._resized[key] = _resize(table, self.home, grid, self.resize)
        return self._resized[key]

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        self._resized.clear()
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self


def _resize(table: Tensor, old: _Grid, new: _Grid, mode: Positions) -> Tensor:
    rows = len(table) - old[0] * old[1]
    cells = table[rows:].float().unflatten(0, old).permute(2, 0, 1)[None]  # [1, W, h, w]
    cells = F.interpolate(cells, size=new, mode=mode, antialias=mode == "bicubic", align_corners=False)
    return torch.cat([table[:rows], cells[0].permute(1, 2, 0).flatten(0, 1).to(table.dtype)])


class _ClipVision(Vision):
    """open_clip's own ViT."""

    prefix = 1

    def __init__(self, visual: Any, resize: Positions, activation: Activation, *, joint: bool) -> None:
        pooler = getattr(visual, "attn_pool", None)
        if getattr(visual, "attn_pool_contrastive", None) is not None or visual.pool_type not in {"tok", "avg"}:
            raise IncompatibleError(
                "an image tower with two attention pools, or none, cannot be opened; take a plain ViT."
            )
        if pooler is not None and visual.pool_type != "tok":
            raise IncompatibleError("an attention pool whose outputs are averaged cannot be opened; take a plain ViT.")
        blocks = [open_block(block, activation) for block in visual.transformer.resblocks]
        patch = (visual.conv1.kernel_size[0], visual.conv1.kernel_size[1])
        super().__init__(visual, blocks, tuple(visual.grid_size), patch, resize, joint)
        self.width, self.dim = visual.conv1.out_channels, visual.proj.shape[1]
        self.class_pool = pooler is None and visual.pool_type == "tok"

    def table(self) -> Tensor | None:
        table: Tensor = self.visual.positional_embedding
        return table

    def tokens(self, images: Tensor) -> tuple[Tensor, _Grid]:
        grid = self.grid_of(images.shape[-2], images.shape[-1])
        conv = self.visual.conv1
        x = conv(images.to(conv.weight.dtype)).flatten(2).transpose(1, 2)  # [B, h*w, W]
        x = torch.cat([self.visual.class_embedding.expand(len(x), 1, -1), x], 1)
        return x + cast("Tensor", self.positions(grid)), grid

    def embed(self, images: Tensor) -> tuple[Tensor, _Grid]:
        x, grid = self.tokens(images)
        return self.visual.ln_pre(x), grid

    def norm(self, x: Tensor) -> Tensor:
        out: Tensor = x if self.visual.attn_pool is not None else self.visual.ln_post(x)
        return out

    def project(self, x: Tensor) -> Tensor:
        if self.visual.attn_pool is not None:  # each token as if it were the only input of the pool
            x = self._attend(x.reshape(-1, 1, self.width)).reshape(*x.shape[:-1], -1)
        out: Tensor = x @ self.visual.proj
        return out

    def pool(self, x: Tensor) -> Tensor:
        if self.visual.attn_pool is not None:
            x = self._attend(x)
        elif self.visual.pool_type == "tok":
            x = self.visual.ln_post(x[:, 0])
        elif self.visual.final_ln_after_pool:
            x = self.visual.ln_post(x[:, 1:].mean(1))
        else:
            x = self.visual.ln_post(x)[:, 1:].mean(1)
        out: Tensor = x @ self.visual.proj
        return out

    def _attend(self, x: Tensor) -> Tensor:
        """The first query of CoCa's attention pool, the one that meets the text: ``[B, L, W]`` to ``[B, D]``."""
        pool = self.visual.attn_pool
        attn, x = pool.attn, pool.ln_k(x)
        packed = attn.in_proj_weight is not None
        for_q, for_k, for_v = (
            attn.in_proj_weight.chunk(3) if packed else (attn.q_proj_weight, attn.k_proj_weight, attn.v_proj_weight)
        )
        of_q, of_k, of_v = attn.in_proj_bias.chunk(3)
        query = F.linear(pool.ln_q(pool.query[:1]), for_q, of_q).expand(len(x), -1, -1)
        q, k, v = (split_heads(t, attn.num_heads) for t in (query, F.linear(x, for_k, of_k), F.linear(x, for_v, of_v)))
        out: Tensor = self.visual.ln_post(attn.out_proj(attention(q, k, v)))[:, 0]
        return out


class _TimmVision(Vision):
    """A plain ViT of timm inside open_clip: SigLIP, MobileCLIP-B, ViTamin, EVA01."""

    def __init__(self, visual: Any, resize: Positions, activation: Activation, *, joint: bool) -> None:
        trunk, kind = visual.trunk, type(visual.trunk).__name__
        pooler: Any = getattr(trunk, "attn_pool", None)
        if kind not in {"VisionTransformer", "Eva"}:
            raise IncompatibleError(
                f"the image tower is timm's {kind}, not a plain ViT; take one such as 'ViT-B-16-SigLIP'."
            )
        if getattr(trunk, "rope", None) is not None:
            raise IncompatibleError(
                "its blocks rotate queries by position, which windows cannot follow; take a plain ViT."
            )
        known = pooler is None and trunk.global_pool in {"token", "avg"}
        if not known and (type(pooler).__name__ != "AttentionPoolLatent" or pooler.pos_embed is not None):
            raise IncompatibleError(f"its pooling '{trunk.global_pool}' cannot be opened; take a plain ViT.")
        (height, width), home = trunk.patch_embed.img_size, tuple(trunk.patch_embed.grid_size)
        blocks = [open_block(block, activation) for block in trunk.blocks]
        super().__init__(visual, blocks, home, (height // home[0], width // home[1]), resize, joint)
        self.width, self.prefix = trunk.embed_dim, trunk.num_prefix_tokens
        self.class_pool = pooler is None and trunk.global_pool == "token"
        self._whole = getattr(trunk, "pool_include_prefix", False)
        with torch.no_grad():
            self.dim = self._head(torch.zeros(1, self.width, device=next(visual.parameters()).device)).shape[-1]

    def table(self) -> Tensor | None:
        trunk: Any = self.visual.trunk
        table: Tensor | None = trunk.pos_embed
        return None if table is None else table[0]

    def tokens(self, images: Tensor) -> tuple[Tensor, _Grid]:
        grid = self.grid_of(images.shape[-2], images.shape[-1])
        trunk, stem = self.visual.trunk, self.visual.trunk.patch_embed
        x: Any = images.to(next(stem.parameters()).dtype)
        if hasattr(stem, "backbone"):
            x = stem.backbone(x)
            x = x[-1] if isinstance(x, list | tuple) else x
        x = stem.proj(x).flatten(2).transpose(1, 2)
        x = stem.norm(x) if hasattr(stem, "norm") else x
        first = [
            t.expand(len(x), -1, -1) for t in (trunk.cls_token, getattr(trunk, "reg_token", None)) if t is not None
        ]
        table = self.positions(grid)
        if table is not None and len(table) == x.shape[1]:  # positions of the patches alone
            x, table = x + table, None
        x = torch.cat([*first, x], 1)
        return x if table is None else x + table, grid

    def embed(self, images: Tensor) -> tuple[Tensor, _Grid]:
        x, grid = self.tokens(images)
        return self.visual.trunk.norm_pre(x), grid

    def norm(self, x: Tensor) -> Tensor:
        out: Tensor = self.visual.trunk.norm(x)
        return out

    def project(self, x: Tensor) -> Tensor:
        pooler = self.visual.trunk.attn_pool
        if pooler is not None:  # each token as if it were the only input of the pool
            x = pooler(x.reshape(-1, 1, self.width)).reshape(*x.shape[:-1], -1)
        return self._head(x)

    def pool(self, x: Tensor) -> Tensor:
        trunk, x = self.visual.trunk, self.norm(x)
        inside = x if self._whole else x[:, self.prefix :]
        if trunk.attn_pool is not None:
            return self._head(trunk.attn_pool(inside))
        return self._head(x[:, 0] if self.class_pool else inside.mean(1))

    def _head(self, x: Tensor) -> Tensor:
        trunk = self.visual.trunk
        out: Tensor = self.visual.head(trunk.head(trunk.fc_norm(x)))
        return out


class _ClipText(nn.Module):
    """open_clip's text tower, whether its parameters lie in the model itself (``CLIP``) or in ``model.text``."""

    mask: Tensor | None

    def __init__(self, source: Any, activation: Activation, tokenizer: Callable[[], Any] | None) -> None:
        super().__init__()
        self._pick: str = getattr(source, "text_pool_type", None) or source.pool_type
        if self._pick not in {"first", "last", "argmax", "eos"} or getattr(source, "use_pad_mask", False):
            raise IncompatibleError(
                "a text tower that hides padding, or pools no token, cannot be opened; take a plain one."
            )
        self._end: int = getattr(source, "text_eos_id", getattr(source, "eos_id", 0))
        self.transformer, self.words = source.transformer, source.token_embedding
        self.places, self.ln_final = source.positional_embedding, source.ln_final
        self.projection = source.text_projection
        self.blocks: Sequence[Block] = tuple(open_block(block, activation) for block in self.transformer.resblocks)
        self.context, self.width = self.places.shape
        own = self.projection
        self.dim: int = self.width if own is None else own.out_features if isinstance(own, nn.Linear) else own.shape[1]
        hidden = torch.full((self.context, self.context), float("-inf"), device=self.places.device).triu_(1)
        # Not a buffer: those are no attributes to ``isinstance(text, TextTower)``; _apply moves it.
        self.mask = None if source.attn_mask is None else hidden
        self._make = tokenizer
        self._made: Any = None

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        self.mask = None if self.mask is None else fn(self.mask)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """``[P, L]`` ids.

        Raises:
            ConfigError: A tokenizer that needs another package, or must be downloaded and cannot be.
            IncompatibleError: A text that is longer than the tower reads; open_clip would cut it off.
        """
        if self._made is None:
            try:
                made = library().SimpleTokenizer(context_length=self.context) if self._make is None else self._make()
            except ImportError as error:
                raise ConfigError(
                    f"the tokenizer of this model needs '{error.name}'; run: pip install 'vlmad-core[tokenizers]'. "
                    "Image features work without it."
                ) from error
            except Exception as error:  # whatever a download raises
                reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
                raise ConfigError(
                    f"the tokenizer of this model must be downloaded and could not be had ({reason}); images alone "
                    "still work, and models with CLIP's own tokenizer such as 'ViT-B-16-plus-240' need no download."
                ) from error
            self._made = made
        ids: Tensor = self._made(list(texts), context_length=self.context)
        check_text_length(texts, self._lengths(texts, ids), self.context)
        return ids.to(self.words.weight.device)

    def _lengths(self, texts: Sequence[str], ids: Tensor) -> list[int]:
        """Tokens of each text, one more than the tower reads where it is longer."""
        longer: Tensor = self._made(list(texts), context_length=self.context + 1)
        padding = self._made([""], context_length=self.context)[0, -1]
        # A tokenizer that cuts replaces the last token that fits by the end, or leaves one beyond.
        is_cut = (longer[:, : self.context] != ids).any(1) | (longer[:, self.context] != padding)
        return [self.context + 1 if cut else self.context for cut in is_cut.tolist()]

    def trim(self, ids: Tensor) -> Tensor:
        """Up to the last token that any text is read at; whole without a mask, where every token sees the padding."""
        return ids if self.mask is None else ids[:, : int(self._read(ids).max()) + 1]

    def _read(self, ids: Tensor) -> Tensor:
        """The token that speaks for each text: ``[P, L]`` to ``[P]``."""
        if self._pick == "argmax":  # the end is the highest id
            return ids.argmax(-1)
        if self._pick == "eos":
            return (ids == self._end).int().argmax(-1)
        return torch.full_like(ids[:, 0], 0 if self._pick == "first" else ids.shape[1] - 1)

    def embed(self, ids: Tensor) -> Tensor:
        out: Tensor = self.words(ids)
        return out

    def add_positions(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.places[: x.shape[1]]
        return out

    def pool(self, x: Tensor, ids: Tensor) -> Tensor:
        at = self._read(ids)
        x = self.ln_final(x[torch.arange(len(x), device=x.device), at])
        linear = isinstance(self.projection, nn.Linear)
        out: Tensor = x if self.projection is None else self.projection(x) if linear else x @ self.projection
        return out
