"""What sharing features brings: a benchmark of 3 methods on 2 backbones with 3 numbers of shots and 3 seeds, both ways.

With sharing it is :func:`vlmad_core.benchmark`, with its tables and plots. Without, a plain loop fits and judges for
every cell by itself; it is given every other advantage (weights once a backbone, text once a method, the same metrics
from the same code). Numbers of both must agree. ``python tests/benchmarks/sharing.py --data FOLDER``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import vlmad_core
from vlmad_core import BenchmarkPlan, Pipeline
from vlmad_core.benchmark.cells import Cell, find_cells
from vlmad_core.benchmark.ground_truth import GroundTruth, PixelScores
from vlmad_core.contracts import Backbone
from vlmad_core.contracts.images import open_image
from vlmad_core.metrics.image import image_metrics
from vlmad_core.pipeline.build import assemble, make_backbone

MEMORY = {"recipe": "winclip-few-shot", "prompts": "none", "scorers": "memory"}
METHODS = [
    {
        "label": "windows",
        "recipe": "winclip-few-shot",
        "prompts": "templates",
        "set": {"extractor.config.scales": [2], "extractor.config.stride": 2},
    },
    {"label": "patches", **MEMORY, "extractor": "patches"},
    {"label": "dpam", **MEMORY, "extractor": "dpam"},
]
"""Coarse windows: all of them would look even longer, and make sharing look better."""

BACKBONES = ["pocket", {"use": "timm", "config": {"model": "vit_tiny_patch16_224", "pretrained": "random"}}]


def main() -> None:
    """Time both, compare them, print the ratio."""
    parser = argparse.ArgumentParser(description="Features shared, and not.")
    parser.add_argument("--data", type=Path, required=True, help="a data set")
    parser.add_argument("--category", help="only this one; the first by default")
    parser.add_argument("--max-images", type=int, default=24, help="test images of each label")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.filterwarnings("ignore", message=".*has no text")  # the random backbone has none, and its memory goes on
    category = arguments.category or vlmad_core.read_dataset(arguments.data).categories[0]
    plan = BenchmarkPlan(
        data=arguments.data,
        categories=category,
        methods=METHODS,
        backbones=BACKBONES,
        shots=[1, 2, 4],
        seeds=3,
        max_images=arguments.max_images,
    )
    for part in {cell.backbone: cell.spec.backbone for cell in find_cells(plan)}.values():
        make_backbone(part)  # what libraries import once is no part of either
    with tempfile.TemporaryDirectory() as folder:
        shared, results = timed(lambda: vlmad_core.run_benchmark(plan, Path(folder) / "out"))
        scores = {
            row["cell"]: [
                json.loads(line)["score"]
                for line in (results.folder / "scores" / f"{row['cell']}.jsonl").read_text().splitlines()
            ]
            for row in results.done
        }
    plainly, (alone, passes) = timed(lambda: plain(plan))
    worst = max(float(np.abs(np.subtract(alone[cell][0], scores[cell])).max()) for cell in scores)
    aurocs = max(abs(alone[row["cell"]][1]["pixel_auroc"] - (row["pixel_auroc"] or 0.0)) for row in results.done)
    text = [
        f"{len(results.done)} of {len(results.rows)} cells, {results.done[0]['good'] + results.done[0]['defective']} "
        f"test images of {category}, {arguments.threads} threads"
    ]
    for name, counts in results.passes.items():
        text.append(
            f"{name}: {counts['images']} images; passes with sharing {counts['passes']}, without {passes[name]}"
        )
    for what, one, other in zip(("wall clock", "processor time"), shared, plainly, strict=True):
        text.append(f"{what}: with sharing {one:.1f} s, without {other:.1f} s: {other / one:.1f} times as fast")
    text.append(f"largest difference of an image score {worst:.1e}, of a pixel AUROC {aurocs:.1e}")
    sys.stdout.write("\n".join(text) + "\n")


def timed(work: Callable[[], Any]) -> tuple[tuple[float, float], Any]:
    """Seconds on the wall and of processors; the latter do not depend on what else runs."""
    wall, own = time.perf_counter(), time.process_time()
    result = work()
    return (time.perf_counter() - wall, time.process_time() - own), result


def plain(plan: BenchmarkPlan) -> tuple[dict[str, tuple[list[float], dict[str, Any]]], Counter[str]]:
    """Every cell by itself: scores and pixel metrics by cell, and passes by backbone."""
    found: dict[str, tuple[list[float], dict[str, Any]]] = {}
    passes: Counter[str] = Counter()
    backbones: dict[str, Backbone] = {}
    detectors: dict[str, Pipeline] = {}
    for cell in find_cells(plan):
        if cell.backbone not in backbones:
            backbones[cell.backbone] = make_backbone(cell.spec.backbone)
        backbone = backbones[cell.backbone]
        key = f"{cell.method} {cell.backbone}"
        if key not in detectors:
            detectors[key] = assemble(cell.spec, backbone=backbone)
        found[cell.key] = judge(cell, detectors[key])
        height, width = backbone.preprocess.size
        passes[f"{cell.backbone} {height} x {width}"] += len(cell.references) + len(cell.category.test_samples)
    return found, passes


def judge(cell: Cell, detector: Pipeline) -> tuple[list[float], dict[str, Any]]:
    """As a user would: fit, stream, and the metrics."""
    samples = cell.category.test_samples
    detector.fit([sample.image for sample in cell.references], cell.category.class_name)
    sizes = {place: open_image(sample.image).size[::-1] for place, sample in enumerate(samples)}
    truth = GroundTruth(samples, {}, sizes, cell.resolution)
    pixels, scores = PixelScores(truth), []
    for place, one in enumerate(detector.stream([sample.image for sample in samples])):
        scores.append(one.score)
        pixels.add([place], torch.from_numpy(one.raw_map)[None])
    image_metrics(scores, truth.labels)
    return scores, pixels.numbers()


if __name__ == "__main__":
    main()
