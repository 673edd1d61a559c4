"""A detector that is calibrated: predictions of a batch, and the normal scores that thresholds follow from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from PIL import Image

from vlmad_core.contracts.data import Features, Prediction, Scores
from vlmad_core.contracts.images import WORKERS, ImageLike, Picture, find_images, read, stack
from vlmad_core.contracts.ops import l2_normalize
from vlmad_core.contracts.parts import Scorer
from vlmad_core.errors import ImageError
from vlmad_core.inspection.calibration import ImageScore
from vlmad_core.pipeline.calibrate import (
    Groups,
    Measured,
    add_held_out,
    described,
    fold_of,
    measure,
    scores_without_own_fold,
    start,
)
from vlmad_core.pipeline.decisions import Decisions, StoredCalibration

__all__ = ["Calibrating", "listed", "predictions_of"]


class Calibrating(Decisions):
    """What `Pipeline` adds to the decisions: where their normal scores come from."""

    def calibrate(
        self,
        images: str | Path | Iterable[ImageLike],
        groups: Groups = None,
        defects: str | Path | Iterable[ImageLike] | None = None,
        *,
        batch_size: int = 8,
        renew: bool = False,
        progress: Callable[[int], None] | None = None,
        workers: int = WORKERS,
    ) -> Self:
        """Add held-out normal images to the calibration, so that thresholds with a known false-alarm rate follow.

        Args:
            images: Images of good parts that the detector was not fitted on: a folder, or paths, images and arrays.
            groups: A group for each image, or a function from the image as it was given to its group: images of one
                object share it and count once. None: each image is by itself.
            defects: Images of known defects; they set no threshold, and tell how many would be missed.
            batch_size: Images through the backbone at a time.
            renew: Start afresh, without the images of the calibration that is there.
            progress: Called with the number of images done.
            workers: Threads that decode.

        Raises:
            ImageError: An image cannot be read, or there are none.
            ConfigError: The calibration that is there belongs to another detector, or an image is given as normal and
                as a defect. Nothing has changed then.
        """
        self.check_ready()
        stored, fingerprint = self.stored_calibration, self.fingerprint()
        if stored is None or renew:
            stored = StoredCalibration(start(fingerprint))
        stored.calibration.check_detector(fingerprint)
        normals = self.measured(images, groups, batch_size, progress, 0, workers)
        known = [] if defects is None else self.measured(defects, None, batch_size, progress, len(normals), workers)
        self.stored_calibration = add_held_out(stored, normals, known)
        return self

    def reference_scores(
        self,
        scorers: Sequence[Scorer],
        features: Sequence[Features],
        images: Sequence[ImageScore],
        class_names: Sequence[str],
        batch_size: int,
        *,
        is_monotone: bool,
    ) -> tuple[list[Measured], list[int]]:
        """Normal images scored without their own folds, and the folds; nothing where there is one fold.

        Args:
            scorers: Copies; what they were fitted on is replaced.
            features: Of one image each, and after it of its rotated copies, in the order in which they are fitted.
            images: The same images, from `described`.
            class_names: One name.
            batch_size: Images that are fitted at a time.
            is_monotone: Another normal image can only lower a score.
        """
        size = self.backbone.preprocess.size
        folds = fold_of(images, is_monotone=is_monotone)
        if len(set(folds)) < 2:
            return [], []

        def score(one: Features, fitted: Sequence[Scorer]) -> Scores:
            texts = self.text_embeddings(class_names, one)
            return self.fuse([scorer(one, texts, size) for scorer in fitted], self.labels)

        found: list[Measured] = []
        scores = scores_without_own_fold(scorers, score, features, folds, batch_size)
        for image, one, scored in zip(images, features, scores, strict=True):
            found.append(measure(image, predictions_of([Picture(image.name)], one.select(slice(0, 1)), scored)[0]))
        return found, folds

    def predict_batch(self, pictures: Sequence[Picture], class_names: Sequence[str] | None = None) -> list[Prediction]:
        """Score one batch of images that were read already; nothing is checked."""
        with torch.no_grad():
            features, scores = self.extract_and_score(stack(pictures), class_names)
        return self._with_range(predictions_of(pictures, features, scores))

    def _with_range(self, predictions: Sequence[Prediction]) -> list[Prediction]:
        median, usual = self.normal_range.tolist()
        known = (median, usual) if math.isfinite(median + usual) else None
        return [replace(one, normal_range=known) for one in predictions]

    def measured(
        self,
        images: str | Path | Iterable[ImageLike],
        groups: Groups,
        batch_size: int,
        progress: Callable[[int], None] | None,
        done: int,
        workers: int,
    ) -> list[Measured]:
        """Images as a calibration needs them, scored by the detector as it is.

        Args:
            images: A folder, or paths, images and arrays.
            groups: See :meth:`calibrate`.
            batch_size: Images through the backbone at a time.
            progress: Called with ``done`` and the number of images scored.
            done: Images before these.
            workers: Threads that decode.

        Raises:
            ImageError: An image cannot be read, or there are none.
        """
        sources: Iterable[ImageLike] = find_images(images) if isinstance(images, str | Path) else listed(images)
        found: list[Measured] = []
        with closing(read(sources, self.preprocess, batch_size=batch_size, workers=workers, digest=True)) as batches:
            for pictures in batches:
                for picture in pictures:
                    if picture.error:
                        raise ImageError(f"an image for the calibration cannot be read: {picture.error}")
                for picture, prediction in zip(pictures, self.predict_batch(pictures), strict=True):
                    found.append(measure(described(picture, groups, len(found)), prediction))
                if progress is not None:
                    progress(done + len(found))
        if not found:
            raise ImageError("no images were given for the calibration.")
        return found


def listed(images: Iterable[ImageLike]) -> Iterable[ImageLike]:
    """Several images; one by itself becomes a list."""
    if isinstance(images, Image.Image | np.ndarray):
        return [images]
    return images


def predictions_of(pictures: Sequence[Picture], features: Features, scores: Scores) -> list[Prediction]:
    """One prediction for each image of a batch."""
    maps = scores.anomaly_map.float().cpu().numpy()
    tokens: Sequence[np.ndarray | None] = [None] * len(pictures)
    if features.image is not None:
        tokens = list(l2_normalize(features.image.float()).cpu().numpy())
    return [
        Prediction(float(score), map_, picture.size or map_.shape, picture.path, class_token=token, bits=picture.bits)
        for score, map_, picture, token in zip(scores.image.tolist(), maps, pictures, tokens, strict=True)
    ]
