"""An extractor that computes the features of an image once, however many folds need them."""

from __future__ import annotations

import hashlib
from typing import cast

import torch
from torch import Tensor

from vlmad_core.contracts import Extractor, Features, VisionTower

__all__ = ["CachedExtractor"]


class CachedExtractor(Extractor):
    """As another extractor whose parameters do not change; features stay in memory up to a limit.

    Args:
        extractor: Which.
        limit: Bytes; what does not fit is computed again.
    """

    def __init__(self, extractor: Extractor, limit: float = 2e9) -> None:
        super().__init__()
        self.extractor, self.levels, self._room = extractor, extractor.levels, limit
        self._kept: dict[str, dict[str, Tensor]] = {}
        self._template: Features | None = None

    def forward(self, vision: VisionTower, images: Tensor) -> Features:
        """``[B, 3, H, W]`` to features, image by image."""
        rows = [self._row(vision, image) for image in images]
        template = cast("Features", self._template)
        return template.with_tensors({name: torch.cat([row[name] for row in rows]) for name in rows[0]})

    def _row(self, vision: VisionTower, image: Tensor) -> dict[str, Tensor]:
        key = hashlib.sha256(image.detach().float().cpu().numpy().tobytes()).hexdigest()
        if key in self._kept:
            return self._kept[key]
        features: Features = self.extractor(vision, image[None])
        # Cell grids are those of the backbone's input, which is one for all images of a detector.
        self._template = features
        row = features.tensors()
        size = sum(tensor.numel() * tensor.element_size() for tensor in row.values())
        if size <= self._room:
            self._room -= size
            self._kept[key] = row
        return row
