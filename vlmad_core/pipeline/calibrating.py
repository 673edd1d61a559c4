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
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vlmad_core.contracts.data import Features, Prediction, Scores
from vlmad_core.contracts.images import WORKERS, ImageLike, Picture, find_images, read, view_batches
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
from vlmad_core.pipeline.image_features import ImageFeatures, ScorersByScale, ScoreViews, add_scores
from vlmad_core.pipeline.normal_range import empty_copy, held_out, normal_range
from vlmad_core.pipeline.scales import ViewScores
from vlmad_core.pipeline.tile_kind import check_one_kind, other_kind

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
            ConfigError: The calibration that is there belongs to another detector, an image is given as normal and as
                a defect, or some images are read in tiles and others are not. Nothing has changed then.
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
        scorers: ScorersByScale,
        features: Sequence[ImageFeatures],
        images: Sequence[ImageScore],
        class_names: Sequence[str],
        batch_size: int,
        ranges: Tensor,
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
            ranges: ``[scales, 2]``, from `normal_range`.
            is_monotone: Another normal image can only lower a score.

        Raises:
            ConfigError: Some images are read in tiles and others are not.
        """
        check_one_kind(images)
        folds = fold_of(images, is_monotone=is_monotone)
        if len(set(folds)) < 2:
            return [], []

        def score(one: ImageFeatures, fitted: ScorersByScale) -> ViewScores:
            into = ViewScores(one.views, one.size, self.fuse.scales)
            return add_scores(into, one, fitted, self._score_views(class_names))

        found: list[Measured] = []
        scores = scores_without_own_fold(scorers, score, features, folds, batch_size)
        for image, one, scored in zip(images, features, scores, strict=True):
            scored.token = next(iter(_tokens(one.features[0])))
            found.append(measure(image, self._prediction(Picture(image.name, one.size), scored, ranges)))
        return found, folds

    def measure_ranges(
        self, features: Sequence[ImageFeatures], class_names: Sequence[str], trials: ScorersByScale | None = None
    ) -> tuple[Tensor, Tensor]:
        """The ranges of normal images, see `vlmad_core.pipeline.normal_range.normal_range`.

        Args:
            features: Of normal images; the first of them are held out.
            class_names: One name.
            trials: Copies of the scorers, which are fitted anew; None: they are made here.
        """
        if trials is None:
            trials = [[empty_copy(one) if one.needs_fit else one for one in each] for each in self.scorers_by_scale]
        return normal_range(trials, held_out(features), self._score_views(class_names), self.fuse.scales)

    def predict_batch(self, pictures: Sequence[Picture], class_names: Sequence[str] | None = None) -> list[Prediction]:
        """Score one batch of images that were read already; nothing else is checked.

        Raises:
            ImageError: An image is read in tiles and no normal image was, of the memory or of the calibration; or in
                none, and all of those were.
        """
        for picture in pictures:
            self.check_tiles(picture)
        return self._score_batch(pictures, class_names)

    def _score_batch(self, pictures: Sequence[Picture], class_names: Sequence[str] | None = None) -> list[Prediction]:
        """As `predict_batch`, without a check of tiles."""
        found = [ViewScores(picture.views, picture.size or (0, 0), self.fuse.scales) for picture in pictures]
        with torch.no_grad():
            for rows, views, pixels in view_batches(pictures):
                names = None if class_names is None else [class_names[row] for row in rows]
                features, scores = self.extract_and_score(pixels, names, scale=views[0].scale)
                maps = scores.anomaly_map.float().cpu().numpy()
                for row, view, score, map_, token in zip(
                    rows, views, scores.image.tolist(), maps, _tokens(features), strict=True
                ):
                    found[row].add(view, float(score), map_, token)
        return self._with_range(
            self._prediction(picture, scored, self.scale_ranges)
            for picture, scored in zip(pictures, found, strict=True)
        )

    def _with_range(self, predictions: Iterable[Prediction]) -> list[Prediction]:
        median, usual = self.normal_range.tolist()
        known = (median, usual) if math.isfinite(median + usual) else None
        return [replace(one, normal_range=known) for one in predictions]

    def check_tiles(self, picture: Picture) -> None:
        """Refuse an image whose score would be of another kind than those of the normal images.

        Raises:
            ImageError: As `predict_batch`.
        """
        self._check_memory(picture)
        if self.has_tiles and (problem := other_kind(self.calibration, picture.tile_count, picture.size, picture.path)):
            raise ImageError(problem)

    def _check_memory(self, picture: Picture) -> None:
        fitted = all(scorer.is_fitted for scorer in self.scorers_at(picture.views[-1].scale)) if picture.views else True
        if picture.size is None:
            return
        height, width = picture.size
        if picture.tile_count and not fitted:
            raise ImageError(
                f"{picture.path or 'an image'}: {width} x {height} pixels are read in tiles, and no normal image was "
                "large enough for that. Give normal images of the same size, or fit with tiles off (--tiles off)."
            )
        if self.has_tiles and not picture.tile_count and 0 < self.normals.get("tiled", 0) == self.normals["count"]:
            raise ImageError(
                f"{picture.path or 'an image'}: {width} x {height} pixels are too few for tiles, and every normal "
                "image was read in tiles, so that its score would be of another kind than theirs. Give images of the "
                "same size, fit with some of this size too, or fit with tiles off (--tiles off)."
            )

    def _score_views(self, class_names: Sequence[str]) -> ScoreViews:
        """How the features of views become scores; ``class_names`` is one name."""

        def score(features: Features, scorers: Sequence[Scorer], size: tuple[int, int]) -> Scores:
            texts = self.text_embeddings(list(class_names) * len(features), features)
            return self.fuse([scorer(features, texts, size) for scorer in scorers], self.labels)

        return score

    @staticmethod
    def _prediction(picture: Picture, scored: ViewScores, ranges: Tensor) -> Prediction:
        score, map_ = scored.result(ranges.float().cpu().numpy())
        shape = (map_.shape[0], map_.shape[1])
        size = picture.size or shape
        return Prediction(
            score, map_, size, picture.path, class_token=scored.token, tiles=picture.tile_count, bits=picture.bits
        )

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
                    self._check_memory(picture)  # not against the calibration, which may be replaced
                for picture, prediction in zip(pictures, self._score_batch(pictures), strict=True):
                    about = described(picture, groups, len(found), has_tiles=self.has_tiles)
                    found.append(measure(about, prediction))
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


def _tokens(features: Features) -> Sequence[NDArray[np.float32] | None]:
    """``[D]`` of unit length for each view; None where the extractor gives no class token."""
    if features.image is None:
        return [None] * len(features)
    return list(l2_normalize(features.image.float()).cpu().numpy())


def predictions_of(pictures: Sequence[Picture], features: Features, scores: Scores) -> list[Prediction]:
    """One prediction for each image of a batch."""
    maps, tokens = scores.anomaly_map.float().cpu().numpy(), _tokens(features)
    return [
        Prediction(float(score), map_, picture.size or map_.shape, picture.path, class_token=token, bits=picture.bits)
        for score, map_, picture, token in zip(scores.image.tolist(), maps, pictures, tokens, strict=True)
    ]
