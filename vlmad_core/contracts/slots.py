"""Where learned vectors go in a sentence: token ids with placeholders, whatever the tokenizer is."""

from __future__ import annotations

import torch
from torch import Tensor

from vlmad_core.contracts.towers import TextTower
from vlmad_core.errors import IncompatibleError

__all__ = ["find_slots", "word_vectors"]

_ONE, _OTHER = "X", "Z"
"""Two words of one token each: where their sentences differ is where the placeholder stands."""


def find_slots(text: TextTower, words: str, length: int, *, front: str = "") -> tuple[Tensor, int]:
    """Token ids of a sentence with placeholders, as in "X X X object.".

    Args:
        text: Whose tokenizer is used.
        words: Behind the placeholders.
        length: Number of placeholders.
        front: Words before the placeholders.

    Returns:
        Ids ``[L]``, with padding, and the column of the first placeholder; those behind it follow at once.

    Raises:
        IncompatibleError: The sentence does not fit the tower.
    """
    sentences = [[front, mark, words] for mark in (_ONE, _OTHER, " ".join([_ONE] * length))]
    try:
        one, other, ids = text.tokenize([" ".join(filter(None, sentence)) for sentence in sentences])
    except IncompatibleError as error:  # the tokenizer refuses what is too long
        raise _too_long(text, words, length) from error
    columns = (one != other).nonzero().flatten()
    if len(columns) == 1:
        first = int(columns)
        grown = torch.cat([one[:first], one[first].expand(length), one[first + 1 :]])
        # Nothing but padding may have left at the end: some tokenizers cut off what is too long.
        if torch.equal(grown[: len(ids)], ids) and bool((grown[len(ids) :] == one[-1]).all()):
            return ids, first
    raise _too_long(text, words, length)


def _too_long(text: TextTower, words: str, length: int) -> IncompatibleError:
    positions = text.tokenize([""]).shape[1]
    return IncompatibleError(
        f"{length} learned vectors in front of '{words}' do not fit into the {positions} positions of this text tower; "
        "take a smaller length, or fewer words."
    )


def word_vectors(text: TextTower, words: str) -> Tensor:
    """``[n, W]``: what the tower has for each piece of some words, before positions.

    Raises:
        IncompatibleError: The words do not fit the tower.
    """
    _, first = find_slots(text, "", 1)
    ids, end = find_slots(text, "", 1, front=words)
    return text.embed(ids[None, first:end])[0]
