"""Sentences that begin alike, as one tree of tokens: under a causal mask what they share is computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["PrefixTree", "is_causal"]


@dataclass(frozen=True, eq=False)
class PrefixTree:
    """Every distinct beginning of some sentences, each once and after its own beginnings.

    A token under a causal mask depends on the tokens before it alone, so sentences with the same beginning have the
    same features there.

    Args:
        tokens: ``[N]``, where each beginning stands in the flat ``[P * L]`` ids.
        places: ``[P, L]``, the beginning that ends at each token, from 0 to N - 1; 0 behind the end of a sentence.
        hidden: ``[N, N]``, true where the beginning of the column is none of the beginning of the row.
    """

    tokens: Tensor
    places: Tensor
    hidden: Tensor

    @classmethod
    def of(cls, ids: Tensor, lengths: Sequence[int]) -> PrefixTree:
        """The tree of ``[P, L]`` ids, of which only the first ``lengths`` of each row matter.

        >>> PrefixTree.of(torch.tensor([[1, 5, 7, 2], [1, 5, 2, 0]]), [4, 3]).places
        tensor([[0, 1, 2, 3],
                [0, 1, 4, 0]])
        """
        width = ids.shape[1]
        numbers: dict[tuple[int, int], int] = {}  # the beginning before a token, and the token
        tokens, before = list[int](), list[int]()
        places = torch.zeros(ids.shape, dtype=torch.long)
        for row, (sentence, length) in enumerate(zip(ids.tolist(), lengths, strict=True)):
            last, path = -1, []
            for column, token in enumerate(sentence[:length]):
                number = numbers.setdefault((last, token), len(tokens))
                if number == len(tokens):
                    tokens.append(row * width + column)
                    before.append(last)
                path.append(number)
                last = number
            places[row, :length] = torch.tensor(path)
        hidden = ~torch.eye(len(tokens), dtype=torch.bool)
        for number, last in enumerate(before):
            if last >= 0:
                hidden[number] &= hidden[last]
        device = ids.device
        return cls(torch.tensor(tokens, device=device), places.to(device), hidden.to(device))

    def mask(self, like: Tensor) -> Tensor:
        """``[N, N]`` additive: each token sees its own beginnings, of the type and on the device of ``like``."""
        return torch.zeros_like(like[:1, :1]).expand(self.hidden.shape).masked_fill(self.hidden, -torch.inf)


def is_causal(mask: Tensor | None) -> bool:
    """Whether a mask lets each token see itself and those before it, and nothing else."""
    if mask is None or mask.ndim != 2:
        return False
    return torch.equal(mask, torch.zeros_like(mask).masked_fill(torch.ones_like(mask).triu(1).bool(), -torch.inf))
