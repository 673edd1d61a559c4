"""What training brings, on pictures never trained on: ``make learned DATA=FOLDER``.

Learned recipes on pocket, before and after training, on generated pictures and across domains, with several seeds. The
frozen part of each picture's features is computed once and shared by all seeds. Rows are appended to a JSONL file as
they come, so a run that was stopped goes on; the table is written beside it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accuracy import SIDE, masks_of
from once import values
from sets import RealSet, real_sets

import vlmad_core
from vlmad_core import Dataset, Pipeline, Sample
from vlmad_core.contracts import Features
from vlmad_core.contracts.images import read, stack

IMAGE_MAX = {"scorers.0.config.image": "max"}  # pocket's class token was hardly trained to tell defects
COMPOSITIONAL = {"use": "compositional", "config": {"needs_name": False}}
DPAM = {"use": "dpam", "config": {"layers": [-1]}}
WINDOWS = {"use": "windows", "config": {"scales": [2, 3]}}
SMALL = {"backbone.config.image_size": 112}  # windows take twelve times as long

METHODS: dict[str, dict[str, Any]] = {
    "anomalyclip": {"recipe": "anomalyclip", "set": IMAGE_MAX},
    "april-gan": {"recipe": "april-gan", "set": IMAGE_MAX},
    "patches x learned": {"recipe": "anomalyclip", "extractor": {"use": "patches"}, "set": IMAGE_MAX},
    "projections x learned": {
        "recipe": "anomalyclip",
        "extractor": {"use": "projections"},
        "set": {**IMAGE_MAX, "scorers.0.config.combine": "mean"},  # the cross-entropy needs a probability
    },
    "windows x learned": {
        "recipe": "anomalyclip",
        "extractor": WINDOWS,
        "set": {**IMAGE_MAX, **SMALL, "scorers.0.config.levels": ["window*"], "scorers.0.config.combine": "mean"},
    },
    "dpam x compositional": {"recipe": "anomalyclip", "extractor": DPAM, "prompts": COMPOSITIONAL, "set": IMAGE_MAX},
    "dpam x compositional x memory": {
        "recipe": "anomalyclip",
        "extractor": DPAM,
        "prompts": COMPOSITIONAL,
        "scorers": [{"use": "text-match", "config": {"image": "max"}}, {"use": "memory", "config": {"top": 0.01}}],
        "set": {},
    },
}
"""Recipes of papers, and hybrids that no paper has."""


def main() -> None:
    """Measure what is not measured yet, then write the table."""
    parser = argparse.ArgumentParser(description="What training brings.")
    parser.add_argument("--data", type=Path, required=True, help="sets in the MVTec layout")
    parser.add_argument("--generated", type=Path, required=True, help="pictures of `python -m pictures`, to train on")
    parser.add_argument("--held", type=Path, required=True, help="such pictures of other seeds, to judge on")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--on", nargs="+", default=["generated", "piped", "cookies"], help="what to train on")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--across", type=int, default=3, help="seeds where photographs are trained on")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--images", type=int, default=240, help="most training images")
    parser.add_argument("--max-images", type=int, default=60, help="judged images of each label and set")
    parser.add_argument("--out", type=Path, default=Path("learned.jsonl"))
    arguments = parser.parse_args()
    done = [json.loads(line) for line in arguments.out.read_text().splitlines()] if arguments.out.exists() else []
    have = {(row["method"], row["on"], row["seed"]) for row in done}
    judged = [generated(arguments.held, arguments.max_images), *real_sets(arguments.data, arguments.max_images)]
    sources = {name: source(name, arguments) for name in arguments.on}
    for method in arguments.methods:
        runs = list(plan(method, arguments.on, arguments.seeds, arguments.across))
        if all((method, *run) in have for run in runs):
            continue
        seen = {real.name: list(look(make(method), list(real.test))) for real in judged}
        normals = {real.name: list(look(make(method), list(real.normals)[:4])) for real in judged}
        for on, seed in runs:
            if (method, on, seed) in have:
                continue
            started = time.perf_counter()
            torch.manual_seed(seed)
            detector = make(method)
            if on in sources:
                train(detector, method, sources[on], arguments, seed)
            rows = [
                {"method": method, "on": on, "seed": seed, **judge(detector, real, seen[real.name], normals[real.name])}
                for real in judged
            ]
            with arguments.out.open("a") as file:
                file.writelines(json.dumps(row) + "\n" for row in rows)
            sys.stdout.write(f"{method} on {on}, seed {seed}: {time.perf_counter() - started:.0f} s\n")
            sys.stdout.flush()


def plan(method: str, sources: list[str], seeds: int, across: int) -> Iterator[tuple[str, int]]:
    """What a method is trained on, with which seeds; what learns nothing is judged once."""
    learns = any(True for _ in make(method).parameters())
    for on in ("nothing", *sources) if learns else ("nothing",):
        for seed in range(1 if not learns else seeds if on in ("nothing", "generated") else across):
            yield on, seed


def make(method: str) -> Pipeline:
    """The detector, untrained."""
    about = METHODS[method]
    parts = {name: part for name, part in about.items() if name in ("extractor", "prompts", "scorers")}
    return vlmad_core.build(about["recipe"], backbone="pocket", overrides=about["set"], **parts)


def source(name: str, arguments: argparse.Namespace) -> Dataset:
    """Defective and normal pictures with masks, of one domain."""
    root = arguments.generated if name == "generated" else arguments.data / name
    data = vlmad_core.read_dataset(root).select(split="test")
    order = np.random.default_rng(0).permutation(len(data.samples))[: arguments.images]
    return Dataset(name, tuple(data.samples[i] for i in sorted(order)), data.root)


def generated(root: Path, most: int) -> RealSet:
    """Held-out generated pictures as a set to judge on."""
    data = vlmad_core.read_dataset(root).select(split="test")
    sides: dict[bool, list[Sample]] = {True: [], False: []}
    for sample in data:
        sides[bool(sample.label)].append(sample)
    good, bad = sides[False], sides[True][:most]
    normals = tuple(Path(str(s.image)) for s in good[most : most + 64])
    test = dict.fromkeys((Path(str(s.image)) for s in good[:most]), 0)
    test |= dict.fromkeys((Path(str(s.image)) for s in bad), 1)
    return RealSet(
        "generated, held out", "object", normals, test, {Path(str(s.image)): Path(str(s.masks[0])) for s in bad}
    )


def train(detector: Pipeline, method: str, data: Dataset, arguments: argparse.Namespace, seed: int) -> None:
    """With the options of the recipe's paper, but for the epochs and mosaics, which cannot be cached."""
    with tempfile.TemporaryDirectory() as folder:
        recipe = METHODS[method]["recipe"]
        vlmad_core.train(
            detector, data, Path(folder) / "out", recipe=recipe, epochs=arguments.epochs, mosaic=0.0, seed=seed,
            cache="memory",
        )  # fmt: skip
        shutil.rmtree(folder, ignore_errors=True)


