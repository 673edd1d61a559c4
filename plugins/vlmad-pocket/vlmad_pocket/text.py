"""The half of 'pocket' that reads: its own tokenizer and a small causal transformer, read out at the end of a sentence.

Any string can be read: what is not in the vocabulary is spelled in bytes. The library ``tokenizers`` is imported when
the first sentence comes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vlmad_core.contracts import check_text_length, linear
from vlmad_pocket.block import PocketBlock
from vlmad_pocket.weights import read_tokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenizers import Tokenizer

    from vlmad_core.contracts import Block

__all__ = ["PocketText", "causal_mask"]

WIDTH, HEADS, DEPTH, CONTEXT, DIM = 256, 4, 5, 32, 256
PAD, START, END = 0, 1, 2
SPECIAL = 3
"""Ids before the first of the tokenizer. It knows none of them, so that no text can spell an end."""


class PocketText(nn.Module):
    """The half that reads (:class:`vlmad_core.contracts.towers.TextTower`); a causal mask, as CLIP has.

    Args:
        words: Size of the vocabulary, with the three ids that are no words.
        sha256: What the file of the tokenizer must have.
    """

    blocks: Sequence[Block]
    mask: Tensor | None
    width = WIDTH
    dim = DIM

    def __init__(self, words: int, sha256: str) -> None:
        super().__init__()
        self.words = nn.Parameter(torch.empty(words, WIDTH))
        self.positions = nn.Parameter(torch.empty(CONTEXT, WIDTH))
        self.blocks = nn.ModuleList(PocketBlock(WIDTH, HEADS) for _ in range(DEPTH))  # type: ignore[assignment]
        self.final = nn.LayerNorm(WIDTH, eps=1e-6)
        self.to_joint = nn.Linear(WIDTH, DIM)
        self.register_buffer("mask", causal_mask(), persistent=False)
        self._sha256 = sha256
        self._tokenizer: Tokenizer | None = None

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """``[P, 32]`` ids: a start, the pieces, an end, padding.

        Raises:
            IncompatibleError: A text of more than 30 pieces.
        """
        if self._tokenizer is None:
            self._tokenizer = read_tokenizer(self._sha256)
        ids = torch.full((len(texts), CONTEXT), PAD)
        encodings = self._tokenizer.encode_batch([" ".join(text.split()) for text in texts])
        check_text_length(texts, [len(encoding.ids) + 2 for encoding in encodings], CONTEXT)
        for row, encoding in zip(ids, encodings, strict=True):
            pieces = [number + SPECIAL for number in encoding.ids]
            row[: len(pieces) + 2] = torch.tensor([START, *pieces, END])
        return ids.to(self.words.device)

    def trim(self, ids: Tensor) -> Tensor:
        """``[P, L']``: up to the last end, behind which a causal mask lets nothing matter."""
        return ids[:, : int((ids == END).int().argmax(1).max()) + 1]

    def embed(self, ids: Tensor) -> Tensor:
        """``[P, L, 256]`` words, no positions yet."""
        return self.words[ids]

    def add_positions(self, x: Tensor) -> Tensor:
        """``[P, L, 256]`` to the same."""
        return x + self.positions[: x.shape[1]]

    def read(self, x: Tensor, ids: Tensor) -> Tensor:
        """``[P, L, 256]`` after the last block to the normed token at the end of each sentence, ``[P, 256]``."""
        out: Tensor = self.final(x[torch.arange(len(x), device=x.device), (ids == END).int().argmax(1)])
        return out

    def pool(self, x: Tensor, ids: Tensor) -> Tensor:
        """``[P, L, 256]`` after the last block to ``[P, 256]`` in the joint space, not of unit length."""
        return linear(self.read(x, ids), self.to_joint.weight, self.to_joint.bias)


def causal_mask() -> Tensor:
    """``[32, 32]`` additive: a piece hears those before it, so padding behind the end changes nothing."""
    # On the CPU also where everything is made on "meta": there triu imports torch's compiler, which takes a second.
    return torch.full((CONTEXT, CONTEXT), -torch.inf, device="cpu").triu(1)
