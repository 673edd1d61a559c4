"""Prompts: a few fixed sentences for normal and for abnormal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vlmad_core.contracts.data import Features, TextEmbeddings
from vlmad_core.contracts.ops import l2_normalize
from vlmad_core.contracts.parts import Prompts, Sentence, TextParts
from vlmad_core.contracts.text_encoding import encode_text
from vlmad_core.contracts.towers import Backbone, TextTower

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
        for name in names:
            sides = [l2_normalize(encode_text(text, side)) for side in self.filled(name)]
            rows.append(torch.stack([l2_normalize(side.mean(0)) for side in sides]))
        return TextEmbeddings(torch.stack(rows), self.abnormal)

    def text_parts(self, text: TextTower, name: str) -> TextParts:
        """Each sentence's unit vector over the number of them and the length of their mean."""
        sentences, vectors = [], []
        for state, side in enumerate(self.filled(name)):
            unit = l2_normalize(encode_text(text, side))
            sentences += [Sentence(sentence, state, sentence) for sentence in side]
            vectors.append(unit / (len(unit) * unit.mean(0).norm()))
        return TextParts(tuple(sentences), torch.cat(vectors))

    def filled(self, name: str) -> list[list[str]]:
        """The sentences of both sides about a class name."""
        return [[sentence.replace("{}", name.replace("_", " ")) for sentence in side] for side in self.sides]
