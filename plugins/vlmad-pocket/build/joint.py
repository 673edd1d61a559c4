"""What is trained on top of the frozen encoder: heads of a projection. And the sentences they are trained against.

Parameters are named as in ``joint.safetensors``: ``vision.*`` go into ``PocketVision``, ``text.*`` into ``PocketText``.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import torch
from anchors import ANY, abnormal_sentence, kind_sentence, neutral_sentence, normal_sentence
from pictures.captions import KIND_WORDS
from pretrain_text import fresh_tower, hidden, to_ids
from torch import Tensor, nn
from torch.nn import functional
from vocabulary import THINGS

from vlmad_pocket.plugin import PocketConfig
from vlmad_pocket.text import DIM, SPECIAL
from vlmad_pocket.vision import WIDTH, Pocket

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tokenizers import Tokenizer

KINDS = tuple(KIND_WORDS)
HEAD = 384
"""Width inside one head."""


class Head(nn.Module):
    """One projection of the tokens of block 9 into the joint space.

    Args:
        width: Inside; several heads side by side make the projection of ``PocketVision``.
        drop: Share of the inside that is dropped in training, the same for all tokens of a picture.
    """

    def __init__(self, width: int = HEAD, drop: float = 0.1) -> None:
        super().__init__()
        self.up = nn.Linear(WIDTH, width)
        self.down = nn.Linear(width, DIM)
        self.drop = drop
        self.final = nn.LayerNorm(WIDTH, eps=1e-6)
        self.final.load_state_dict(Pocket(PocketConfig(words=False)).vision.final.state_dict())  # type: ignore[union-attr]
        self.final.requires_grad_(False)  # memories of raw tokens read through it

    def forward(self, x: Tensor) -> Tensor:
        """``[B, 1 + h*w, 384]`` to unit vectors ``[B, 1 + h*w, 256]``."""
        return functional.normalize(self.vectors(x), dim=-1)

    def vectors(self, x: Tensor) -> Tensor:
        """``[B, 1 + h*w, 384]`` to vectors ``[B, 1 + h*w, 256]`` of any length."""
        inner = functional.gelu(self.up(self.final(x)))
        if self.training:
            inner = inner * functional.dropout(torch.ones(len(x), 1, inner.shape[-1], device=x.device), self.drop)
        return self.down(inner).float()


def merged(heads: Sequence[Head]) -> Head:
    """The mean of the vectors of several heads, as one wider head."""
    one = Head(sum(head.up.out_features for head in heads))
    with torch.no_grad():
        one.up.weight.copy_(torch.cat([head.up.weight for head in heads]))
        one.up.bias.copy_(torch.cat([head.up.bias for head in heads]))
        one.down.weight.copy_(torch.cat([head.down.weight for head in heads], dim=1) / len(heads))
        one.down.bias.copy_(torch.stack([head.down.bias for head in heads]).mean(0))
    return one.eval()


class Reading(nn.Module):
    """Sentences to unit vectors in the joint space; finished, and not trained any more."""

    def __init__(self, folder: Path, tokenizer: Tokenizer, device: str) -> None:
        super().__init__()
        self.tower = fresh_tower(tokenizer.get_vocab_size() + SPECIAL, 0)
        self.tower.load_state_dict(torch.load(folder / "placed.pt", map_location=device, weights_only=True)["tower"])
        self.tokenizer = tokenizer
        self.requires_grad_(False).eval().to(device)

    @torch.no_grad()
    def forward(self, sentences: Sequence[str], *, chunk: int = 256) -> Tensor:
        """Unit vectors ``[P, 256]``."""
        ids = to_ids(self.tokenizer, list(sentences))
        order = (ids != 0).sum(1).argsort()  # alike in length: little padding
        out = torch.empty(len(ids), DIM)
        for rows in order.split(chunk):
            h = hidden(self.tower, ids[rows].to(self.tower.words.device))
            out[rows] = functional.normalize(self.tower.to_joint(h).float(), dim=-1).cpu()
        return out

    def ensemble(self, sentences: Sequence[str]) -> Tensor:
        """The unit mean of unit vectors, ``[256]``, as the prompts of vlmad make an anchor."""
        return functional.normalize(self(sentences).mean(0), dim=-1)


class Bank:
    """Sentences that were read once, to draw anchors from.

    Args:
        reading: Reads them.
        each: Sentences of each state and thing.
        seed: Of what is drawn.
    """

    def __init__(self, reading: Reading, *, each: int = 16, seed: int = 0) -> None:
        draw = random.Random(seed)
        self.names = [*ANY, *draw.sample(THINGS, 58)]
        self.states = [  # [normal, abnormal][thing, each, 256]
            reading([make(name, draw) for name in self.names for _ in range(each)]).reshape(len(self.names), each, DIM)
            for make in (normal_sentence, abnormal_sentence)
        ]
        called = [kind_sentence(kind, draw.choice(self.names), draw) for kind in KINDS for _ in range(each)]
        self.kinds = reading(called).reshape(len(KINDS), each, DIM)
        self.neutral = reading([neutral_sentence(draw.choice(self.names), draw) for _ in range(512)])
        self.each = each

    def anchors(self, count: int, draw: random.Random) -> tuple[Tensor, Tensor]:
        """``[count, 256]`` for normal and for abnormal.

        Six times in ten a batch shares an ensemble, as at test time; else each picture has a thing and a few sentences
        of its own. What the picture shows must not matter for finding what is wrong.
        """
        if draw.random() < 0.6:
            normal, abnormal = self._pair(draw, draw.randint(3, 12))
            return normal.expand(count, -1), abnormal.expand(count, -1)
        pairs = [self._pair(draw, draw.randint(1, 4)) for _ in range(count)]
        return torch.stack([p[0] for p in pairs]), torch.stack([p[1] for p in pairs])

    def _pair(self, draw: random.Random, size: int) -> tuple[Tensor, Tensor]:
        thing = draw.randrange(len(self.names))
        normal, abnormal = (
            functional.normalize(side[thing, draw.sample(range(self.each), size)].mean(0), dim=0)
            for side in self.states
        )
        return normal, abnormal

    def called(self, draw: random.Random) -> Tensor:
        """A sentence of each kind, and last one for no defect, ``[K + 1, 256]``."""
        rows = [draw.randrange(self.each) for _ in KINDS]
        none = self.states[0][draw.randrange(len(self.names)), draw.randrange(self.each)]
        return torch.cat([self.kinds[range(len(KINDS)), rows], none[None]])

    def odd(self, count: int, draw: random.Random) -> Tensor:
        """Differences of two sentences that say nothing of a state, ``[count, 256]``."""
        left, right = ([draw.randrange(len(self.neutral)) for _ in range(count)] for _ in range(2))
        return self.neutral[left] - self.neutral[right]


def state(head: Head, reading: Reading) -> dict[str, Any]:
    """What ``package.py`` writes."""
    return {"seeing": head.state_dict(), "text": reading.tower.state_dict()}
