"""Prompts: every state in every template, averaged to one embedding for normal and one for each kind of abnormal.

WinCLIP (Jeong et al., CVPR 2023) and APRIL-GAN (Chen et al., 2023) use it with the lists in ``data/``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vlmad_compositional.lists import read_states, read_templates
from vlmad_core.contracts import (
    Backbone,
    Ensemble,
    Features,
    Prompts,
    Sentence,
    TextEmbeddings,
    TextParts,
    TextTower,
    encode_text,
    l2_normalize,
)

if TYPE_CHECKING:
    from vlmad_compositional.plugin import CompositionalConfig

__all__ = ["Compositional"]


class Compositional(Prompts):
    """One embedding for normal, one for each kind of abnormal, in the order of the lists."""

    def __init__(self, config: CompositionalConfig, backbone: Backbone) -> None:
        super().__init__()
        self.config = config
        normal, kinds = read_states(config.states)
        self.states = (normal, *kinds.values())
        self.templates = read_templates(config.templates)
        uses_name = any("{}" in state for states in self.states for state in states)
        self.class_name_use = ("required" if config.needs_name else "optional") if uses_name else "ignored"
        self.register_buffer("abnormal", torch.tensor([False] + [True] * len(kinds)), persistent=False)
        self.abnormal: Tensor

    @property
    def ensemble(self) -> Ensemble:
        """Its lists."""
        return Ensemble(tuple(tuple(states) for states in self.states), tuple(self.templates))

    def forward(self, text: TextTower, names: Sequence[str], features: Features | None = None) -> TextEmbeddings:
        """TextEmbeddings ``[len(names), 1 + kinds, D]``."""
        return TextEmbeddings(l2_normalize(torch.stack([self.prototypes(text, name) for name in names])), self.abnormal)

    def prototypes(self, text: TextTower, name: str) -> Tensor:
        """``[1 + kinds, D]`` before the last normalisation."""
        sides = [self.sentences(name, states) for states in self.states]
        encoded = encode_text(text, [sentence for side in sides for sentence in side])
        vectors = l2_normalize(encoded) if self.config.average == "unit" else encoded.to(l2_normalize(encoded).dtype)
        means = [side.mean(0) for side in vectors.split([len(side) for side in sides])]
        return torch.stack([l2_normalize(mean) for mean in means] if self.config.average == "unit" else means)

    def text_parts(self, text: TextTower, name: str) -> TextParts:
        """Each sentence's vector over the number of sentences of its state and the length of their mean."""
        described, vectors = [], []
        for number, states in enumerate(self.states):
            encoded = encode_text(text, self.sentences(name, states))
            unit = l2_normalize(encoded)
            rows = unit if self.config.average == "unit" else encoded.to(unit.dtype)
            vectors.append(rows / (len(rows) * rows.mean(0).norm()))
            described += [
                Sentence(template.replace("{}", phrase), number, phrase, template)
                for phrase in self.phrases(name, states)
                for template in self.templates
            ]
        return TextParts(tuple(described), torch.cat(vectors))

    def sentences(self, name: str, states: Sequence[str]) -> list[str]:
        """Every state in every template, states in the outer loop."""
        return [t.replace("{}", phrase) for phrase in self.phrases(name, states) for t in self.templates]

    def phrases(self, name: str, states: Sequence[str]) -> list[str]:
        """The states with the class name in them."""
        if self.config.underscores == "spaces":
            name = name.replace("_", " ")
        return [state.replace("{}", name) for state in states]
