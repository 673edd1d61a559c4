"""Accuracy on real images: no normal ones, a few of them, or whole folders: ``make accuracy DATA=FOLDER``.

Detectors are fitted and predict as they do for a user. What the tower gave for an image is kept in files, and rows are
appended to a JSONL file as they come, so a run that was stopped goes on. Image metrics are on raw scores; pixel metrics
on maps at 256 x 256, masks by nearest neighbour.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sets import RealSet, real_sets
from stored_distances import StoredMemory
from stored_tower import StoredTower

import vlmad_core
from vlmad_core import Pipeline, metrics
from vlmad_core.builtin.memory import Memory

SIDE = 256
LAYERS = (7, 8, 9, 12)
"""Blocks that the recipes here read; the tower with words has nine."""
PLAN = [
    ("pocket", "fast", (0,)),
    ("pocket", "balanced", (0,)),
    ("pocket", "best", (0,)),
    ("pocket-batch", None, (0,)),
    ("pocket-few-shot", "fast", (4, 1, 16, 2)),
    ("pocket-few-shot", "balanced", (4, 1)),
    ("pocket-few-shot", "best", (4, 1)),
    ("patch-memory", None, (4, 1)),
    ("subspace", None, (4, 1)),
]
"""Recipe, preset, numbers of normal images; 0: none, and for pocket-batch the judged images themselves."""


def main() -> None:
    """Measure what is not measured yet."""
    parser = argparse.ArgumentParser(description="Accuracy on real images.")
    parser.add_argument("--data", type=Path, required=True, help="sets in the MVTec layout")
    parser.add_argument("--recipes", nargs="*", help="only these")
    parser.add_argument("--quality", nargs="*", help="only these presets")
    parser.add_argument("--shots", nargs="*", type=int, help="only these numbers of normal images")
    parser.add_argument("--sets", nargs="*", help="only these")
    parser.add_argument("--draws", type=int, default=3, help="of normal images, at 224 pixels")
    parser.add_argument("--large-draws", type=int, default=1, help="of normal images, at more pixels")
    parser.add_argument("--max-images", type=int, default=60, help="judged images of each label and set")
    parser.add_argument("--out", type=Path, default=Path("accuracy.jsonl"))
    parser.add_argument("--features", type=Path, default=Path(".accuracy"), help="folder for features")
    given = parser.parse_args()
    done = [json.loads(line) for line in given.out.read_text().splitlines()] if given.out.exists() else []
    have = {(row["recipe"], row["quality"], row["shots"], row["set"]) for row in done}
    for recipe, quality, shots in PLAN:
        if (given.recipes and recipe not in given.recipes) or (given.quality and quality not in given.quality):
            continue
        for count in shots if not given.shots else [n for n in shots if n in given.shots]:
            for real in real_sets(given.data, given.max_images):
                if (recipe, quality, count, real.name) in have or (given.sets and real.name not in given.sets):
                    continue
                started = time.perf_counter()
                draws = 1 if not count else given.draws if quality in (None, "fast") else given.large_draws
                row = measure(make(recipe, quality, given.features), real, count, draws)
                row = {"recipe": recipe, "quality": quality, "set": real.name, "shots": count, **row}
                with given.out.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                sys.stdout.write(
                    f"{recipe} {quality} {real.name}, {count} normal images: image AUROC {row['auroc']:.3f}, AUPRO "
                    f"{row.get('aupro', float('nan')):.3f}, {time.perf_counter() - started:.0f} s\n"
                )
                sys.stdout.flush()


def make(recipe: str, quality: str | None, folder: Path) -> Pipeline:
    """The detector, on a tower that keeps its features, and with memories that keep distances."""
    detector = vlmad_core.build(recipe, quality=quality)
    backbone = detector.backbone
    backbone.vision = StoredTower(backbone.vision, folder, LAYERS)
    for scorer in (scorer for of_scale in detector.scorers_by_scale for scorer in of_scale):
        if type(scorer) is Memory:
            StoredMemory.folder = folder / "distances"
            scorer.__class__ = StoredMemory
    return detector


def measure(detector: Pipeline, real: RealSet, count: int, draws: int) -> dict[str, Any]:
    """One row, the mean over draws of normal images."""
    detector.class_name = real.thing
    paths = list(real.test)
    labels = np.array([real.test[path] for path in paths])
    masks = masks_of(real, paths)
    found: list[dict[str, float]] = []
    rotated = []
    for draw in range(draws):
        if count:
            detector.fit(random.Random(draw).sample(list(real.normals), count))
            rotated.append(detector.normals.get("rotations", []))
        elif detector.memory_scorers:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                detector.fit(paths)
        predictions = list(detector.stream(paths))
        scores = np.array([one.score for one in predictions])
        auroc = metrics.auroc(scores, labels)
        low, high = metrics.auroc_interval(auroc, int(labels.sum()), int((labels == 0).sum()))
        values = {
            "auroc": auroc,
            "ap": metrics.average_precision(scores, labels),
            "f1max": metrics.f1max(scores, labels),
            "auroc_low": low,
            "auroc_high": high,
        }
        if masks is not None:
            maps = np.stack([one.map_at((SIDE, SIDE)) for one in predictions])
            values |= {"pixel_auroc": metrics.auroc(maps, masks), "aupro": metrics.aupro(maps, masks)}
        found.append(values)
    row: dict[str, Any] = {"good": int((labels == 0).sum()), "bad": int(labels.sum()), "draws": draws}
    row |= {key: round(float(np.mean([one[key] for one in found])), 6) for key in found[0]}
    row["auroc_spread"] = round(float(np.std([one["auroc"] for one in found])), 6)
    return row | ({"rotations": rotated} if rotated else {})


def masks_of(real: RealSet, paths: list[Path]) -> np.ndarray | None:
    """``[N, SIDE, SIDE]``, or None where the set has none."""
    if not real.masks:
        return None
    empty = np.zeros((SIDE, SIDE), dtype=bool)
    return np.stack([_mask(real.masks[path]) if path in real.masks else empty for path in paths])


def _mask(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.NEAREST)) > 0


if __name__ == "__main__":
    main()
