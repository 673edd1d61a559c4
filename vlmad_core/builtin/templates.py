"""Prompts: a few fixed sentences for normal and for abnormal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vlmad_core.data import Anchors, Features
from vlmad_core.ops import unit
from vlmad_core.parts import Prompts
from vlmad_core.towers import Backbone, TextTower, encode

if TYPE_CHECKING:
    from vlmad_core.builtin.plugin import TemplatesConfig

__all__ = ["Templates"]


class Templates(Prompts):
    """Two anchors, each the mean of the unit vectors of its sentences, with the class name in the place of ``{}``."""

    def __init__(self, config: TemplatesConfig, backbone: Backbone) -> None:
        super().__init__()
        self.sides = (config.normal, config.abnormal)
        self.needs_names = self.takes_names = any("{}" in sentence for side in self.sides for sentence in side)
        self.register_buffer("abnormal", torch.tensor([False, True]), persistent=False)
        self.abnormal: Tensor

    def forward(self, text: TextTower, names: Sequence[str], features: Features | None = None) -> Anchors:
        """Anchors ``[len(names), 2, D]``."""
        rows = []
        for name in names:
            sides = [encode(text, [sentence.replace("{}", name) for sentence in side]) for side in self.sides]
            rows.append(torch.stack([unit(unit(side).mean(0)) for side in sides]))
        return Anchors(torch.stack(rows), self.abnormal)
