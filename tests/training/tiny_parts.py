"""Parts with parameters, small enough to train in a test."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from vlmad_core.contracts import (
    Extractor,
    Features,
    Level,
    LevelSpec,
    Prompts,
    TextEmbeddings,
    forward_blocks,
    l2_normalize,
)


class Map(Extractor):
    """Joint tokens of the last block, through one linear map that is learned."""

    def __init__(self, config, backbone):
        super().__init__()
        dim = backbone.vision.dim
        self.levels = (LevelSpec("mapped", dim, True),)
        self.linear = nn.Linear(dim, dim)

    def forward(self, vision, images):
        return self.apply_learned(self.extract_frozen(vision, images))

    def extract_frozen(self, vision, images):
        x, grid = vision.embed(images)
        x, _ = forward_blocks(vision.blocks, x)
        tokens = vision.project(vision.norm(x[:, vision.prefix :]))
        return Features((Level(self.levels[0], tokens, grid),), vision.pool(x))

    def apply_learned(self, features):
        level = features.levels[0]
        return Features((replace(level, vectors=self.linear(level.vectors)),), features.image)


class Whole(Map):
    """The same without saying what of it stays the same."""

    extract_frozen, apply_learned = Extractor.extract_frozen, Extractor.apply_learned

    def forward(self, vision, images):
        return Map.apply_learned(self, Map.extract_frozen(self, vision, images))


class Noise(Map):
    """Draws random numbers in training."""

    def apply_learned(self, features):
        level = features.levels[0]
        noisy = nn.functional.dropout(level.vectors, 0.3, self.training)
        return Features((replace(level, vectors=self.linear(noisy)),), features.image)


class Twice(Map):
    """Two levels alike."""

    def __init__(self, config, backbone):
        super().__init__(config, backbone)
        (level,) = self.levels
        self.levels = (level, replace(level, name="again"))

    def apply_learned(self, features):
        mapped = super().apply_learned(features)
        (level,) = mapped.levels
        return Features((level, replace(level, spec=self.levels[1])), mapped.image)


class Word(Prompts):
    """Two text embeddings that are learned as they are."""

    class_name_use = "ignored"

    def __init__(self, config, backbone):
        super().__init__()
        self.vectors = nn.Parameter(torch.randn(2, backbone.text.dim))

    def forward(self, text, names, features=None):
        abnormal = torch.tensor([False, True], device=self.vectors.device)
        return TextEmbeddings(l2_normalize(self.vectors).expand(len(names), -1, -1), abnormal)


def convert(path):
    """Reads the checkpoints of these parts."""
    saved = torch.load(path, weights_only=True)
    return {f"extractor.linear.{name}": value for name, value in saved.items()}
