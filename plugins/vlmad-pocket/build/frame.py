"""The frame of the joint space: where a sentence belongs, by what it says. No picture is involved.

A sentence says up to three things, and each has directions of its own among the 256: the *state* (axis 0: abnormal
above, normal below, nothing said 0), the *kind* of defect (axes 1 to 63) and the *thing* (axes 64 to 255). So words
that say nothing of a state have no part in the difference between normal and abnormal, whatever else they mean. Kinds
and things lie as the teacher's vectors lie, seen in their main directions.

The states of the words in ``vocabulary.py`` are written by hand. Those of all other adjectives are what a ridge
regression on the teacher's vectors says, so ``HELD_OUT`` words have only the state that the teacher's knowledge of
English gives them.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from corpus import nonsense, wordnet
from pictures.captions import KIND_WORDS
from teacher import cached_vectors
from torch import Tensor
from torch.nn import functional
from vocabulary import HELD_OUT, KINDS, TEMPLATES, THINGS, abnormal, normal
from wordfreq import top_n_list

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    Ask = Callable[[list[str]], Tensor]

__all__ = ["Frame", "Target"]

DIM, FIRST_KIND, FIRST_THING = 256, 1, 64
STATE, KIND, THING = 0.6, 0.45, 0.6
"""Lengths of the three parts before the whole is made a unit vector."""
_HELD_OUT = re.compile("|".join(HELD_OUT))
_SURE = 0.25
"""Below this the teacher does not say that an adjective is about a state."""


@dataclass(frozen=True)
class Target:
    """A sentence and the unit vector it belongs at."""

    sentence: str
    vector: Tensor


class Frame:
    """Draws sentences with their places.

    Args:
        folder: Of the WordNet files; what the teacher says is kept there.
        things: More things to speak of, such as those in the generated pictures.
    """

    def __init__(self, folder: Path, things: Sequence[str] = (), device: str = "cpu") -> None:
        nouns, adjectives = wordnet(folder)

        def ask(texts: list[str]) -> Tensor:
            return cached_vectors(texts, folder, device).float()

        self.things = list(dict.fromkeys([*THINGS, *things]))
        self.nouns = nouns
        self.by_hand = dict.fromkeys(abnormal(), 1.0) | {word: -1.0 for word in normal() if word != "{}"}
        common = [word for word in top_n_list("en", 20000) if word.isalpha() and len(word) > 2]
        self.adjectives = self._states(ask, adjectives, common[200:])
        named = {w for form in self.by_hand for w in form.split()} | {
            w for w, state in self.adjectives.items() if state
        }
        self.common = [word for word in common if word not in named and not _HELD_OUT.search(word)]
        called = [phrase for _, phrases in KIND_WORDS.values() for phrase in phrases.split("|")]
        called += [phrase for phrases in KINDS.values() for phrase in phrases]
        self.after = {phrase for phrase in called if not _HELD_OUT.search(phrase)}  # "… with a scratch"
        before = {word for words, _ in KIND_WORDS.values() for word in words.split("|")}  # "scratched …"
        self.phrases = sorted(self.after | before)
        self.kind_of = dict(zip(self.phrases, _directions(ask(self.phrases), FIRST_THING - FIRST_KIND), strict=True))
        # The mean of each kind's words, so that all ways to name a kind draw near to one another.
        for participles, nouns_ in KIND_WORDS.values():
            own = [p for p in (*participles.split("|"), *nouns_.split("|")) if p in self.kind_of]
            mean = functional.normalize(torch.stack([self.kind_of[p] for p in own]).mean(0), dim=0)
            for phrase in own:
                self.kind_of[phrase] = functional.normalize(self.kind_of[phrase] + 2 * mean, dim=0)
        pool = list(dict.fromkeys([*self.things, *self.nouns]))
        draw = random.Random(0)
        self.words = list(self.adjectives)
        self.forms = list(self.by_hand)
        pairs = [(draw.choice(self.words), draw.choice(pool)) for _ in range(6000)]
        self.described = {f"{word} {thing}": self.adjectives[word] for word, thing in pairs}
        self.descriptions = list(self.described)
        places = _directions(ask([*pool, *self.descriptions]), DIM - FIRST_THING)
        self.thing_of = dict(zip([*pool, *self.descriptions], places, strict=True))

    def _states(self, ask: Ask, adjectives: list[str], common: list[str]) -> dict[str, float]:
        """What the teacher says of each adjective: from -1 (normal) over 0 (no state) to 1 (abnormal)."""
        neutral = random.Random(0).sample([word for word in common if not _HELD_OUT.search(word)], 1500)
        words = [*self.by_hand, *neutral]
        wanted = torch.tensor([*self.by_hand.values(), *[0.0] * len(neutral)])
        weight = torch.where(wanted == 0, 0.5, torch.where(wanted > 0, 2.0, 3.0))[:, None]
        known = ask([w.replace("{}", "object") if "{}" in w else f"{w} object" for w in words])
        mean = known.mean(0)
        known = known - mean
        solved = torch.linalg.solve(
            (known * weight).T @ known + 3 * torch.eye(known.shape[1]), (known * weight).T @ wanted[:, None]
        )
        told = ((ask([f"{w} object" for w in adjectives]) - mean) @ solved)[:, 0].clamp(-1, 1)
        return {w: round(v, 2) if abs(v) > _SURE else 0.0 for w, v in zip(adjectives, told.tolist(), strict=True)}

    def place(self, state: float, kind: str | None, thing: str | None) -> Tensor:
        """The unit vector ``[256]`` for what a sentence says."""
        vector = torch.zeros(DIM)
        vector[0] = STATE * state
        if kind is not None:
            vector[FIRST_KIND:FIRST_THING] = KIND * self.kind_of[kind]
        if thing is not None:
            vector[FIRST_THING:] = THING * self.thing_of[thing]
        return functional.normalize(vector, dim=0)

    def draw(self, count: int, draw: random.Random) -> list[Target]:
        """Sentences of every sort: states by hand and by the teacher, kinds, plain things, nonsense."""
        return [self._one(draw) for _ in range(count)]

    def _one(self, draw: random.Random) -> Target:
        thing = draw.choice(self.things) if draw.random() < 0.6 else draw.choice(self.nouns)
        sort = draw.random()
        if sort < 0.34:
            form = draw.choice(self.forms)
            text = form.replace("{}", thing) if "{}" in form else f"{form} {thing}"
            return self._say(text, self.by_hand[form], None, thing, draw)
        if sort < 0.54:
            phrase = draw.choice(self.phrases)
            text = f"{thing} with {phrase}" if phrase in self.after else f"{phrase} {thing}"
            return self._say(text, 1.0, phrase, thing, draw)
        if sort < 0.72:
            word = draw.choice(self.words)
            return self._say(f"{word} {thing}", self.adjectives[word], None, thing, draw)
        if sort < 0.80:
            return self._say(thing, 0.0, None, thing, draw)
        if sort < 0.86:
            phrase = draw.choice(self.descriptions)
            return self._say(phrase, self.described[phrase], None, phrase, draw)
        return self._say(f"{nonsense(draw, self.common)} {thing}", 0.0, None, thing, draw)

    def _say(self, text: str, state: float, kind: str | None, thing: str, draw: random.Random) -> Target:
        sentence = draw.choice(TEMPLATES).replace("{}", text) if draw.random() < 0.75 else text
        return Target(sentence, self.place(state, kind, thing))


def _directions(vectors: Tensor, count: int) -> Tensor:
    """``[P, 384]`` to unit vectors ``[P, count]``: about their mean, in their main directions."""
    vectors = vectors - vectors.mean(0)
    _, _, directions = torch.linalg.svd(vectors[:4000], full_matrices=False)
    return functional.normalize(vectors @ directions[:count].T, dim=-1)
