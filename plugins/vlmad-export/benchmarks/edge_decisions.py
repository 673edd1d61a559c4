"""Whether vlmad-edge decides as torch does, image by image: `edge_decisions.py nut.vlmad nut.onnx IMAGES [IMAGES ...]`.

Prints one line of JSON: images, decisions that are others, how many of each verdict, and the largest differences.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

import numpy as np
import torch

import vlmad_core
import vlmad_edge
from vlmad_core.contracts.images import find_images


def main() -> None:
    """Compare them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("detector", type=Path)
    parser.add_argument("exported", type=Path)
    parser.add_argument("images", nargs="+")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    detector = vlmad_core.load(given.detector, device="cpu")
    edge = vlmad_edge.load(given.exported, threads=given.threads)
    changed, scores, maps, labels = [], [0.0], [0.0], Counter[str]()
    for path in find_images(given.images):
        here, there = detector.predict(path), edge.predict(path)
        verdict = detector.verdict(here).label
        labels[verdict] += 1
        scores.append(abs(here.score - there.score))
        maps.append(float(np.abs(here.raw_map - there.raw_map).max()))
        if verdict != there.verdict.label:
            changed.append(path.name)
    found = {"images": sum(labels.values()), "changed": changed, "verdicts": dict(labels)}
    print(json.dumps({**found, "score_difference": max(scores), "map_difference": max(maps)}))


if __name__ == "__main__":
    main()
