"""Sentences with vectors in front of them through a text tower."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vlmad_core.contracts import TextTower, find_slots, forward_blocks

__all__ = ["encode_with_context"]


def encode_with_context(text: TextTower, rows: Sequence[tuple[str, Tensor]]) -> Tensor:
    """Each sentence with its own vectors in front, which stand for words.

    Args:
        text: The tower.
        rows: P sentences, each with vectors ``[n, W]``, n of at least 1.

    Returns:
        ``[P, D]``, not of unit length.

    Raises:
        IncompatibleError: A sentence that does not fit the tower with its vectors.
    """
    ids, inputs = [], []
    for sentence, vectors in rows:
        found, first = find_slots(text, sentence, len(vectors))
        words = text.embed(found[None])[0]
        inputs.append(torch.cat([words[:first], vectors.to(words.dtype), words[first + len(vectors) :]]))
        ids.append(found)
    all_ids = torch.stack(ids)
    length = text.trim(all_ids).shape[1]
    mask = None if text.mask is None else text.mask[:length, :length]
    x, _ = forward_blocks(text.blocks, text.add_positions(torch.stack(inputs)[:, :length]), mask=mask)
    return text.pool(x, all_ids[:, :length])
