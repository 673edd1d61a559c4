"""Scores of a detector from features that are computed once: for benchmarks that vary what it is fitted on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from accuracy import SIDE

from vlmad_core import Pipeline, metrics
from vlmad_core.contracts import Features
from vlmad_core.contracts.images import read, stack

__all__ = ["judge", "look", "remember", "values"]


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
