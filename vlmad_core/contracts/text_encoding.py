"""Sentences through the text encoder of a backbone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vlmad_core.contracts.prefix_tree import PrefixTree, is_causal
from vlmad_core.contracts.towers import TextTower, forward_blocks

__all__ = ["encode_text"]

_WORTH = 0.75  # a tree of more than this share of all tokens saves less than its wide attention costs


def encode_text(text: TextTower, sentences: Sequence[str], *, chunk: int = 64) -> Tensor:
    """Sentences through a text tower: ``[P, D]``, not of unit length. Each distinct sentence is computed once.

    Under a causal mask so is each distinct beginning of those in a chunk: of states in templates it is a third of all
    tokens. The features differ from those of each sentence alone by rounding.

    Args:
        text: The tower.
        sentences: P of them.
        chunk: Sentences through the tower at a time.
    """
    shares = is_causal(text.mask)
    # Neighbours begin alike, or are alike in length, so that a chunk has little padding.
    distinct = sorted(dict.fromkeys(sentences), key=None if shares else len)
    features: dict[str, Tensor] = {}
    for start in range(0, len(distinct), chunk):
        part = distinct[start : start + chunk]
        features.update(zip(part, _encode(text, text.tokenize(part), shares=shares), strict=True))
    return torch.stack([features[sentence] for sentence in sentences])


def _encode(text: TextTower, ids: Tensor, *, shares: bool) -> Tensor:
    """``[P, L]`` ids to ``[P, D]``."""
    ids = text.trim(ids)
    length = ids.shape[1]
    x = text.add_positions(text.embed(ids))  # [P, L, W]
    if shares and text.mask is not None:
        tree = PrefixTree.of(ids, [text.trim(row[None]).shape[1] for row in ids])
        if len(tree.tokens) <= _WORTH * ids.numel():
            nodes, _ = forward_blocks(text.blocks, x.flatten(0, 1)[tree.tokens][None], mask=tree.mask(text.mask))
            return text.pool(nodes[0][tree.places], ids)
    mask = None if text.mask is None else text.mask[:length, :length]
    x, _ = forward_blocks(text.blocks, x, mask=mask)
    return text.pool(x, ids)
