"""Which sentences stand for normal and abnormal: never twice the same, never a held-out word."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING

from pictures.captions import KIND_WORDS
from vocabulary import HELD_OUT, TEMPLATES, abnormal, normal
from wordfreq import top_n_list

if TYPE_CHECKING:
    from collections.abc import Sequence

_FORBIDDEN = re.compile("|".join(HELD_OUT))
ANY = ("object", "surface", "part", "item", "product", "thing")


def allowed(sentences: Sequence[str]) -> list[str]:
    """Without those that hold a held-out word, in whatever form."""
    return [s for s in sentences if not _FORBIDDEN.search(s.lower())]


ABNORMAL, NORMAL = allowed(abnormal()), allowed(normal())
_STATED = {word for form in (*ABNORMAL, *NORMAL) for word in form.split()}
_COMMON = [w for w in allowed(top_n_list("en", 3000)[300:]) if w.isalpha() and len(w) > 2 and w not in _STATED]


def _say(text: str, draw: random.Random) -> str:
    return draw.choice(TEMPLATES).replace("{}", text)


def normal_sentence(thing: str, draw: random.Random) -> str:
    """As ``"a photo of a flawless nut."``."""
    return _say(draw.choice(NORMAL).replace("{}", thing), draw)


def abnormal_sentence(thing: str, draw: random.Random) -> str:
    """As ``"a photo of a damaged nut."``."""
    return _say(draw.choice(ABNORMAL).replace("{}", thing), draw)


def kind_sentence(kind: str, thing: str, draw: random.Random) -> str:
    """As ``"a photo of a nut with a scratch."`` or ``"a scratched nut"``."""
    before, after = KIND_WORDS[kind]
    named = allowed(after.split("|"))
    if draw.random() < 0.7 and named:
        return _say(f"{thing} with {draw.choice(named)}", draw)
    return _say(f"{draw.choice(before.split('|'))} {thing}", draw)


def neutral_sentence(thing: str, draw: random.Random) -> str:
    """As ``"a photo of a brzk nut"`` or ``"a musical nut"``: it says nothing of a state."""
    spelled = "".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(3, 8)))
    return _say(f"{draw.choice(_COMMON) if draw.random() < 0.5 else spelled} {thing}", draw)
