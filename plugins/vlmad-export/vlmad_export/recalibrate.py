"""The calibration of an exported file in lower precision: every normal image is scored again by the file itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vlmad_core.contracts import Features, Prediction, Scorer, Scores, l2_normalize
from vlmad_core.contracts.images import Picture, read, stack
from vlmad_core.contracts.views import View
from vlmad_core.errors import ConfigError
from vlmad_core.inspection.calibration import ImageScore
from vlmad_core.pipeline import Pipeline
from vlmad_core.pipeline.calibrate import (
    Measured,
    add_held_out,
    fold_of,
    measure,
    of_references,
    scores_without_own_fold,
    start,
)
from vlmad_core.pipeline.decisions import StoredCalibration
from vlmad_core.pipeline.image_features import ImageFeatures, ScorersByScale
from vlmad_core.pipeline.normal_range import empty_copy
from vlmad_core.pipeline.rotations import MAX_ROTATED, rotate

__all__ = ["missing_images", "recalibrate"]

Network = Callable[[NDArray[np.float32]], Mapping[str, NDArray[np.float32]]]
"""From ``[B, 3, H, W]`` to every output by name, the features among them."""


@dataclass(frozen=True)
class _Run:
    """One normal image through both.

    Args:
        original: Features of the original, and of its rotated copies where there are any, which a memory is fitted on.
        found: Features of the exported file, which are compared with that memory.
        prediction: Of the exported file.
    """

    original: Features
    found: Features
    prediction: Prediction


def missing_images(stored: StoredCalibration, files: Mapping[str, Path]) -> list[str]:
    """Names of normal images of a calibration that no file was found for."""
    calibration = stored.calibration
    return [image.name for image in (*calibration.references, *calibration.held_out) if image.digest not in files]


def recalibrate(pipeline: Pipeline, network: Network, files: Mapping[str, Path]) -> StoredCalibration:
    """Score the normal images of a calibration again, in the precision of the exported file.

    A remembered image is scored against a memory of the others. That memory is filled with the features of the
    original, as the one in the file is, and the image itself has the features that the file computes.

    Args:
        pipeline: The original, calibrated.
        network: The exported file with its features.
        files: By the hash of their contents; see :func:`missing_images`.

    Raises:
        ConfigError: A file is missing, or all scores are the same.
    """
    stored = pipeline.stored_calibration
    if stored is None:
        raise ConfigError("the detector has no calibration, so there is none to renew.")
    if missing := missing_images(stored, files):
        raise ConfigError(
            f"{len(missing)} normal images of the calibration are not there, the first is '{missing[0]}'."
        )
    calibration, fingerprint = stored.calibration, pipeline.fingerprint()
    rotated = {image.digest for image in calibration.references[:MAX_ROTATED]}
    angles: Sequence[float] = pipeline.normals.get("rotations", ())
    runs = {
        image.digest: _through_both(pipeline, network, files[image.digest], angles if image.digest in rotated else ())
        for image in (*calibration.references, *calibration.held_out, *calibration.defects)
        if image.digest in files
    }
    fresh = None
    if calibration.references:
        measured, folds = _references(pipeline, calibration.references, runs, is_monotone=calibration.is_monotone)
        fresh = of_references(fingerprint, measured, folds, is_monotone=calibration.is_monotone)
    fresh = fresh or StoredCalibration(start(fingerprint))
    if not calibration.held_out:
        return fresh
    normals, defects = (
        [measure(image, runs[image.digest].prediction) for image in images if image.digest in runs]
        for images in (calibration.held_out, calibration.defects)
    )
    return add_held_out(fresh, normals, defects)


def _through_both(pipeline: Pipeline, network: Network, path: Path, angles: Sequence[float]) -> _Run:
    (picture,) = next(read([path], pipeline.preprocess, batch_size=1, workers=1))
    pixels = stack([picture])
    aspects = [picture.views[0].aspect]
    copies = [pixels, *(rotate(pixels, angle, aspects) for angle in angles)]
    with torch.no_grad():
        every = [pipeline.extractor(pipeline.backbone.vision, copy) for copy in copies]
    outputs = network(pixels.numpy())
    found = every[0].with_tensors({name: torch.from_numpy(np.array(outputs[name])) for name in every[0].tensors()})
    original = Features.cat(every)
    return _Run(original, found, _prediction(picture, found, outputs["score"][0], outputs["anomaly_map"][0]))


def _prediction(picture: Picture, features: Features, score: float, map_: NDArray[np.float32]) -> Prediction:
    token = None if features.image is None else l2_normalize(features.image)[0].numpy()
    return Prediction(float(score), np.array(map_), picture.size or map_.shape, picture.path, class_token=token)


def _references(
    pipeline: Pipeline, images: Sequence[ImageScore], runs: Mapping[str, _Run], *, is_monotone: bool
) -> tuple[list[Measured], list[int]]:
    scorers = [scorer for scorer in pipeline.scorers if isinstance(scorer, Scorer)]
    trials = [[empty_copy(scorer) if scorer.needs_fit else scorer for scorer in scorers]]
    found = [runs[image.digest] for image in images]
    folds = fold_of(images, is_monotone=is_monotone)
    # The order in which they are scored: fold by fold.
    turns = iter([i for fold in dict.fromkeys(folds) for i, own in enumerate(folds) if own == fold])
    size = pipeline.preprocess.size
    whole = View(0, (0, 0, *size), size)
    originals = [ImageFeatures(size, (whole,), (run.original,)) for run in found]

    with torch.no_grad():
        text = pipeline.text_embeddings([pipeline.class_name or "object"])

    def score(image: ImageFeatures, fitted: ScorersByScale) -> Scores:
        one = found[next(turns)].found  # in place of the features of the original, which the others are fitted with
        return pipeline.fuse([scorer(one, text, size) for scorer in fitted[0]], pipeline.labels)

    with torch.no_grad():
        scores = scores_without_own_fold(trials, score, originals, folds, 8)
    measured = []
    for image, run, scored in zip(images, found, scores, strict=True):
        map_ = scored.anomaly_map[0].numpy()
        measured.append(measure(image, _prediction(Picture(image.name), run.found, float(scored.image[0]), map_)))
    return measured, folds
