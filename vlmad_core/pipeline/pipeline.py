"""A detector: four parts that call each other, with the few verbs that people need: fit, predict, stream, save."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from itertools import islice, repeat
from pathlib import Path
from typing import Any, Self, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from vlmad_core.contracts.data import Features, Prediction
from vlmad_core.contracts.device import to_device
from vlmad_core.contracts.images import WORKERS, ImageLike, Picture, find_images, read, view_batches
from vlmad_core.errors import ConfigError, ImageError, IncompatibleError
from vlmad_core.inspection.calibration import ImageScore
from vlmad_core.pipeline.calibrate import Groups, described, of_references
from vlmad_core.pipeline.calibrating import listed
from vlmad_core.pipeline.calibration_file import remove_calibration, write_calibration
from vlmad_core.pipeline.checkpoint import write_checkpoint
from vlmad_core.pipeline.explaining import Explaining
from vlmad_core.pipeline.image_features import ImageFeatures, ScorersByScale, fit_rotated_views, fit_views, of_pictures
from vlmad_core.pipeline.normal_range import copy_of, empty_copy, may_hold
from vlmad_core.pipeline.rotations import MAX_ROTATED, choose_angles, regions_before, rotate
from vlmad_core.pipeline.scales import describe_views
from vlmad_core.pipeline.trained import describe_training, was_trained_on

__all__ = ["Pipeline"]


class Pipeline(Explaining):
    """Backbone, extractor, prompts and scorers, assembled.

    The backbone is shared, not owned: it is in neither ``parameters()`` nor ``state_dict()``, which hold exactly what
    the parts learned and were fitted on. :func:`vlmad_core.build` makes pipelines from names.

    Args:
        backbone: Frozen image encoder, with a text encoder where there is one.
        extractor: Turns an image into patch or window features.
        scorers: Turn features into scores and anomaly maps.
        prompts: Text embeddings for "normal" and "abnormal"; None for a memory bank alone.
        fuse: How the scorers become one.
        spec: The file it was built from; without it a pipeline cannot be saved.

    Attributes:
        class_name: What the images show, where none is given to a call.
        trained: What its parts learned from; set it after a training loop of your own.
        plugins: Distribution to version, of the parts.
        normal_range: Median and highest value of the maps of held-out normal images, ``[2]``; NaN: unknown.

    Raises:
        IncompatibleError: There is no scorer, or one needs text and there is none.
    """

    def fit(
        self,
        images: str | Path | Iterable[ImageLike],
        class_name: str | None = None,
        *,
        batch_size: int = 8,
        keep: bool = False,
        calibrate: bool = False,
        groups: Groups = None,
        progress: Callable[[int], None] | None = None,
        workers: int = WORKERS,
    ) -> Self:
        """Fit the memory scorers on normal images. Nothing changes before all of them are done.

        A calibration of what it was fitted on before is dropped.

        Args:
            images: A folder, or paths, PIL images and arrays.
            class_name: What they show, such as ``"metal nut"``; the default of later predictions.
            batch_size: Images through the backbone at a time.
            keep: Add to what it was fitted on instead of starting afresh; ``normal_range`` is then that of the new
                images.
            calibrate: Also score each image by a detector that was fitted without it, for :attr:`calibration`; the
                features of all images are kept in memory meanwhile. With fewer than two images there is none.
            groups: Which images are of one object, see :meth:`calibrate`; only for ``calibrate``.
            progress: Called with the number of images done.
            workers: Threads that decode.

        Raises:
            ImageError: An image cannot be read, or there are none.
            IncompatibleError: No scorer compares with normal images.
            ConfigError: ``calibrate`` with ``keep``: the images before cannot be scored without themselves any more; or
                with images of which some are read in tiles and others are not.
        """
        if calibrate and keep:
            raise ConfigError(
                "images that are added to a fitted detector cannot be calibrated with those before. Fit all of "
                "them at once, or calibrate with held-out images."
            )
        if not self.memory_scorers:
            raise IncompatibleError(
                "no scorer compares with normal images, so there is nothing to fit. Add scorer 'memory', or use a "
                "few-shot recipe: vlmad_core.build(..., few_shot=True)."
            )
        sources: Iterable[ImageLike] = find_images(images) if isinstance(images, str | Path) else listed(images)
        names = self._class_names(None if class_name is None else [class_name], 1)  # refused before an image is read
        present = self.scorers_by_scale
        trials = [[empty_copy(one) if one.needs_fit else one for one in of_scale] for of_scale in present]
        scorers = [
            [(copy_of(one if keep else trial) if one.needs_fit else one) for one, trial in zip(*both, strict=True)]
            for both in zip(present, trials, strict=True)
        ]
        # Not inference_mode: a memory filled under it could never stand in a graph that is trained.
        with torch.no_grad():
            about: list[ImageScore] = []

            def note(picture: Picture) -> None:
                about.append(described(picture, groups, len(about), has_tiles=self.has_tiles))

            features, added, remembered = self._fit(
                sources, scorers, batch_size, progress, workers, note if calibrate else None
            )
            found, ranges = self.measure_ranges(features, names, trials)
            # A further normal image may move the ranges by which scales are normalized, and so raise a score.
            moves = len(scorers) > 1 and self.fuse.scales == "normalized"
            is_monotone = not moves and all(one.is_monotone for each in scorers for one in each if one.needs_fit)
            measured = None
            if calibrate:
                measured = self.reference_scores(
                    trials, features, about, names, batch_size, ranges, is_monotone=is_monotone
                )
        # Other scorers in one step: a prediction that runs beside this one has the old ones or the new ones.
        self.scorers = nn.ModuleList(scorers[0])
        more = [[one for one in of_scale if one.needs_fit] for of_scale in scorers[1:]]
        self.more_scales = nn.ModuleList(map(nn.ModuleList, more))
        self.normal_range, self.scale_ranges = found.to(self.normal_range), ranges.to(self.scale_ranges)
        self.normals = _joined(self.normals if keep else {}, added)
        self.normal_images = [*(self.normal_images if keep else ()), *remembered]
        self.class_name = self.class_name if class_name is None else class_name
        self.stored_calibration = None
        if measured is not None:
            self.stored_calibration = of_references(self.fingerprint(), *measured, is_monotone=is_monotone)
        return self

    def _fit(
        self,
        sources: Iterable[ImageLike],
        scorers: ScorersByScale,
        batch_size: int,
        progress: Callable[[int], None] | None,
        workers: int,
        note: Callable[[Picture], None] | None,
    ) -> tuple[list[ImageFeatures], Mapping[str, Any], list[tuple[str, str]]]:
        """Fit these scorers; gives features, how many images there were with their hash, and each one's path and hash.

        The features are those of the first images, or of all where each picture is noted; those of an image are
        followed by those of its rotated copies.
        """
        done, contents, held, images = 0, hashlib.sha256(), list[ImageFeatures](), list[tuple[str, str]]()
        tiled = 0
        angles: list[float] | None = None
        rotations = self.rotations if all(scorer.takes_rotations for scorer in self.memory_scorers) else "off"
        batches = read(sources, self.preprocess, batch_size=batch_size, workers=workers, digest=True)
        with closing(batches):
            for pictures in batches:
                for picture in pictures:
                    if picture.error:
                        raise ImageError(f"a normal image cannot be read: {picture.error}")
                    contents.update(picture.content)
                    tiled += bool(picture.tile_count)
                if angles is None:
                    angles = choose_angles(rotations, self.backbone, pictures)
                keeps = note is not None or may_hold(held, pictures[0])
                found = []
                for rows, views, pixels in view_batches(pictures):
                    aspects = [view.aspect for view in views]
                    used = angles if done < MAX_ROTATED else []
                    features = self._finite_features(pixels)
                    rotated = [self._finite_features(rotate(pixels, angle, aspects)) for angle in used]
                    fit_views(scorers, views, features)
                    for angle, copies in zip(used, rotated, strict=True):
                        fit_rotated_views(scorers, views, copies, partial(regions_before, angle, aspects))
                    if views[0].scale == 0:  # in the order in which a memory numbers its images
                        images += [(pictures[row].path or "", pictures[row].sha256) for row in rows]
                    if keeps:
                        found.append((rows, views, [features, *rotated]))
                held += of_pictures(pictures, found) if keeps else []
                if note is not None:
                    for picture in pictures:
                        note(picture)
                done += len(pictures)
                if progress is not None:
                    progress(done)
        if not done:
            raise ImageError("no normal images were given.")
        about: dict[str, Any] = {"count": done, "sha256": contents.hexdigest()}
        if angles:
            about["rotations"] = angles
        if self.has_tiles:
            about["tiled"] = tiled
        return held, about, images

    def _finite_features(self, pixels: Tensor) -> Features:
        pixels = to_device(pixels, self.backbone.device, self.backbone.dtype)
        features: Features = self.extractor(self.backbone.vision, pixels)
        if not all(level.vectors.isfinite().all() for level in features.levels):
            raise ConfigError(
                "the backbone gave features that are not finite numbers; its weights are broken, or its precision is "
                "too low."
            )
        return features

    @overload
    def predict(  # type: ignore[overload-overlap]  # a str is one path here, not an iterable of letters
        self, images: ImageLike, class_name: str | None = None, *, batch_size: int = 8, workers: int = WORKERS
    ) -> Prediction: ...

    @overload
    def predict(
        self,
        images: Iterable[ImageLike],
        class_name: str | Sequence[str] | None = None,
        *,
        batch_size: int = 8,
        workers: int = WORKERS,
    ) -> list[Prediction]: ...

    def predict(
        self,
        images: ImageLike | Iterable[ImageLike],
        class_name: str | Sequence[str] | None = None,
        *,
        batch_size: int = 8,
        workers: int = WORKERS,
    ) -> Prediction | list[Prediction]:
        """Score images and mark where their defects are.

        Args:
            images: One path, PIL image or array; or several of them, in a list or a generator.
            class_name: What they show, one for all or one for each; defaults to the one given to :meth:`fit`.
            batch_size: Images through the backbone at a time.
            workers: Threads that decode.

        Returns:
            One prediction for one image, a list for several. :meth:`stream` gives them one by one.

        Raises:
            ImageError: An image cannot be read.
            NotFittedError: A scorer was fitted on no normal image, or a part that learns has learned nothing yet.
            ConfigError: The prompts need a class name.
            VlmadError: A score or a map is not finite.
        """
        if isinstance(images, str | Path | Image.Image | np.ndarray):
            if isinstance(images, str | Path) and Path(images).is_dir():
                raise ImageError(f"{images}: is a folder; list(detector.stream('{images}')) judges each image in it.")
            (one,) = self.stream([images], class_name)
            return one
        return list(self.stream(images, class_name, batch_size=batch_size, workers=workers))

    def stream(
        self,
        images: str | Path | Iterable[ImageLike],
        class_name: str | Sequence[str] | None = None,
        *,
        batch_size: int = 8,
        workers: int = WORKERS,
    ) -> Iterator[Prediction]:
        """As :meth:`predict`, for a folder or any number of images, one prediction at a time in flat memory."""
        # Checked when called, not when the first prediction is asked for.
        self.check_ready(has_class_name=class_name is not None)
        sources: Iterable[ImageLike] = find_images(images) if isinstance(images, str | Path) else listed(images)
        names = repeat(class_name) if class_name is None or isinstance(class_name, str) else iter(class_name)
        batches = read(sources, self.preprocess, batch_size=batch_size, workers=workers)
        return self._stream(batches, names)

    def _stream(self, batches: Generator[list[Picture]], names: Iterator[str | None]) -> Iterator[Prediction]:
        with closing(batches):  # its threads end here, also where an error keeps this frame alive
            for pictures in batches:
                for picture in pictures:
                    if picture.error:
                        raise ImageError(picture.error)
                given = [name for name in islice(names, len(pictures)) if name is not None]
                if given and len(given) < len(pictures):
                    raise ConfigError("fewer names than images were given; give one name for all, or one for each.")
                for prediction in self.predict_batch(pictures, given or None):
                    if not prediction.is_finite:
                        raise ConfigError(
                            f"{prediction.path or 'an image'}: the detector gave a score or a map that is not a finite "
                            "number; its weights are broken, or its precision is too low."
                        )
                    yield prediction
        if not isinstance(names, repeat) and next(names, None) is not None:
            raise ConfigError("more names than images were given; give one name for all, or one for each.")

    def save(self, folder: str | Path) -> Path:
        """Write spec, own tensors and versions to a folder; :func:`vlmad_core.load` reads it back.

        The backbone's weights are not copied; their hash is written down and compared when the detector is loaded.

        Raises:
            ConfigError: It was put together by hand, so there is no spec; or the folder cannot be written.
        """
        if self.spec is None:
            raise ConfigError("this pipeline was put together by hand; build it with vlmad_core.build to save it.")
        record = {
            "class_name": self.class_name,
            "spec": self.spec.model_dump(mode="json"),
            "plugins": dict(self.plugins),
            "backbone": dict(self.backbone.provenance),
            "trained": dict(self.trained),
            "normals": dict(self.normals),
            "normal_images": [list(image) for image in self.normal_images],
            "bits": self.bits,
        }
        where = write_checkpoint(folder, record, self.state_dict())
        if self.stored_calibration is None:
            remove_calibration(where)
        else:
            write_calibration(where, self.stored_calibration)
        return where

    def was_trained_on(self, name: str = "", *, sha256: str = "", contents: Collection[str] = ()) -> bool | None:
        """Whether its parts learned from a data set: by its images where they are given; None: it cannot be known."""
        return was_trained_on(self.trained, name=name, sha256=sha256, contents=contents)

    def summary(self) -> str:
        """One line a part: its name, its levels, dimensions and sizes."""
        backbone, spec, fuse = self.backbone, self.spec, self.fuse
        (height, width), (rows, columns), vision = backbone.preprocess.size, backbone.grid, backbone.vision
        names = [spec.backbone.name, spec.extractor.name] if spec else [type(backbone).__name__, _type(self.extractor)]
        lines = [
            f"backbone   {names[0]}: {height} x {width} pixels, {rows} x {columns} patches, {len(vision.blocks)} "
            f"blocks, width {vision.width}, {'with' if backbone.text is not None else 'no'} text, "
            + str(backbone.dtype).removeprefix("torch."),
            *([] if self.views is None else [f"input      {describe_views(self.views, fuse.scales)}"]),
            f"extractor  {names[1]}: " + ", ".join(map(str, self.extractor.levels)),
        ]
        if self.prompts is not None:
            used = spec.prompts.name if spec and spec.prompts else _type(self.prompts)
            known = f"class name {self.class_name!r}" if self.class_name else "no class name yet"
            lines.append(f"prompts    {used}: {known}")
        for scorer, label in zip(self._scorer_list(), self.labels, strict=True):
            beside = "text" if scorer.needs_text else "normal images" + ("" if scorer.is_fitted else " (none yet)")
            lines.append(f"scorer     {label}: compares with {beside}")
        lines.append(f"fuse       image {fuse.image}, map {fuse.map}, smooth {fuse.smooth:g} px")
        own, frozen = (sum(p.numel() for p in model.parameters()) for model in (self, backbone))
        lines.append(f"learns     {own:,} numbers; the backbone's {frozen:,} stay as they are")
        return "\n".join([*lines, *([f"trained    {describe_training(self.trained)}"] if self.trained else [])])


def _joined(before: Mapping[str, Any], added: Mapping[str, Any]) -> Mapping[str, Any]:
    """The record of normal images after more were added to it."""
    if not before:
        return added
    both = f"{before['sha256']} {added['sha256']}".encode()
    joined = {**added, "count": before["count"] + added["count"], "sha256": hashlib.sha256(both).hexdigest()}
    if "tiled" in before and "tiled" in added:
        joined["tiled"] = before["tiled"] + added["tiled"]
    return joined


def _type(part: nn.Module) -> str:
    return type(part).__name__
