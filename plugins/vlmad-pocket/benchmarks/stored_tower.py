"""A vision tower that keeps what its blocks gave for an image in files, so that a benchmark goes on after a stop.

Every recipe at every quality then costs one pass of the tower for an image and size, whatever else is repeated. Tokens
are kept in half precision; scores differ by it in the fourth digit.
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
        self.now: dict[int, Tensor] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def embed(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """The tokens before the first block, and their grid; what the blocks give for them is read or computed."""
        found = [self._read(image) for image in images]
        self.now = {layer: torch.stack([each[layer] for each in found]) for layer in self.layers}
        height, width = images.shape[-2] // self.patch[0], images.shape[-1] // self.patch[1]
        return images.new_zeros(len(images), self.prefix + height * width, self.width), (height, width)

    def _read(self, image: Tensor) -> dict[int, Tensor]:
        path = self.folder / f"{hashlib.sha256(image.numpy().tobytes()).hexdigest()[:32]}.safetensors"
        kept: dict[str, Tensor] = safetensors.torch.load_file(path) if path.exists() else {}
        if all(str(layer) in kept for layer in self.layers):
            return {layer: kept[str(layer)].float() for layer in self.layers}
        x, _ = self._tower.embed(image[None])
        for number, block in enumerate(self._tower.blocks[: self.layers[-1]], start=1):
            x = block(x)
            if number in self.layers:
                kept[str(number)] = x[0].half()
        draft = path.with_suffix(".tmp")
        safetensors.torch.save_file(kept, draft)
        draft.replace(path)
        return {layer: kept[str(layer)].float() for layer in self.layers}

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
        """The output that was stored; those before the first stored one are never looked at."""
        if self._number < self._tower.layers[0]:
            return x
        if self._number not in self._tower.layers:
            return torch.full_like(x, torch.nan)  # a recipe that reads it gets no score
        return self._tower.now[self._number]
