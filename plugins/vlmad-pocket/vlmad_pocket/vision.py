"""The backbone 'pocket': DINOv2 ViT-S/14 in plain torch, opened into the parts of the contracts.

Its blocks and its norm are as they were published. Without words there are all twelve. With words the first nine: what
is wrong with a place is told best there, before the last blocks make it a part of a meaning; a projection follows,
trained here for the half that reads (``text.py``). Parameters are called as in the files of weights.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from vlmad_core.contracts import Backbone, Preprocess, check_size, find_device, linear
from vlmad_pocket.block import PocketBlock
from vlmad_pocket.text import DIM, PocketText, causal_mask
from vlmad_pocket.weights import read_joint_note, read_note, read_weights

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vlmad_core.contracts import Block
    from vlmad_pocket.plugin import PocketConfig

__all__ = ["Pocket", "PocketVision"]

WIDTH, HEADS, PATCH, SIDE = 384, 6, 14, 37
PUBLISHED, READ = 12, 9
"""Blocks of DINOv2, and how many of them lead to the words."""

_Half = TypeVar("_Half", bound=nn.Module)
_EPSILON = 1e-6
MIDDLE = 2304  # width inside the projection: six heads of 384, trained apart and averaged
_MOST_GRIDS = 16  # tables of positions that are kept


class PocketVision(nn.Module):
    """The image encoder (:class:`vlmad_core.contracts.VisionTower`): a class token, then patches of 14 x 14 pixels.

    Args:
        words: Whether it leads to the words.
    """

    blocks: Sequence[Block]
    width = WIDTH
    prefix = 1
    patch = (PATCH, PATCH)
    class_pool = True

    def __init__(self, *, words: bool = False) -> None:
        super().__init__()
        self.joint, self.dim = words, DIM if words else WIDTH
        self.to_tokens = nn.Conv2d(3, WIDTH, PATCH, stride=PATCH)
        self.class_token = nn.Parameter(torch.empty(1, 1, WIDTH))
        self.positions = nn.Parameter(torch.empty(1, 1 + SIDE * SIDE, WIDTH))
        count = READ if words else PUBLISHED
        self.blocks = nn.ModuleList(PocketBlock(WIDTH, HEADS) for _ in range(count))  # type: ignore[assignment]
        self.final = nn.LayerNorm(WIDTH, eps=_EPSILON)
        if words:
            self.up = nn.Linear(WIDTH, MIDDLE)
            self.down = nn.Linear(MIDDLE, DIM)
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
        """``[..., 384]``, normed, to ``[..., 256]`` among the text vectors; the same without words."""
        if not self.joint:
            return x
        return linear(linear(x, self.up.weight, self.up.bias, gelu=True), self.down.weight, self.down.bias)

    def pool(self, x: Tensor) -> Tensor:
        """``[B, L, 384]`` after the last block to the projected class token, ``[B, D]``."""
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
        note, device, dtype = read_note(), find_device(config.device), getattr(torch, config.dtype)
        last = tuple(f"vision.blocks.{i}." for i in range(READ, PUBLISHED)) if config.words else ()
        tensors = read_weights(note["sha256"], dtype=dtype, device=device, without=last)
        provenance = {"backbone": "pocket", "weights": note["name"], "sha256": note["sha256"]}
        text = None
        if config.words:
            joint = read_joint_note()
            tensors |= read_weights(joint["sha256"], dtype=dtype, device=device, file="joint.safetensors")
            text = _filled(PocketText, "text.", tensors, len(tensors["text.words"]), joint["tokenizer_sha256"])
            text.mask = causal_mask().to(device, dtype)
            provenance["weights"] += f" + {joint['name']}"
            provenance["sha256"] = hashlib.sha256(f"{note['sha256']}{joint['sha256']}".encode()).hexdigest()
        vision = _filled(PocketVision, "vision.", tensors, words=config.words)
        pixels = Preprocess(size, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), interpolation="bicubic")
        super().__init__(vision, text, pixels, provenance=provenance)


def _filled(half: type[_Half], prefix: str, tensors: Mapping[str, Tensor], *sizes: Any, **options: Any) -> _Half:
    """Half of the model over tensors that were read, without drawing numbers that would be replaced."""
    with torch.device("meta"):
        made = half(*sizes, **options)
    own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    known = made.state_dict().keys()
    own = {name: tensor for name, tensor in own.items() if name in known}  # not the blocks that words do not need
    made.load_state_dict(own, assign=True)
    return made


def resize_positions(positions: Tensor, grid: tuple[int, int]) -> Tensor:
    """``[1, 1 + 37*37, W]`` to ``[1, 1 + h*w, W]``: bicubic with antialiasing, in float32, as timm does."""
    table = positions[:, 1:].float().reshape(1, SIDE, SIDE, -1).permute(0, 3, 1, 2)  # [1, W, 37, 37]
    table = functional.interpolate(table, size=grid, mode="bicubic", antialias=True)
    return torch.cat([positions[:, :1], table.flatten(2).transpose(1, 2).to(positions.dtype)], dim=1)