@torch.no_grad()
def look(detector: Pipeline, paths: list[Path], batch: int = 8) -> Iterator[Features]:
    """What the frozen tower sees in each image, in half precision so that all sets fit into memory."""
    backbone = detector.backbone
    for pictures in read(paths, backbone.preprocess, batch_size=batch):
        features = detector.extractor.extract_frozen(backbone.vision, stack(pictures).to(backbone.dtype))
        for i in range(len(pictures)):
            levels = tuple(replace(level, vectors=level.vectors[i : i + 1].half()) for level in features.levels)
            yield Features(levels, None if features.image is None else features.image[i : i + 1].float())


@torch.no_grad()
def judge(detector: Pipeline, real: RealSet, seen: list[Features], normals: list[Features]) -> dict[str, Any]:
    """Metrics on a set; a memory is filled with its first four normal images."""
    detector.eval()

    def ready(kept: Features) -> Features:
        return detector.extractor.apply_learned(
            replace(kept, levels=tuple(replace(level, vectors=level.vectors.float()) for level in kept.levels))
        )

    for scorer in detector.scorers:
        if scorer.needs_fit:
            scorer.forget()
            for features in normals:
                scorer.fit(ready(features))
    text_embeddings = detector.text_embeddings([real.thing])
    scores, maps = [], []
    for kept in seen:
        result = detector.score_features(ready(kept), text_embeddings, (SIDE, SIDE))
        scores.append(result.image.item())
        maps.append(result.anomaly_map[0].numpy())
    paths = list(real.test)
    labels = np.array([real.test[path] for path in paths])
    found = values(np.array(scores), labels, np.stack(maps), masks_of(real, paths))
    return {"set": real.name, **found, "trained_on_it": detector.was_trained_on(real.name.split("/")[0])}


if __name__ == "__main__":
    main()
