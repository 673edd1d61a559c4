"""What makes another version of a detector: enrolment, more normal images, and what people said of results.

The detector in use is never touched. A copy is changed, saved, warmed and compared, and then takes over in one step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vlmad_core.contracts.images import read
from vlmad_core.errors import ConfigError, ImageError
from vlmad_core.pipeline.calibrate import Measured, add_held_out, described, measure, start
from vlmad_core.pipeline.decisions import StoredCalibration
from vlmad_core.pipeline.pipeline import Pipeline
from vlmad_serve.archive import Archive
from vlmad_serve.detectors import Detectors, Version
from vlmad_serve.normals import NormalImage, keep_normals, list_normals
from vlmad_serve.refusal import Refusal
from vlmad_serve.settings import ServerSettings
from vlmad_serve.shadow import compare
from vlmad_serve.store import Store

__all__ = ["Changes"]

Progress = Callable[[int], None]


@dataclass(frozen=True, eq=False)
class Changes:
    """Changes of the detectors of one server; one at a time, in a thread.

    Attributes:
        settings: Of the server.
        store: Knows normal images and labels.
        archive: Has the images.
        detectors: That are changed.
    """

    settings: ServerSettings
    store: Store
    archive: Archive
    detectors: Detectors

    def enrol(
        self, name: str, class_name: str | None, images: Sequence[NormalImage], by: str, progress: Progress
    ) -> dict[str, Any]:
        """A detector from normal images, calibrated by scoring each of them without itself.

        Args:
            name: Of the product; one of that name is replaced.
            class_name: What the images show, such as ``metal nut``.
            images: Normal images, each once.
            by: Who asked for it.
            progress: Called with the number of images done.

        Raises:
            ImageError: An image cannot be read.
            Refusal: 422; fewer than two images.
        """
        if len(images) < 2:
            raise Refusal(422, "a product needs two normal images at least; ten are a beginning, 19 are better.")
        pipeline = self.detectors.empty()
        self._fit(pipeline, class_name, images, progress)
        version, compared = self._add(name, pipeline, "enrol", by)
        keep_normals(self.store, name, images, replace=True)
        return _summary(version, compared)

    def calibrate(
        self,
        name: str,
        normals: Sequence[NormalImage],
        defects: Sequence[NormalImage],
        *,
        renew: bool,
        by: str,
        progress: Progress,
    ) -> dict[str, Any]:
        """Add held-out normal images and known defects to the calibration; the memory stays as it is.

        Args:
            name: Of the product.
            normals: Held-out normal images.
            defects: Known defects; they set no threshold.
            renew: Without the held-out images and defects of before.
            by: Who asked for it.
            progress: Called with the number of images done.

        Raises:
            ConfigError: An image is given as normal and as a defect, or is remembered already.
        """
        if not normals and not defects:
            raise Refusal(422, "give images in the field 'normals', in the field 'defects', or in both.")
        pipeline = self.detectors.copy(name)
        if renew and pipeline.stored_calibration is not None:
            kept = replace(pipeline.stored_calibration.calibration, held_out=(), defects=())
            tokens = {k: v for k, v in pipeline.stored_calibration.tokens.items() if k != "held_out"}
            pipeline.stored_calibration = StoredCalibration(kept, tokens)
        self._extend(pipeline, normals, defects, progress)
        version, compared = self._add(name, pipeline, "calibrate", by)
        keep_normals(self.store, name, [*normals, *defects], replace=False)
        return _summary(version, compared)

    def apply_feedback(self, name: str, by: str, progress: Progress) -> dict[str, Any]:
        """Let confirmed good images join memory and calibration, and confirmed defects the list of known defects.

        Where the normal images of the product are here, the detector is fitted on all of them again, so that each is
        scored without itself. Where they are not, as for a detector that was loaded, good images join the calibration
        as held-out images.

        Args:
            name: Of the product.
            by: Who asked for it.
            progress: Called with the number of images done.

        Raises:
            Refusal: 409; nobody said anything new.
        """
        rows = self.store.rows(
            "SELECT id, file, name, label FROM results WHERE detector = ? AND label IS NOT NULL AND applied IS NULL "
            "AND has_files = 1 ORDER BY id",
            [name],
        )
        if not rows:
            raise Refusal(409, f"there is no new feedback for '{name}'.")
        known = list_normals(self.store, name)
        said = {row["file"]: row for row in rows}
        references = [each for each in known if each.kind == "reference" and each.file not in said]
        good = [NormalImage(f, r["name"], "", "reference") for f, r in said.items() if r["label"] == "good"]
        defects = [NormalImage(f, r["name"], "", "defect") for f, r in said.items() if r["label"] == "defect"]
        others = [each for each in known if each.kind != "reference" and each.file not in said]
        former = self.detectors.current(name)
        if len(references) >= 2 and former.pipeline.memory_scorers:
            pipeline = self.detectors.empty()
            self._fit(pipeline, former.pipeline.class_name, [*references, *good], progress)
        else:
            pipeline = self.detectors.copy(name)
            good = [replace(each, kind="held-out") for each in good]
            others = [*others, *good]
        known_digests = _digests(pipeline)
        held_out = [each for each in others if each.kind == "held-out" and each.file[:64] not in known_digests]
        bad = [each for each in (*others, *defects) if each.kind == "defect" and each.file[:64] not in known_digests]
        if held_out or bad:
            self._extend(pipeline, held_out, bad, progress)
        version, compared = self._add(name, pipeline, "feedback", by)
        with self.store.writing() as connection:
            keep_normals(self.store, name, [*good, *defects], replace=False)
            connection.executemany(
                "UPDATE results SET applied = ? WHERE id = ?", [(version.number, row["id"]) for row in rows]
            )
        return {**_summary(version, compared), "good": len(good), "defects": len(defects)}

    # -- insides

    def _add(self, name: str, pipeline: Pipeline, reason: str, by: str) -> tuple[Version, dict[str, Any]]:
        def check(new: Version, former: Version | None) -> dict[str, Any]:
            return compare(self.store, self.archive, new, former, limit=self.settings.shadow_images)

        return self.detectors.add(name, pipeline, reason=reason, by=by, check=check)

    def _fit(
        self, pipeline: Pipeline, class_name: str | None, images: Sequence[NormalImage], progress: Progress
    ) -> None:
        paths = [each.path(self.archive) for each in images]
        groups = [each.group for each in images]
        try:
            pipeline.fit(
                paths,
                class_name or None,
                batch_size=self.settings.batch_size,
                calibrate=True,
                groups=groups if any(groups) else None,
                progress=progress,
                workers=self.settings.workers,
            )
        except ImageError as error:
            raise Refusal(422, self._named(str(error), images)) from error

    def _extend(
        self,
        pipeline: Pipeline,
        normals: Sequence[NormalImage],
        defects: Sequence[NormalImage],
        progress: Progress,
    ) -> None:
        fingerprint = pipeline.fingerprint()
        stored = pipeline.stored_calibration or StoredCalibration(start(fingerprint))
        stored.calibration.check_detector(fingerprint)
        remembered = {image.digest for image in stored.calibration.references}
        for each in normals:
            if each.file[:64] in remembered:
                raise ConfigError(f"'{each.name}' is remembered by the detector, so it cannot be held out.")
        measured = [self._measured(pipeline, images, progress) for images in (normals, defects)]
        pipeline.stored_calibration = add_held_out(stored, *measured)

    def _measured(self, pipeline: Pipeline, images: Sequence[NormalImage], progress: Progress) -> list[Measured]:
        paths = [each.path(self.archive) for each in images]
        groups = [each.group for each in images]
        found: list[Measured] = []
        batches = read(
            paths, pipeline.preprocess, batch_size=self.settings.batch_size, workers=self.settings.workers, digest=True
        )
        for pictures in batches:
            for picture in pictures:
                if picture.error:
                    raise Refusal(422, self._named(f"an image cannot be read: {picture.error}", images))
            for picture, prediction in zip(pictures, pipeline.predict_batch(pictures), strict=True):
                found.append(measure(described(picture, groups, len(found)), prediction))
            progress(len(found))
        return found

    def _named(self, text: str, images: Sequence[NormalImage]) -> str:
        """A message with the names of the client in place of paths of this machine."""
        for each in images:
            text = text.replace(str(each.path(self.archive)), each.name or "an image")
        return text


def _digests(pipeline: Pipeline) -> set[str]:
    calibration = pipeline.calibration
    if calibration is None:
        return set()
    return {image.digest for image in (*calibration.held_out, *calibration.references, *calibration.defects)}


def _summary(version: Version, compared: dict[str, Any]) -> dict[str, Any]:
    return {"detector": version.detector, **version.about(), "shadow": compared}
