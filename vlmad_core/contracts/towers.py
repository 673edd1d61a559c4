"""Open towers: a backbone offers embed, blocks and pool, and whoever needs another loop over the blocks writes it.

A tower is handed to a part at each call and never changed by it: no replaced modules, no hooks, no writes to its data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, Self, runtime_checkable

import torch
from torch import Tensor, nn

from vlmad_core.errors import IncompatibleError

if TYPE_CHECKING:
    from vlmad_core.contracts.images import Preprocess
    from vlmad_core.pipeline.spec import PartSpec

__all__ = [
    "Backbone",
    "Block",
    "TextTower",
    "VisionTower",
    "check_size",
    "forward_blocks",
]


@runtime_checkable
class Block(Protocol):
    """A pre-norm transformer block, opened into its parts.

    The law: with ``y = x + attend(*qkv(x), mask)``, ``block(x, mask) == y + mlp(y)``. Layer scale, where the model has
    it, is inside ``attend`` and ``mlp``.
    """

    def __call__(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """``[B, L, W]`` to the same."""
        ...

    def qkv(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key, value, each ``[B, heads, L, W/heads]``; the norm is inside."""
        ...

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        """``[B, L, W]`` with the L of ``q``; the out-projection is inside, the residual is not."""
        ...

    def mlp(self, x: Tensor) -> Tensor:
        """``[B, L, W]``; the norm is inside, the residual is not."""
        ...


@runtime_checkable
class VisionTower(Protocol):
    """The image encoder of a backbone.

    Attributes:
        blocks: Every transformer block, in order.
        width: W of the token stream.
        dim: D of :meth:`project` and :meth:`pool`.
        prefix: Tokens before the patches: class token, registers.
        patch: ``(height, width)`` of a patch in pixels.
        joint: Whether :meth:`project` and :meth:`pool` land among the text vectors.
        class_pool: True: :meth:`pool` uses token 0 alone, so the others need not be computed in the last block.
    """

    blocks: Sequence[Block]
    width: int
    dim: int
    prefix: int
    patch: tuple[int, int]
    joint: bool
    class_pool: bool

    def embed(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """``[B, 3, H, W]`` to ``[B, prefix + h*w, W]`` with positions, and ``(h, w)``; as the first block wants it."""
        ...

    def norm(self, x: Tensor) -> Tensor:
        """The norm after the last block, ``[..., W]`` to the same."""
        ...

    def project(self, x: Tensor) -> Tensor:
        """``[..., W]``, normed, to ``[..., D]``."""
        ...

    def pool(self, x: Tensor) -> Tensor:
        """``[B, L, W]`` after the last block to ``[B, D]``, not of unit length; norm and projection are inside."""
        ...


@runtime_checkable
class TextTower(Protocol):
    """The text encoder of a backbone. ``mask`` is what its blocks want, ``[L, L]`` additive, or None."""

    blocks: Sequence[Block]
    width: int
    dim: int
    mask: Tensor | None

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """``[P, L]`` ids, L being the context length that the tower was trained with."""
        ...

    def trim(self, ids: Tensor) -> Tensor:
        """``[P, L']``: without columns that cannot change what :meth:`pool` gives, as padding under a causal mask."""
        ...

    def embed(self, ids: Tensor) -> Tensor:
        """``[P, L, W]``: token embeddings without positions."""
        ...

    def add_positions(self, x: Tensor) -> Tensor:
        """``[P, L, W]`` to the same. Blocks under a causal mask have no positions of their own.

        :func:`~vlmad_core.contracts.text_encoding.encode_text` hands them the tokens of several sentences as one row.
        """
        ...

    def pool(self, x: Tensor, ids: Tensor) -> Tensor:
        """``[P, L, W]`` after the last block to ``[P, D]``, not of unit length."""
        ...


class Backbone(nn.Module):
    """A frozen image encoder, with a text encoder where there is one, and the preprocessing of its images.

    Args:
        vision: The image encoder.
        text: The text encoder, or None.
        preprocess: Size, mean, standard deviation, interpolation: plain numbers.
        provenance: Where the weights come from, such as ``{"weights": "pocket", "sha256": "..."}``; saved with every
            detector and compared when one is loaded.
    """

    vision: VisionTower
    text: TextTower | None
    preprocess: Preprocess
    provenance: Mapping[str, str]
    made_from: PartSpec | None = None
    """The name and options it was built from, where that is known; saved with detectors that share it."""

    def __init__(
        self,
        vision: VisionTower,
        text: TextTower | None,
        preprocess: Preprocess,
        *,
        provenance: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.vision = vision
        self.text = text
        self.preprocess = preprocess
        self.provenance = dict(provenance or {})
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Self:
        """A backbone never trains: it stays in eval mode whatever is asked."""
        return super().train(False)

    @property
    def grid(self) -> tuple[int, int]:
        """``(h, w)`` of the tokens at the size that the preprocessing makes."""
        (height, width), (down, across) = self.preprocess.size, self.vision.patch
        return height // down, width // across

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights, and of the images that the encoder takes."""
        return next(p.dtype for p in self.parameters() if p.is_floating_point())

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device


def check_size(size: tuple[int, int], patch: tuple[int, int], backbone: str) -> None:
    """Refuse a ``(height, width)`` that does not fall into whole patches; for a backbone's constructor and ``embed``.

    Raises:
        IncompatibleError: The text names the nearest sizes that would do.
    """
    if all(side >= cut and side % cut == 0 for side, cut in zip(size, patch, strict=True)):
        return
    near = [sorted({max(1, side // cut) * cut, -(-side // cut) * cut}) for side, cut in zip(size, patch, strict=True)]
    height, width = (" or ".join(map(str, sides)) for sides in near)
    raise IncompatibleError(
        f"'{backbone}' cuts images into patches of {patch[0]} x {patch[1]} pixels, and {size[0]} x {size[1]} (height x "
        f"width) is no multiple of that. Take a height of {height} and a width of {width}."
    )


def forward_blocks(
    blocks: Iterable[Block],
    x: Tensor,
    *,
    mask: Tensor | None = None,
    layers: Iterable[int] = (),
    before: Callable[[int, Tensor], Tensor] | None = None,
) -> tuple[Tensor, dict[int, Tensor]]:
    """Run blocks 1..n.

    Args:
        blocks: In order.
        x: ``[B, L, W]``.
        mask: Handed to each block.
        layers: Numbers of blocks, from 1, whose outputs are kept.
        before: ``before(i, x)`` may rewrite what block i receives.

    Returns:
        The last output, and the kept ones by number.
    """
    wanted, kept = frozenset(layers), {}
    for i, block in enumerate(blocks, start=1):
        if before is not None:
            x = before(i, x)
        x = block(x, mask)
        if i in wanted:
            kept[i] = x
    return x, kept
