"""From features to one row: fit on the normal images, score the test images, and compute the metrics.

A detector is evaluated as it predicts: scores raw, maps made at the size that it works at and then resized bilinearly,
as :meth:`vlmad_core.Prediction.map_at` does it, to the resolution of the evaluation.
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
from vlmad_core.benchmark.features import SharedFeatures, SharedTextEmbeddings
from vlmad_core.benchmark.ground_truth import GroundTruth, PixelScores, finite_or_none
from vlmad_core.errors import VlmadError
from vlmad_core.files import write_whole
from vlmad_core.metrics.image import image_metrics
from vlmad_core.pipeline.image_features import ImageFeatures, fit_images
from vlmad_core.pipeline.normal_range import HELD_OUT
from vlmad_core.pipeline.pipeline import Pipeline
from vlmad_core.pipeline.scales import ViewScores
from vlmad_core.pipeline.spec import PipelineSpec
from vlmad_core.pipeline.trained import was_trained_on
from vlmad_core.report.rows import Row
from vlmad_core.version import __version__

__all__ = ["evaluate_cell", "row_of", "write_scores"]


def evaluate_cell(
    cell: Cell,
    pipeline: Pipeline,
    features: SharedFeatures,
    key: str,
    text_embeddings: SharedTextEmbeddings,
    truth: GroundTruth,
    references: Sequence[int],
) -> tuple[Row, list[dict[str, Any]]]:
    """One row, and the score of each image.

    Args:
        cell: Which.
        pipeline: Its detector.
        features: Of the test images, which come first, and of the normal ones.
        key: Of the detector's extractor.
        text_embeddings: Of this backbone.
        truth: Labels and masks of the test images.
        references: Numbers of the normal images to fit on.

    Raises:
        VlmadError: It cannot be done; the text says why.
    """
    started, where = time.perf_counter(), f"{cell.category.dataset}/{cell.category.name}"
    if not truth.indices:
        raise VlmadError(f"{where}: none of the test images can be read.")
    pixels = PixelScores(truth, stepped=cell.stepped)
    with torch.no_grad():  # not inference_mode: a memory filled under it could never stand in a graph
        if cell.shots:
            _fit(cell, pipeline, features, key, references)
        found = _score(cell, pipeline, features, key, text_embeddings, pixels if truth.masked else None)
    seconds = time.perf_counter() - started
    scores, labels = np.array([found[index] for index in truth.indices]), truth.labels
    image = image_metrics(scores, labels)
    numbers: dict[str, Any] = {
        "status": "done",
        "good": image.normal,
        "defective": image.abnormal,
        "unreadable": [
            {"path": path_of(truth.samples[index], cell.category.root), "error": error}
            for index, error in sorted(truth.unreadable.items())
        ],
        "problems": truth.problems,
        "images_per_second": round(len(found) / seconds, 2),
        **finite_or_none(
            image_auroc=image.auroc,
            image_auroc_low=image.low,
            image_auroc_high=image.high,
            image_ap=image.ap,
            image_f1max=image.f1max,
        ),
        **(pixels.numbers() if truth.masked else {}),
    }
    row = cast("Row", {**row_of(cell, pipeline), **numbers})
    row["seconds"] = round(time.perf_counter() - started, 3)
    lines = [
        {
            "path": path_of(truth.samples[index], cell.category.root),
            "label": int(label),
            "kind": truth.samples[index].kind,
            "score": float(score),
        }
        for index, label, score in zip(truth.indices, labels, scores, strict=True)
    ]
    return row, lines


def row_of(cell: Cell, pipeline: Pipeline | None = None, *, status: str = "", error: str = "") -> Row:
    """The row of a cell before it is evaluated; every number is null."""
    spec: PipelineSpec = cell.spec if pipeline is None or pipeline.spec is None else pipeline.spec
    trained = {} if pipeline is None else pipeline.trained
    category = cell.category
    size = None if pipeline is None else list(pipeline.backbone.preprocess.size)
    on_this = was_trained_on(trained, contents=category.contents()) if trained else False
    row: Row = {
        "cell": cell.key,
        "status": status or cell.status,
        "error": error or cell.reason,
        "dataset": category.dataset,
        "category": category.name,
        "class_name": category.class_name,
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
        "problems": [],
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
    """``scores/<cell>.jsonl``: path, label, kind and score of each test image."""
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


def _fit(cell: Cell, pipeline: Pipeline, features: SharedFeatures, key: str, references: Sequence[int]) -> None:
    class_name = cell.category.class_name
    takes_rotations = all(scorer.takes_rotations for scorer in pipeline.memory_scorers)
    if pipeline.rotations != "off" and takes_rotations:  # the copies are of this detector alone: nothing is shared
        pipeline.fit([sample.image for sample in cell.references], class_name)
        return
    scorers = pipeline.scorers_by_scale
    for scorer in (scorer for of_scale in scorers for scorer in of_scale if scorer.needs_fit):
        scorer.forget()
    held: list[ImageFeatures] = []
    for batch in features.normal_batches(key, references):
        fit_images(scorers, batch, len(batch))
        held = [*held, *batch][:HELD_OUT]
    if pipeline.fuse.scales == "normalized":
        pipeline.scale_ranges = pipeline.measure_ranges(held, [cell.category.class_name])[1]


def _score(
    cell: Cell,
    pipeline: Pipeline,
    features: SharedFeatures,
    key: str,
    text_embeddings: SharedTextEmbeddings,
    pixels: PixelScores | None,
) -> dict[int, float]:
    """Number of each image to its score; maps go to where they are counted."""
    found: dict[int, float] = {}
    ranges = pipeline.scale_ranges.float().cpu().numpy()
    for indices, parts in features.test_batches(key):
        images = [ViewScores(features.views[i], features.sizes[i], pipeline.fuse.scales) for i in indices]
        for part, batch in parts:
            first = part.views[0]
            if not all(scorer.is_fitted for scorer in pipeline.scorers_at(first.scale)):
                raise VlmadError("a test image is read in tiles and no normal image was; set tiles to off.")
            text = text_embeddings.get(pipeline, cell.category.class_name, batch, len(part.rows))
            scores = pipeline.score_features(batch, text, first.size, scale=first.scale)
            maps = scores.anomaly_map.float().cpu().numpy()
            for row, view, score, map_ in zip(part.rows, part.views, scores.image.tolist(), maps, strict=True):
                images[row].add(view, float(score), map_)
        for index, image in zip(indices, images, strict=True):
            found[index], map_ = image.result(ranges)
            if pixels is not None:
                pixels.add([index], torch.from_numpy(map_)[None])
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
