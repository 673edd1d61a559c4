"""A vision tower that keeps what its blocks gave for an image in files, so that a benchmark goes on after a stop.

Every recipe at every quality then costs one pass of the tower for an image and size, whatever else is repeated. Tokens
are kept in half precision, and later blocks go on from there; scores differ by it in the fourth digit.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from vlmad_core.contracts import VisionTower

__all__ = ["StoredTower"]


class StoredTower(nn.Module):
    """As the tower, for recipes that read the outputs of whole blocks.

    Args:
        tower: The vision tower of 'pocket', with or without words.
        folder: For the files; made if needed.
        layers: Blocks whose outputs are kept, in ascending order; a recipe that asks for another one is refused.
    """

    def __init__(self, tower: VisionTower, folder: Path, layers: tuple[int, ...]) -> None:
        super().__init__()
        self._tower = tower
        self.width, self.dim, self.prefix, self.patch = tower.width, tower.dim, tower.prefix, tower.patch
        self.joint, self.class_pool = tower.joint, tower.class_pool
        self.layers, self.folder = layers, folder
        self.blocks = [_StoredBlock(self, number) for number in range(1, len(tower.blocks) + 1)]
        self._images, self._paths, self._kept = torch.empty(0), list[Path](), list[dict[str, Tensor]]()
        folder.mkdir(parents=True, exist_ok=True)

    def embed(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """The tokens before the first block, and their grid; what the blocks give for them is read or computed."""
        self._images = images
        names = [hashlib.sha256(image.numpy().tobytes()).hexdigest()[:32] for image in images]
        self._paths = [self.folder / f"{name}.safetensors" for name in names]
        self._kept = [safetensors.torch.load_file(path) if path.exists() else {} for path in self._paths]
        height, width = images.shape[-2] // self.patch[0], images.shape[-1] // self.patch[1]
        return images.new_zeros(len(images), self.prefix + height * width, self.width), (height, width)

    def output(self, layer: int) -> Tensor:
        """``[B, L, W]``, of the images that were embedded last."""
        return torch.stack([self._output(i, layer) for i in range(len(self._images))])

    def _output(self, i: int, layer: int) -> Tensor:
        kept = self._kept[i]
        if str(layer) in kept:
            return kept[str(layer)].float()
        first = max((int(name) for name in kept if int(name) < layer), default=0)
        x = kept[str(first)][None].float() if first else self._tower.embed(self._images[i][None])[0]
        for number in range(first + 1, layer + 1):
            x = self._tower.blocks[number - 1](x)
            if number in self.layers:
                kept[str(number)] = x[0].half()
        draft = self._paths[i].with_suffix(".tmp")
        safetensors.torch.save_file(kept, draft)
        draft.replace(self._paths[i])
        return kept[str(layer)].float()

    def norm(self, x: Tensor) -> Tensor:
        """As the tower's."""
        return self._tower.norm(x)

    def project(self, x: Tensor) -> Tensor:
        """As the tower's."""
        return self._tower.project(x)

    def pool(self, x: Tensor) -> Tensor:
        """As the tower's."""
        return self._tower.pool(x)


class _StoredBlock:
    def __init__(self, tower: StoredTower, number: int) -> None:
        self._tower, self._number = tower, number

    def __call__(self, x: Tensor, mask: Any = None) -> Tensor:
        """The output that was stored, or NaN: a recipe that reads another block gets no score."""
        return self._tower.output(self._number) if self._number in self._tower.layers else torch.full_like(x, torch.nan)
