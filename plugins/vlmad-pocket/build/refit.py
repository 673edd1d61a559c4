"""Which kind of defect a cell shows, solved in closed form behind the hidden units of the merged head.

The heads of ``train.py`` see few pictures of each kind. A ridge regression sees all of them at once: the directions of
kinds (axes 1 to 63) of defective cells turn to what the text tower says of their kind and keep their length; those of
sound cells stay, since their length says how unsure the head is of the state. The axis of the state and the directions
of things stay as trained.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import features
import torch
from frame import FIRST_KIND, FIRST_THING
from pictures.captions import KIND_WORDS
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from joint import Head, Reading

CELLS = 12
"""Of each picture, defective and sound ones each."""
RIDGE = 0.01
"""Of the mean square of a hidden unit."""
_KINDS = slice(FIRST_KIND, FIRST_THING)


def kind_vectors(reading: Reading) -> dict[str, Tensor]:
    """Where the text tower has each kind, about their mean, ``[63]``."""
    named = {kind: nouns.split("|") for kind, (_, nouns) in KIND_WORDS.items()}
    said = {kind: [f"a photo of an object with {noun}" for noun in nouns] for kind, nouns in named.items()}
    vectors = torch.stack([reading.ensemble(sentences) for sentences in said.values()])[:, _KINDS]
    return dict(zip(said, vectors - vectors.mean(0), strict=True))


def samples(shards: list[dict[str, Any]], reading: Reading) -> tuple[Tensor, Tensor]:
    """Tokens ``[N, 384]`` and the direction of their kind, ``[N, 63]``; zero for sound cells."""
    kinds = kind_vectors(reading)
    none, order = torch.zeros(FIRST_THING - FIRST_KIND), torch.Generator().manual_seed(0)
    tokens, wanted = [], []
    for shard in shards:
        target, weight = features.targets(shard["share"], shard["moved"][:, 1:])
        for i, word in enumerate(shard["words"]):
            bad, good = target[i].nonzero()[:, 0], ((target[i] == 0) & (weight[i] > 0)).nonzero()[:, 0]
            own = kinds[word["kind"]]
            for side, cells, vector in (("damaged", bad, own), ("damaged", good, none), ("clean", bad, none)):
                chosen = cells[torch.randperm(len(cells), generator=order)[:CELLS]]
                tokens.append(shard[side][i][chosen + 1].float())
                wanted.append(vector.expand(len(chosen), -1))
    return torch.cat(tokens), torch.cat(wanted)


@torch.no_grad()
def refit(head: Head, shards: list[dict[str, Any]], reading: Reading) -> None:
    """Replace the directions of kinds of a head, in place."""
    tokens, wanted = samples(shards, reading)
    width = head.up.out_features
    square, product = torch.zeros(width + 1, width + 1), torch.zeros(width + 1, wanted.shape[1])
    for x, y in zip(tokens.split(4096), wanted.split(4096), strict=True):
        inner = functional.gelu(head.up(head.final(x)))
        trained = head.down(inner)[:, _KINDS]
        length = trained.norm(dim=1, keepdim=True)
        y = torch.where(y.any(1, keepdim=True), functional.normalize(y, dim=1) * length, trained)
        inner = torch.cat([inner, torch.ones(len(x), 1)], dim=1)
        square += inner.T @ inner
        product += inner.T @ y
    square.diagonal()[:-1].add_(RIDGE * square.diagonal()[:-1].mean())
    solved = torch.linalg.solve(square, product)  # [width + 1, 63]
    head.down.weight[_KINDS].copy_(solved[:-1].T)
    head.down.bias[_KINDS].copy_(solved[-1])
