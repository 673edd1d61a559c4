"""Prompts: learned vectors in front of a few words for normal and abnormal, and deeper in the text tower.

AnomalyCLIP (Zhou et al., ICLR 2024). The sentences name an "object", whatever the image shows, so that what was learned
on some objects serves for others; with ``class_wise`` they hold the class name.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vlmad_core.contracts import (
    Backbone,
    Features,
    Prompts,
    Sentence,
    TextEmbeddings,
    TextParts,
    TextTower,
    find_slots,
    forward_blocks,
    l2_normalize,
    word_vectors,
)
from vlmad_core.errors import IncompatibleError

if TYPE_CHECKING:
    from vlmad_learned_prompts.plugin import LearnedConfig

__all__ = ["Learned"]

_SPREAD = 0.02
"""Standard deviation of vectors that begin at random."""


class Learned(Prompts):
    """Two text_embeddings: ``[V_1 ... V_n] object.`` and ``[W_1 ... W_n] damaged object.``.

    Block 1 of the text tower reads these. Before each block from 2 to ``depth`` the first ``deep_length`` positions of
    the learned vectors are overwritten with that block's deep prompt, the same for both states; what the block before
    gave there is dropped (the paper speaks of joining them; its code overwrites).

    Attributes:
        ctx_normal: ``[length, W]``, V.
        ctx_abnormal: ``[length, W]``, W.
        deep: ``[depth - 1, deep_length, W]``, for blocks 2 to ``depth``; None where depth is 1.

    Raises:
        IncompatibleError: No text, a depth or a length beyond the text tower, or more words to begin with than vectors.
    """

    deep: Tensor | None

    def __init__(self, config: LearnedConfig, backbone: Backbone) -> None:
        super().__init__()
        text = backbone.text
        if text is None:
            raise IncompatibleError(
                "learns prompts, and the backbone has no text; take one with text such as 'open-clip'."
            )
        blocks = len(text.blocks)
        self.depth = max(1, 3 * blocks // 4) if config.depth is None else config.depth
        if self.depth > blocks:
            raise IncompatibleError(
                f"depth {self.depth} leaves this text tower, which has {blocks} blocks; take 1 to {blocks}, or leave "
                "depth empty for three quarters of them."
            )
        self.config = config
        self.class_name_use = "required" if config.class_wise else "ignored"
        for sentence in self.sentences(config.word):
            find_slots(text, sentence, config.length)
        self.ctx_normal = nn.Parameter(self._first_vectors(text))
        self.ctx_abnormal = nn.Parameter(self._first_vectors(text))
        deep = torch.empty(self.depth - 1, config.deep_length, text.width).normal_(0, _SPREAD)
        self.register_parameter("deep", nn.Parameter(deep) if len(deep) else None)
        self.register_buffer("abnormal", torch.tensor([False, True]), persistent=False)
        self.abnormal: Tensor

    def forward(self, text: TextTower, names: Sequence[str], features: Features | None = None) -> TextEmbeddings:
        """TextEmbeddings ``[len(names), 2, D]``; without ``class_wise`` the same for every name."""
        if not self.config.class_wise:
            return TextEmbeddings(
                l2_normalize(self.encode(text, [self.config.word])).expand(len(names), -1, -1), self.abnormal
            )
        distinct = list(dict.fromkeys(names))
        vectors = l2_normalize(self.encode(text, [name.replace("_", " ") for name in distinct]))
        return TextEmbeddings(vectors[[distinct.index(name) for name in names]], self.abnormal)

    def text_parts(self, text: TextTower, name: str) -> TextParts:
        """One learned sentence a state; learned vectors have no words, so each stands as ``V``."""
        word = name.replace("_", " ") if self.config.class_wise else self.config.word
        learned = "V " * self.config.length
        sentences = [
            Sentence(f"{learned}{phrase}", state, phrase, f"{learned}{{}}")
            for state, phrase in enumerate(self.sentences(word))
        ]
        return TextParts(tuple(sentences), l2_normalize(self.encode(text, [word])[0]))

    def encode(self, text: TextTower, words: Sequence[str]) -> Tensor:
        """Both states of each word through the text tower: ``[N, 2, D]``, not of unit length."""
        x, ids, first = self.assemble(text, words)
        length = text.trim(ids).shape[1]
        mask = None if text.mask is None else text.mask[:length, :length]
        x, ids = text.add_positions(x[:, :length]), ids[:, :length]
        x, _ = forward_blocks(text.blocks, x, mask=mask, before=partial(self._insert, first))
        vectors: Tensor = text.pool(x, ids).unflatten(0, (len(words), 2))
        return vectors

    def assemble(self, text: TextTower, words: Sequence[str]) -> tuple[Tensor, Tensor, int]:
        """Sentences with the learned vectors in them.

        Args:
            text: The tower.
            words: N of them, each in both states.

        Returns:
            Vectors before positions ``[2 N, L, W]``, normal and abnormal in turn; ids of the same sentences with
            placeholders, ``[2 N, L]``; and the column of the first learned vector.

        Raises:
            IncompatibleError: A word so long that the sentence does not fit the tower.
        """
        found = [find_slots(text, s, self.config.length) for word in words for s in self.sentences(word)]
        ids, first = torch.stack([row for row, _ in found]), found[0][1]
        x = text.embed(ids)
        learned = torch.stack([self.ctx_normal, self.ctx_abnormal]).to(x.dtype).repeat(len(words), 1, 1)
        x = torch.cat([x[:, :first], learned, x[:, first + self.config.length :]], dim=1)
        return x, ids, first

    def sentences(self, word: str) -> tuple[str, str]:
        """The words behind the learned vectors, for normal and abnormal."""
        return self.config.normal.replace("{}", word), self.config.abnormal.replace("{}", word)

    def _insert(self, first: int, block: int, x: Tensor) -> Tensor:
        if self.deep is None or not 2 <= block <= self.depth:
            return x
        deep = self.deep[block - 2].expand(len(x), -1, -1)
        if self.config.half:  # after expand: the gradient of each sentence is rounded before they are summed
            deep = deep.half()
        return torch.cat([x[:, :first], deep.to(x.dtype), x[:, first + deep.shape[1] :]], dim=1)

    def _first_vectors(self, text: TextTower) -> Tensor:
        """``[length, W]``: at random, with the words to begin with at the end."""
        vectors = torch.empty(self.config.length, text.width).normal_(0, _SPREAD)
        if not self.config.init:
            return vectors
        words = word_vectors(text, self.config.init).to(vectors)
        if len(words) > len(vectors):
            raise IncompatibleError(
                f"init '{self.config.init}' has {len(words)} pieces, and there are {len(vectors)} learned vectors; "
                f"take a length of at least {len(words)}, or fewer words."
            )
        return torch.cat([vectors[: len(vectors) - len(words)], words.detach()])
