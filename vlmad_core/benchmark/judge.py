"""From features to one row: remember the normal images, judge the others, and say how good that was.

A detector is judged as it predicts: scores raw, maps made at the size that it works at and then resized bilinearly, as
:meth:`vlmad_core.Prediction.map_at` does it, to the resolution of the evaluation.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from vlmad_core.benchmark.cells import Cell, path_of
from vlmad_core.benchmark.shared import SharedAnchors, SharedFeatures
from vlmad_core.benchmark.truth import PixelCount, Truth, plain
from vlmad_core.errors import VlmadError
from vlmad_core.files import write_whole
from vlmad_core.metrics.image import image_metrics
from vlmad_core.pipeline.pipeline import Pipeline
from vlmad_core.pipeline.spec import PipelineSpec
from vlmad_core.report.rows import Row
from vlmad_core.version import __version__

__all__ = ["judge_cell", "row_of", "write_scores"]


def judge_cell(
    cell: Cell,
    pipeline: Pipeline,
    features: SharedFeatures,
    key: str,
    text_embeddings: SharedAnchors,
    truth: Truth,
    references: Sequence[int],
) -> tuple[Row, list[dict[str, Any]]]:
    """One row, and what was thought of each image.

    Args:
        cell: Which.
        pipeline: Its detector.
        features: Of the judged images, which come first, and of the normal ones.
        key: Of the detector's extractor.
        text_embeddings: Of this backbone.
        truth: What is known of the judged images.
        references: Numbers of the normal images to remember.

    Raises:
        VlmadError: It cannot be done; the text says why.
    """
    started, where = time.perf_counter(), f"{cell.category.dataset}/{cell.category.name}"
    if not truth.places:
        raise VlmadError(f"{where}: none of the judged images can be read.")
    pixels = PixelCount(truth, stepped=cell.stepped)
    with torch.no_grad():  # not inference_mode: a memory filled under it could never stand in a graph
        if cell.shots:
            _remember(pipeline, features, key, references)
        found = _judge(cell, pipeline, features, key, text_embeddings, pixels if truth.masked else None)
    seconds = time.perf_counter() - started
    scores, labels = np.array([found[place] for place in truth.places]), truth.labels
    seen = image_metrics(scores, labels)
    numbers: dict[str, Any] = {
        "status": "done",
        "good": seen.normal,
        "defective": seen.abnormal,
        "unreadable": [
            {"path": path_of(truth.samples[place], cell.category.root), "error": error}
            for place, error in sorted(truth.unreadable.items())
        ],
        "images_per_second": round(len(found) / seconds, 2),
        **plain(
            image_auroc=seen.auroc,
            image_auroc_low=seen.low,
            image_auroc_high=seen.high,
            image_ap=seen.ap,
            image_f1max=seen.f1max,
        ),
        **(pixels.numbers() if truth.masked else {}),
    }
    row = cast("Row", {**row_of(cell, pipeline), **numbers})
    row["seconds"] = round(time.perf_counter() - started, 3)
    lines = [
        {
            "path": path_of(truth.samples[place], cell.category.root),
            "label": int(label),
            "kind": truth.samples[place].kind,
            "score": float(score),
        }
        for place, label, score in zip(truth.places, labels, scores, strict=True)
    ]
    return row, lines


def row_of(cell: Cell, pipeline: Pipeline | None = None, *, status: str = "", error: str = "") -> Row:
    """What is known of a cell before it is judged; every number is null."""
    spec: PipelineSpec = cell.spec if pipeline is None or pipeline.spec is None else pipeline.spec
    trained = {} if pipeline is None else pipeline.trained
    category = cell.category
    size = None if pipeline is None else list(pipeline.backbone.preprocess.size)
    on_this = pipeline is not None and any(
        pipeline.was_trained_on(name, sha256=sha256) for name in category.known_as for sha256 in category.sha256
    )
    row: Row = {
        "cell": cell.key,
        "status": status or cell.status,
        "error": error or cell.reason,
        "dataset": category.dataset,
        "category": category.name,
        "class_name": category.words,
        "method": cell.method,
        "recipe": cell.recipe,
        "backbone": cell.backbone,
        "weights": "" if pipeline is None else _weights(pipeline.backbone.provenance),
        "image_size": size,
        "extractor": spec.extractor.name,
        "prompts": None if spec.prompts is None else spec.prompts.name,
        "scorers": [part.name for part in spec.scorers],
        "shots": cell.shots,
        "seed": cell.seed,
        "references": [path_of(sample, category.root) for sample in cell.references],
        "good": 0,
        "defective": 0,
        "unreadable": [],
        **dict.fromkeys(_NUMBERS),  # type: ignore[typeddict-item]
        "pixel_exact": None,
        "resolution": None if cell.resolution is None else list(cell.resolution),
        "image_rule": "recipe's own",
        "mask_rule": "as they are" if cell.resolution is None else "nearest",
        "trained_on": _trained_on(trained),
        "trained_on_this": on_this,
        "vlmad": __version__,
        "spec": spec.model_dump(mode="json"),
    }
    return row


def write_scores(folder: Path, cell: str, scores: Sequence[Mapping[str, Any]]) -> None:
    """``scores/<cell>.jsonl``: path, label, kind and score of each judged image."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(score, allow_nan=False) + "\n" for score in scores)
    write_whole(folder / f"{cell}.jsonl", lines.encode())


_NUMBERS = (
    "image_auroc",
    "image_auroc_low",
    "image_auroc_high",
    "image_ap",
    "image_f1max",
    "pixel_auroc",
    "pixel_ap",
    "pixel_f1max",
    "aupro",
    "aupro_05",
    "pixel_bound",
    "seconds",
    "images_per_second",
)


def _remember(pipeline: Pipeline, features: SharedFeatures, key: str, references: Sequence[int]) -> None:
    scorers = pipeline.memory_scorers
    for scorer in scorers:
        scorer.forget()
    for seen in features.normals(key, references):
        for scorer in scorers:
            scorer.fit(seen)


def _judge(
    cell: Cell,
    pipeline: Pipeline,
    features: SharedFeatures,
    key: str,
    text_embeddings: SharedAnchors,
    pixels: PixelCount | None,
) -> dict[int, float]:
    """Number of each image to its score; maps go to where they are counted."""
    found: dict[int, float] = {}
    for places, seen in features.judged(key):
        words = text_embeddings.of(pipeline, cell.category.words, seen, len(places))
        scores = pipeline.score_features(seen, words, pipeline.backbone.preprocess.size)
        found |= zip(places, scores.image.float().tolist(), strict=True)
        if pixels is not None:
            pixels.add(places, scores.anomaly_map.float().cpu())
    if not all(map(math.isfinite, found.values())):
        raise VlmadError("the detector gave a score that is not a number.")
    return found


def _weights(provenance: Mapping[str, str]) -> str:
    sha256 = provenance.get("sha256", "")[:12]
    return " ".join(part for part in (provenance.get("weights", ""), sha256 and f"({sha256})") if part)


def _trained_on(trained: Mapping[str, Any]) -> list[str]:
    """Names of the data sets, the last one first."""
    names = [str(trained["data"]["name"])] if trained.get("data", {}).get("name") else []
    return names + (_trained_on(trained["before"]) if trained.get("before") else [])
