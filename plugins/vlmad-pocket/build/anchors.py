"""Which sentences stand for normal and abnormal in a batch: never twice the same, never a held-out word."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vocabulary import HELD_OUT, KINDS, TEMPLATES, THINGS, abnormal, normal

if TYPE_CHECKING:
    from collections.abc import Sequence

_FORBIDDEN = re.compile("|".join(HELD_OUT))
_ANY = ("object", "surface", "part", "item", "product", "thing")


def allowed(sentences: Sequence[str]) -> list[str]:
    """Without those that hold a held-out word, in whatever form."""
    return [s for s in sentences if not _FORBIDDEN.search(s.lower())]


ABNORMAL, NORMAL = allowed(abnormal()), allowed(normal())


@dataclass
class Said:
    """Sentences of a batch; an anchor is the mean of its sentences, as prompts make it."""

    normal: list[list[str]] = field(default_factory=list)
    abnormal: list[list[str]] = field(default_factory=list)
    nonsense: list[tuple[str, str]] = field(default_factory=list)

    def all(self) -> list[str]:
        """Every sentence."""
        flat = [s for side in (*self.normal, *self.abnormal) for s in side]
        return flat + [s for pair in self.nonsense for s in pair]


def say(words: Sequence[dict[str, Any]], draw: random.Random, common: Sequence[str]) -> Said:
    """Anchors for pictures with these words.

    Three times in ten every picture has its own sentences; else the batch shares an ensemble, as at test time. A name
    may be the thing, any thing, or just "object": what the picture shows must not matter for finding what is wrong.
    """
    said = Said()
    shared = draw.random() < 0.7
    name, count = draw.choice((*_ANY, draw.choice(THINGS))), draw.randint(2, 5)
    ensembles = [_ensemble(side, name, count, draw) for side in (NORMAL, ABNORMAL)]
    for word in words:
        if shared:
            ours, theirs = ensembles
        else:
            thing = draw.choice((word["thing"], word["thing"], draw.choice(THINGS), draw.choice(_ANY)))
            ours, theirs = (_ensemble(side, thing, 1, draw) for side in (NORMAL, ABNORMAL))
            if draw.random() < 0.4 and len(own := allowed([word["normal"], word["abnormal"]])) == 2:
                ours, theirs = [own[0]], [own[1]]  # as the generator says it, often with the kind of defect
        said.normal.append(ours)
        said.abnormal.append(theirs)
    for _ in range(4):
        thing = draw.choice(THINGS)
        said.nonsense.append((_odd(thing, draw, common), _odd(thing, draw, common)))
    return said


def _ensemble(states: list[str], name: str, count: int, draw: random.Random) -> list[str]:
    return [draw.choice(TEMPLATES).replace("{}", draw.choice(states).replace("{}", name)) for _ in range(count)]


def _odd(thing: str, draw: random.Random, common: Sequence[str]) -> str:
    word = (
        draw.choice(common)
        if draw.random() < 0.5
        else "".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(3, 8)))
    )
    return draw.choice(TEMPLATES).replace("{}", f"{word} {thing}")


def kind_sentences(kinds: Sequence[str], phrases: dict[str, list[str]], draw: random.Random) -> list[str]:
    """A sentence for each kind of defect, and last one for no defect."""
    thing = draw.choice((*_ANY, draw.choice(THINGS)))
    named = [f"{thing} with {draw.choice(phrases[kind])}" for kind in kinds]
    template = draw.choice(TEMPLATES)
    return [template.replace("{}", s) for s in (*named, draw.choice(NORMAL).replace("{}", thing))]


__all__ = ["ABNORMAL", "KINDS", "NORMAL", "Said", "allowed", "kind_sentences", "say"]
