"""Accuracy on real pictures, one table: ``make accuracy DATA=FOLDER``.

Features are computed once an image and size, and shared by all shots and draws. Rows are appended to a JSONL file as
they come, so a run that was stopped goes on. Image metrics are on raw scores; pixel metrics on raw maps at 256 x 256,
masks by nearest neighbour.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sets import RealSet, real_sets

import vlmad_core
from vlmad_core import Pipeline, metrics
from vlmad_core.contracts import Features
from vlmad_core.contracts.images import read, stack

SIDE = 256
OTHER_EYES = {
    "pocket, windows": {
        "extractor": {"use": "windows", "config": {"scales": [2, 3]}},
        "set": {"scorers.0.config.levels": ["window*"]},
    },
    "pocket, dpam": {"extractor": {"use": "dpam"}, "set": {"scorers.0.config.levels": ["local*"]}},
    "pocket, foreground": {"extractor": {"use": "foreground"}, "set": {"scorers.0.config.levels": ["block*"]}},
}
"""The recipe 'pocket' with other ways to look, to compare with its plain patches."""


def main() -> None:
    """Measure what is not measured yet, then write the table."""
    parser = argparse.ArgumentParser(description="Accuracy on real pictures.")
    parser.add_argument("--data", type=Path, required=True, help="sets in the MVTec layout")
    parser.add_argument("--recipes", nargs="+", default=["patch-memory"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[224, 336, 518])
    parser.add_argument("--shots", nargs="+", type=int, default=[1, 2, 4, 16])
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--max-images", type=int, default=200, help="judged images of each label and set")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--out", type=Path, default=Path("accuracy.jsonl"))
    arguments = parser.parse_args()
    done = [json.loads(line) for line in arguments.out.read_text().splitlines()] if arguments.out.exists() else []
    have = {(row["recipe"], row["size"], row["set"]) for row in done}
    for recipe in arguments.recipes:
        for size in arguments.sizes:
            for real in real_sets(arguments.data, arguments.max_images):
                if (recipe, size, real.name) in have:
                    continue
                options = {"backbone.config.image_size": size, "backbone.config.dtype": arguments.dtype}
                detector = make(recipe, options)
                detector.class_name = real.thing
                started = time.perf_counter()
                rows = list(measure(detector, real, arguments.shots, arguments.draws))
                with arguments.out.open("a") as file:
                    for row in rows:
                        file.write(json.dumps({"recipe": recipe, "size": size, "set": real.name, **row}) + "\n")
                best = max(rows, key=lambda row: row["shots"])
                sys.stdout.write(
                    f"{recipe} {size} px {real.name}: image AUROC {best['auroc']:.3f} at {best['shots']} shots, "
                    f"{time.perf_counter() - started:.0f} s\n"
                )
                sys.stdout.flush()


def make(recipe: str, options: dict[str, Any]) -> Pipeline:
    """A recipe, or 'pocket' with another extractor."""
    other = OTHER_EYES.get(recipe)
    if other is None:
        return vlmad_core.build(recipe, overrides=options)
    return vlmad_core.build("pocket", extractor=other["extractor"], overrides={**other["set"], **options})


def measure(detector: Pipeline, real: RealSet, shots: list[int], draws: int) -> Iterator[dict[str, float]]:
    """One row for each number of shots, the mean over draws; zero-shot where nothing is remembered."""
    remembers = any(scorer.needs_fit for scorer in detector.scorers)
    paths = list(real.test)
    labels = np.array([real.test[path] for path in paths])
    queries = list(look(detector, paths))
    normals = list(look(detector, list(real.normals))) if remembers else []
    for count in [n for n in shots if n <= len(normals)] if remembers else [0]:
        found: list[dict[str, float]] = []
        intervals = []
        for draw in range(draws if remembers else 1):
            if remembers:
                remember(detector, random.Random(draw).sample(normals, count))
            scores, maps = judge(detector, queries)
            found.append(values(scores, labels, maps, masks_of(real, paths)))
            intervals.append(metrics.bootstrap(metrics.auroc, (scores, labels), draws=500, seed=draw))
        row: dict[str, float] = {"shots": count, "good": int((labels == 0).sum()), "bad": int(labels.sum())}
        for key in found[0]:
            row[key] = float(np.mean([one[key] for one in found]))
        row["auroc_spread"] = float(np.std([one["auroc"] for one in found]))
        row["auroc_low"], row["auroc_high"] = (float(np.mean([i[side] for i in intervals])) for side in (0, 1))
        yield row


@torch.no_grad()
def look(detector: Pipeline, paths: list[Path], batch: int = 8) -> Iterator[Features]:
    """Features of each image, in half precision so that a set fits into memory."""
    backbone = detector.backbone
    for pictures in read(paths, backbone.preprocess, batch_size=batch):
        features = detector.extractor(backbone.vision, stack(pictures).to(backbone.dtype))
        for i in range(len(pictures)):
            levels = tuple(replace(level, vectors=level.vectors[i : i + 1].half()) for level in features.levels)
            yield Features(levels, None if features.image is None else features.image[i : i + 1].float())


def remember(detector: Pipeline, normals: list[Features]) -> None:
    """Fit on features that were computed before."""
    for scorer in detector.scorers:
        if scorer.needs_fit:
            scorer.forget()
            for features in normals:
                scorer.fit(features)


@torch.no_grad()
def judge(detector: Pipeline, queries: list[Features]) -> tuple[np.ndarray, np.ndarray]:
    """``[N]`` scores and ``[N, SIDE, SIDE]`` maps."""
    scores, maps = [], []
    for features in queries:
        texts = detector.text_embeddings([detector.class_name or "object"])
        result = detector.score_features(features, texts, (SIDE, SIDE))
        scores.append(result.image.item())
        maps.append(result.anomaly_map[0].float().numpy())
    return np.array(scores), np.stack(maps)


def masks_of(real: RealSet, paths: list[Path]) -> np.ndarray | None:
    """``[N, SIDE, SIDE]``, or None where the set has none."""
    if not real.masks:
        return None
    empty = np.zeros((SIDE, SIDE), dtype=bool)
    return np.stack([_mask(real.masks[path]) if path in real.masks else empty for path in paths])


def _mask(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.NEAREST)) > 0


def values(scores: np.ndarray, labels: np.ndarray, maps: np.ndarray, masks: np.ndarray | None) -> dict[str, float]:
    """Every metric that the set allows."""
    found = {
        "auroc": metrics.auroc(scores, labels),
        "ap": metrics.average_precision(scores, labels),
        "f1max": metrics.f1max(scores, labels),
    }
    if masks is not None:
        found["pixel_auroc"] = metrics.auroc(maps, masks)
        found["aupro"] = metrics.aupro(maps, masks)
    return found


if __name__ == "__main__":
    main()
