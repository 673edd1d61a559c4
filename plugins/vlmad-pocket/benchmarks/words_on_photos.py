"""Do the texts of `pocket` matter on photographs?

``python plugins/vlmad-pocket/benchmarks/words_on_photos.py --data folder``

Each image goes through the encoder once; then the states are exchanged: the recipe's own, synonyms that no image was
shown with in training, both sides swapped, and nonsense in both places (made of syllables, by a fixed seed). A detector
that reads gets the same from synonyms, the opposite from swapped states, and chance from nonsense. One line of JSON for
each set, and the mean.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from sets import RealSet, real_sets

import vlmad_core
from vlmad_core.contracts import Backbone, Features, TextEmbeddings
from vlmad_core.contracts.images import read, stack
from vlmad_core.metrics import auroc

sys.path.insert(0, str(Path(__file__).parents[1] / "build"))
from vocabulary import HELD_OUT_ABNORMAL, HELD_OUT_NORMAL  # beside the training that left them out

OWN = {
    "normal": ["{}", "flawless {}", "perfect {}", "unblemished {}", "{} without flaw", "{} without defect"],
    "abnormal": ["damaged {}", "{} with flaw", "{} with defect", "{} with damage"],
}
PAIRS = 16


def states() -> Iterator[tuple[str, Mapping[str, Sequence[str]]]]:
    """Every exchange by name."""
    yield "own", OWN
    yield "synonyms", {"normal": HELD_OUT_NORMAL, "abnormal": HELD_OUT_ABNORMAL}
    yield "swapped", {"normal": OWN["abnormal"], "abnormal": OWN["normal"]}
    rng = np.random.default_rng(0)
    for number in range(PAIRS):
        sides = [[f"{nonsense(rng)} {{}}" for _ in range(4)] for _ in range(2)]
        yield f"nonsense {number}", {"normal": sides[0], "abnormal": sides[1]}


def nonsense(rng: np.random.Generator) -> str:
    """Two or three syllables of a consonant and a vowel."""
    return "".join(rng.choice(list("bdfgklmnprstvz")) + rng.choice(list("aeiou")) for _ in range(rng.integers(2, 4)))


def texts(backbone: Backbone, thing: str) -> dict[str, TextEmbeddings]:
    """The text embeddings of every exchange, for one class name."""
    found = {}
    for name, given in states():
        lists = {side: list(words) for side, words in given.items()}
        detector = vlmad_core.build("pocket", backbone=backbone, overrides={"prompts.config.states": lists})
        with torch.no_grad():
            embeddings = detector.text_embeddings([thing])
        assert embeddings is not None
        found[name] = embeddings
    return found


def judge(detector: vlmad_core.Pipeline, one: RealSet) -> dict[str, float]:
    """Image AUROC of every exchange on one set."""
    found = texts(detector.backbone, one.thing)
    scores: dict[str, list[float]] = {name: [] for name in found}
    for pictures in read(list(one.test), detector.preprocess):
        with torch.no_grad():
            pixels = stack(pictures)
            features: Features = detector.extractor(detector.backbone.vision, pixels)
            for name, one_text in found.items():
                repeated = TextEmbeddings(one_text.vectors.expand(len(pixels), -1, -1), one_text.abnormal)
                scores[name] += detector.score_features(features, repeated, pixels.shape[-2:]).image.tolist()
    labels = np.array(list(one.test.values()))
    areas = {name: float(auroc(np.array(values), labels)) for name, values in scores.items()}
    chance = [area for name, area in areas.items() if name.startswith("nonsense")]
    named = {name: area for name, area in areas.items() if not name.startswith("nonsense")}
    distance = np.abs(np.array(chance) - 0.5)
    return {**named, "nonsense": float(np.mean(chance)), "nonsense from chance": float(distance.mean())}


def main() -> None:
    """Every set, then the mean."""
    parser = argparse.ArgumentParser(description="Do the texts of 'pocket' matter on photographs?")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--most", type=int, default=20, help="Judged images of each label and set.")
    given = parser.parse_args()
    detector = vlmad_core.build("pocket")
    rows = []
    for one in real_sets(given.data, given.most):
        labels = {kind: [path for path, label in one.test.items() if label == kind][: given.most] for kind in (0, 1)}
        kept = {path: label for label, paths in labels.items() for path in paths}
        rows.append(judge(detector, RealSet(one.name, one.thing, (), kept, {})))
        shown = {name: round(value, 3) for name, value in rows[-1].items()}
        print(json.dumps({"set": one.name, "images": len(kept)} | shown), flush=True)
    mean = {name: round(float(np.mean([row[name] for row in rows])), 3) for name in rows[0]}
    print(json.dumps({"set": "mean"} | mean))


if __name__ == "__main__":
    main()
