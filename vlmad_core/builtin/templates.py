"""Prompts: a few fixed sentences for normal and for abnormal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vlmad_core.contracts.data import Features, TextEmbeddings
from vlmad_core.contracts.ops import l2_normalize
from vlmad_core.contracts.parts import Prompts
from vlmad_core.contracts.towers import Backbone, TextTower, encode_text

if TYPE_CHECKING:
    from vlmad_core.builtin.plugin import TemplatesConfig

__all__ = ["Templates"]


class Templates(Prompts):
    """Two embeddings, each the mean of the unit vectors of its sentences, with the class name in place of ``{}``.

    Underscores of a class name become spaces: ``metal_nut`` is read as "metal nut".
    """

    def __init__(self, config: TemplatesConfig, backbone: Backbone) -> None:
        super().__init__()
        self.sides = (config.normal, config.abnormal)
        uses_name = any("{}" in sentence for side in self.sides for sentence in side)
        self.class_name_use = "required" if uses_name else "ignored"
        self.register_buffer("abnormal", torch.tensor([False, True]), persistent=False)
        self.abnormal: Tensor

    def forward(self, text: TextTower, names: Sequence[str], features: Features | None = None) -> TextEmbeddings:
        """TextEmbeddings ``[len(names), 2, D]``."""
        rows = []
        for name in (name.replace("_", " ") for name in names):
            sides = [encode_text(text, [sentence.replace("{}", name) for sentence in side]) for side in self.sides]
            rows.append(torch.stack([l2_normalize(l2_normalize(side).mean(0)) for side in sides]))
        return TextEmbeddings(torch.stack(rows), self.abnormal)
