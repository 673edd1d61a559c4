"""open_clip's models as open towers; the only file that knows open_clip's insides.

Both layouts of the library (sequence first up to 2.24, batch first later) name their parameters alike, and the blocks here
call the elementary operations on ``[B, L, W]`` themselves, so the layout never matters. Where weights come from is said in
``open_clip_weights.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Self, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlmad_core.builtin import open_clip_weights as weights
from vlmad_core.builtin.open_clip_config import OpenClipConfig
from vlmad_core.errors import ConfigError, IncompatibleError
from vlmad_core.images import Preprocess
from vlmad_core.towers import Backbone

__all__ = ["OpenClip"]

Activation: TypeAlias = Literal["weights", "gelu", "quick-gelu"]
Positions: TypeAlias = Literal["bicubic", "bilinear"]
Size: TypeAlias = int | tuple[int, int] | None
_Grid: TypeAlias = tuple[int, int]


class OpenClip(Backbone):
    """Any plain vision transformer that open_clip ships, with its text tower where that is a plain one too.

    Args:
        config: The options.

    Raises:
        ConfigError: No such model, weights or device, or weights that do not fit.
        IncompatibleError: A model that cannot be opened into blocks, or a size that is not a multiple of the patch.
    """

    def __init__(self, config: OpenClipConfig) -> None:
        device = _find_device(config.device)
        blank = weights.build(config.model, "meta")
        _open(blank, "bicubic", config.activation, tokenizer=None)  # refuse before anything large is read
        found = weights.load(config, blank)
        activation = found.activation if config.activation == "weights" else config.activation
        vision, text = _open(found.model, config.positions, activation, tokenizer=_tokenizer_of(config.model))
        preprocess = Preprocess(_size(vision, config.image_size), **found.pixels)
        super().__init__(vision, text, preprocess, provenance=found.provenance)
        self.to(device=device, dtype=getattr(torch, config.dtype))
        vision.positions(self.grid)

    @classmethod
    def from_model(
        cls,
        model: nn.Module,
        *,
        image_size: Size = None,
        positions: Positions = "bicubic",
        activation: Activation = "weights",
        mean: tuple[float, float, float] = Preprocess.mean,
        std: tuple[float, float, float] = Preprocess.std,
        interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bicubic",
        tokenizer: Callable[[], Any] | None = None,
        provenance: Mapping[str, str] | None = None,
    ) -> Self:
        """Open a model that open_clip has made already; its parameters are shared, frozen and never copied.

        Args:
            model: A ``CLIP``, ``CustomTextCLIP`` or ``CoCa``.
            image_size: As in :class:`OpenClipConfig`, like ``positions`` and ``activation``.
            positions: How positions are resized.
            activation: Override of the activation.
            mean: Of each channel.
            std: Of each channel.
            interpolation: Filter of the image resize.
            tokenizer: Makes the tokenizer when it is first needed; None: CLIP's own.
            provenance: See :class:`~vlmad_core.towers.Backbone`.
        """
        vision, text = _open(model, positions, activation, tokenizer=tokenizer)
        made = cls.__new__(cls)
        preprocess = Preprocess(_size(vision, image_size), mean, std, interpolation)
        Backbone.__init__(made, vision, text, preprocess, provenance=provenance)
        vision.positions(made.grid)
        return made

    @classmethod
    def from_state_dict(
        cls, state: Mapping[str, Tensor], *, heads: tuple[int, int] | None = None, **options: Any
    ) -> Self:
        """Build a CLIP from parameters in OpenAI's flat naming, sizes read off their shapes.

        Args:
            state: By name; both towers.
            heads: Of the image and of the text tower; None: 64 channels a head.
            **options: As in :meth:`from_model`.

        Raises:
            ConfigError: Parameters that are missing, not known, or of another shape.
        """
        return cls.from_model(weights.build_flat(state, heads), **options)


def _find_device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"device '{name}' is not there ({reason}); device='cpu' always is.") from error
    return device


def _tokenizer_of(name: str) -> Callable[[], Any]:
    return lambda: weights.library().get_tokenizer(name)


def _size(vision: _Vision, wanted: Size) -> tuple[int, int]:
    (rows, columns), (down, across) = vision.home, vision.patch
    size = (rows * down, columns * across) if wanted is None else (wanted, wanted) if isinstance(wanted, int) else wanted
    vision.grid_of(*size)
    return size


def _open(
    model: nn.Module, positions: Positions, activation: Activation, *, tokenizer: Callable[[], Any] | None
) -> tuple[_Vision, _Text | None]:
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


def _open_text(model: nn.Module, activation: Activation, tokenizer: Callable[[], Any] | None) -> _Text | None:
    source: Any = getattr(model, "text", model)
    if not hasattr(getattr(source, "transformer", None), "resblocks"):
        raise IncompatibleError(
            f"the text tower is a {type(source).__name__} from another library, which cannot be opened into blocks; take a "
            "model with open_clip's own text tower such as 'ViT-B-16-plus-240'."
        )
    if getattr(source, "cls_emb", None) is not None:
        return None  # CoCa: a class token at the end, and a mask of its own for each text; pictures alone can be used
    return _Text(model, source, activation, tokenizer)


# ---------------------------------------------------------------------------------------------------------------- blocks


def _heads(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)  # [B, heads, L, W/heads]


def _attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """``[B, L, W]``.

    Fused also for a handful of tokens. Measured on one core, torch 2.13, 14 heads of 64, against an explicit
    ``softmax(q k') v``: 196 windows of 5 tokens 5.0 and 7.2 ms, 169 of 10 tokens 9.4 and 12.8 ms in float32. In bfloat16 the
    explicit one is faster (3.3 against 8.4 ms) but rounds the scores to 8 bits, 1e-2 off in the result.
    """
    mask = None if mask is None else mask.to(q.dtype)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)


class _Block:
    """The law of :class:`~vlmad_core.towers.Block`, over a library's block whose parameters it reads."""

    def __init__(self, block: Any) -> None:
        self.block = block
        self.heads: int = block.attn.num_heads

    def __call__(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        y = x + self.attend(*self.qkv(x), mask)
        return y + self.mlp(y)

    def qkv(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        raise NotImplementedError

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        raise NotImplementedError

    def mlp(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class _ClipBlock(_Block):
    """open_clip's own block, plain or with the extra norms of its configurable one."""

    def __init__(self, block: Any, activation: Activation) -> None:
        if hasattr(block, "ln_1_kv") or any(
            getattr(block.attn, name, None) is not None for name in ("logit_scale", "head_scale")
        ):
            raise IncompatibleError(
                "blocks with cosine attention, scaled heads or cross attention cannot be opened; take a plain ViT."
            )
        super().__init__(block)
        own = {"gelu": F.gelu, "quick-gelu": lambda x: x * torch.sigmoid(1.702 * x)}
        self._activation: Callable[[Tensor], Tensor] = own.get(activation, block.mlp.gelu)

    def qkv(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        attn = self.block.attn
        packed = F.linear(self.block.ln_1(x), attn.in_proj_weight, attn.in_proj_bias)
        q, k, v = (_heads(part, self.heads) for part in packed.chunk(3, -1))
        return (attn.ln_q(q), attn.ln_k(k), v) if hasattr(attn, "ln_q") else (q, k, v)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        x = _attention(q, k, v, mask)
        if hasattr(self.block.attn, "ln_inner"):
            x = self.block.attn.ln_inner(x)
        x = self.block.attn.out_proj(x)
        if hasattr(self.block, "ln_attn"):
            x = self.block.ln_attn(x)
        out: Tensor = self.block.ls_1(x)
        return out

    def mlp(self, x: Tensor) -> Tensor:
        feed = self.block.mlp
        x = self._activation(feed.c_fc(self.block.ln_2(x)))
        out: Tensor = self.block.ls_2(feed.c_proj(feed.ln(x) if hasattr(feed, "ln") else x))
        return out


class _TimmBlock(_Block):
    """timm's pre-norm block, of its ViT or of EVA without rotary positions."""

    def __init__(self, block: Any, activation: Activation) -> None:
        kind, attn = type(block).__name__, getattr(block, "attn", None)
        if kind not in {"Block", "EvaBlock"} or type(attn).__name__ not in {"Attention", "EvaAttention"}:
            raise IncompatibleError(f"timm's {kind} with {type(attn).__name__} is not a plain pre-norm block; take a plain ViT.")
        if getattr(attn, "qkv", None) is None or getattr(attn, "gate", None) is not None:
            raise IncompatibleError("blocks with split or gated attention cannot be opened; take a plain ViT.")
        if activation != "weights":
            raise IncompatibleError("the activation of a timm tower cannot be overridden; use activation='weights'.")
        super().__init__(block)

    def qkv(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        attn, bias = self.block.attn, self.block.attn.qkv.bias
        if getattr(attn, "q_bias", None) is not None:  # EVA: keys have none
            bias = torch.cat([attn.q_bias, torch.zeros_like(attn.q_bias), attn.v_bias])
        q, k, v = (_heads(p, self.heads) for p in F.linear(self.block.norm1(x), attn.qkv.weight, bias).chunk(3, -1))
        return attn.q_norm(q), attn.k_norm(k), v

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        attn = self.block.attn
        return self._scale(attn.proj(attn.norm(_attention(q, k, v, mask))), "ls1", "gamma_1")

    def mlp(self, x: Tensor) -> Tensor:
        return self._scale(self.block.mlp(self.block.norm2(x)), "ls2", "gamma_2")

    def _scale(self, x: Tensor, module: str, factor: str) -> Tensor:
        gamma = getattr(self.block, factor, None)
        out: Tensor = getattr(self.block, module)(x) if hasattr(self.block, module) else x if gamma is None else x * gamma
        return out


# ---------------------------------------------------------------------------------------------------------------- towers


class _Vision(nn.Module):
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
        self, visual: nn.Module, blocks: Sequence[_Block], home: _Grid, patch: _Grid, resize: Positions, joint: bool
    ) -> None:
        super().__init__()
        self.visual: Any = visual
        self.blocks = tuple(blocks)
        self.home, self.patch, self.resize, self.joint = home, patch, resize, joint
        self._resized: dict[tuple[_Grid, int], Tensor] = {}

    def tokens(self, images: Tensor) -> tuple[Tensor, _Grid]:
        """As ``embed``, before the norm that some models have in front of the first block."""
        raise NotImplementedError

    def grid_of(self, height: int, width: int) -> _Grid:
        """``(h, w)``; refuses what is not a whole number of patches."""
        down, across = self.patch
        if height < 1 or width < 1 or height % down or width % across:
            near = (max(round(height / down), 1) * down, max(round(width / across), 1) * across)
            raise IncompatibleError(
                f"images of {height} x {width} pixels are not a whole number of patches of {down} x {across}; the nearest "
                f"size is {near[0]} x {near[1]}."
            )
        return height // down, width // across

    def table(self) -> Tensor | None:
        """``[rows + h*w, W]`` as stored, or None."""
        raise NotImplementedError

    def positions(self, grid: _Grid) -> Tensor | None:
        """``[rows + h*w, W]`` for a grid; rows of the class token and registers, where there are, stay in front."""
        table = self.table()
        if table is None or grid == self.home:
            return table
        key = grid, table._version
        if key not in self._resized:
            # A tensor made under inference_mode could not stand in a later graph.
            with torch.inference_mode(False), torch.no_grad():
                self._resized[key] = _resize(table, self.home, grid, self.resize)
        return self._resized[key]

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        self._resized.clear()
        return super()._apply(fn, recurse)


def _resize(table: Tensor, old: _Grid, new: _Grid, mode: Positions) -> Tensor:
    rows = len(table) - old[0] * old[1]
    cells = table[rows:].float().unflatten(0, old).permute(2, 0, 1)[None]  # [1, W, h, w]
    cells = F.interpolate(cells, size=new, mode=mode, antialias=mode == "bicubic", align_corners=False)
    return torch.cat([table[:rows], cells[0].permute(1, 2, 0).flatten(0, 1).to(table.dtype)])


class _ClipVision(_Vision):
    """open_clip's own ViT."""

    prefix = 1

    def __init__(self, visual: Any, resize: Positions, activation: Activation, *, joint: bool) -> None:
        pooler = getattr(visual, "attn_pool", None)
        if getattr(visual, "attn_pool_contrastive", None) is not None or visual.pool_type not in {"tok", "avg"}:
            raise IncompatibleError("an image tower with two attention pools, or none, cannot be opened; take a plain ViT.")
        if pooler is not None and visual.pool_type != "tok":
            raise IncompatibleError("an attention pool whose outputs are averaged cannot be opened; take a plain ViT.")
        blocks = [_ClipBlock(block, activation) for block in visual.transformer.resblocks]
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
        return x + self.positions(grid), grid

    def embed(self, images: Tensor) -> tuple[Tensor, _Grid]:
        x, grid = self.tokens(images)
        return self.visual.ln_pre(x), grid

    def norm(self, x: Tensor) -> Tensor:
        out: Tensor = x if self.visual.attn_pool is not None else self.visual.ln_post(x)
        return out

    def project(self, x: Tensor) -> Tensor:
        if self.visual.attn_pool is not None:  # each token as if it were all that the pool sees
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
        q, k, v = (_heads(t, attn.num_heads) for t in (query, F.linear(x, for_k, of_k), F.linear(x, for_v, of_v)))
        out: Tensor = self.visual.ln_post(attn.out_proj(_attention(q, k, v)))[:, 0]
        return out


class _TimmVision(_Vision):
    """A plain ViT of timm inside open_clip: SigLIP, MobileCLIP-B, ViTamin, EVA01."""

    def __init__(self, visual: Any, resize: Positions, activation: Activation, *, joint: bool) -> None:
        trunk = visual.trunk
        kind, pooler = type(trunk).__name__, getattr(trunk, "attn_pool", None)
        if kind not in {"VisionTransformer", "Eva"}:
            raise IncompatibleError(f"the image tower is timm's {kind}, not a plain ViT; take one such as 'ViT-B-16-SigLIP'.")
        if getattr(trunk, "rope", None) is not None:
            raise IncompatibleError("its blocks rotate queries by position, which windows cannot follow; take a plain ViT.")
        known = pooler is None and trunk.global_pool in {"token", "avg"}
        if not known and (type(pooler).__name__ != "AttentionPoolLatent" or pooler.pos_embed is not None):
            raise IncompatibleError(f"its pooling '{trunk.global_pool}' cannot be opened; take a plain ViT.")
        (height, width), home = trunk.patch_embed.img_size, tuple(trunk.patch_embed.grid_size)
        blocks = [_TimmBlock(block, activation) for block in trunk.blocks]
        super().__init__(visual, blocks, home, (height // home[0], width // home[1]), resize, joint)
        self.width, self.prefix = trunk.embed_dim, trunk.num_prefix_tokens
        self.class_pool = pooler is None and trunk.global_pool == "token"
        self._whole = getattr(trunk, "pool_include_prefix", False)
        with torch.no_grad():
            self.dim = self._head(torch.zeros(1, self.width, device=next(visual.parameters()).device)).shape[-1]

    def table(self) -> Tensor | None:
        table: Tensor | None = self.visual.trunk.pos_embed
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
        first = [t.expand(len(x), -1, -1) for t in (trunk.cls_token, getattr(trunk, "reg_token", None)) if t is not None]
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
        if pooler is not None:  # each token as if it were all that the pool sees
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


class _Text(nn.Module):
    """open_clip's text tower, whether its parameters lie in the model itself (``CLIP``) or in ``model.text``."""

    mask: Tensor | None

    def __init__(self, model: Any, source: Any, activation: Activation, tokenizer: Callable[[], Any] | None) -> None:
        super().__init__()
        self._pick: str = source.text_pool_type if source is model else source.pool_type
        if self._pick not in {"first", "last", "argmax", "eos"} or getattr(source, "use_pad_mask", False):
            raise IncompatibleError("a text tower that hides padding, or pools no token, cannot be opened; take a plain one.")
        self._end: int = getattr(source, "text_eos_id" if source is model else "eos_id", 0)
        self.transformer, self.words = source.transformer, source.token_embedding
        self.places, self.ln_final, self.projection = source.positional_embedding, source.ln_final, source.text_projection
        # What a checkpoint calls "weights" is the activation that its blocks were built with.
        timm = hasattr(model.visual, "trunk")
        self.blocks = tuple(_ClipBlock(b, "weights" if timm else activation) for b in self.transformer.resblocks)
        self.context, self.width = self.places.shape
        linear = isinstance(self.projection, nn.Linear)
        self.dim = (
            self.width if self.projection is None else self.projection.out_features if linear else self.projection.shape[1]
        )
        hidden = torch.full((self.context, self.context), float("-inf")).triu_(1)
        self.register_buffer("mask", None if source.attn_mask is None else hidden, persistent=False)
        self._make, self._made = tokenizer, None

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """``[P, L]`` ids; what is too long is cut, as open_clip does.

        Raises:
            ConfigError: A tokenizer that must be downloaded, and cannot be.
        """
        if self._made is None:
            library = weights.library()
            try:
                made = library.SimpleTokenizer(context_length=self.context) if self._make is None else self._make()
            except Exception as error:  # whatever a download or a missing package raises
                reason = str(error).partition("\n")[0]
                raise ConfigError(
                    f"the tokenizer of this model must be downloaded and could not be had ({type(error).__name__}: {reason}); "
                    "pictures alone still work, and models with CLIP's own words such as 'ViT-B-16-plus-240' need no download."
                ) from error
            self._made = made
        ids: Tensor = self._made(list(texts), context_length=self.context)
        return ids.to(self.words.weight.device)

    def embed(self, ids: Tensor) -> Tensor:
        out: Tensor = self.words(ids)
        return out

    def add_positions(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.places[: x.shape[1]]
        return out

    def pool(self, x: Tensor, ids: Tensor) -> Tensor:
        last = x.shape[1] - 1
        at = {
            "first": lambda: torch.zeros_like(ids[:, 0]),
            "last": lambda: torch.full_like(ids[:, 0], last),
            "argmax": lambda: ids.argmax(-1),
            "eos": lambda: (ids == self._end).int().argmax(-1),
        }[self._pick]()
        x = self.ln_final(x[torch.arange(len(x), device=x.device), at.long()])
        if isinstance(self.projection, nn.Linear):
            return self.projection(x)
        return x if self.projection is None else x @ self.projection
