"""What makes another version of a detector: enrolment, more normal images, and what people said of results.

The detector in use is never touched. A copy is changed, saved, warmed and compared, and then takes over in one step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from vlmad_core.errors import ConfigError, ImageError, VlmadError
from vlmad_core.inspection.calibration import ImageScore
from vlmad_core.inspection.feedback import Feedback, FeedbackImage
from vlmad_core.pipeline.calibrate import Measured, add_held_out, start
from vlmad_core.pipeline.decisions import StoredCalibration
from vlmad_core.pipeline.feedback import apply_feedback
from vlmad_core.pipeline.pipeline import Pipeline
from vlmad_serve.archive import Archive
from vlmad_serve.detectors import Detectors, Version
from vlmad_serve.normals import Kind, NormalImage, keep_normals, list_normals
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
        """Let what people said join memory and calibration; see `vlmad_core.pipeline.feedback.apply_feedback`.

        Args:
            name: Of the product.
            by: Who asked for it.
            progress: Called with the number of images done.

        Raises:
            Refusal: 409; nobody said anything new.
            ImageError: The detector was loaded, and the normal images that it remembers are not here any more.
        """
        rows = self.store.rows(
            "SELECT id, file, name, label, verdict FROM results WHERE detector = ? AND label IS NOT NULL "
            "AND applied IS NULL AND has_files = 1 ORDER BY id",
            [name],
        )
        if not rows:
            raise Refusal(409, f"there is no new feedback for '{name}'.")
        pipeline = self.detectors.copy(name)
        self._find_images(name, pipeline)
        latest = {row["file"]: row for row in rows}
        labels = Feedback(
            tuple(
                FeedbackImage(str(self.archive.image_path(file)), file[:64], row["label"], row["verdict"])
                for file, row in latest.items()
            )
        )
        named = [NormalImage(file, row["name"], "", "reference") for file, row in latest.items()]
        try:
            report = apply_feedback(
                pipeline,
                labels,
                batch_size=self.settings.batch_size,
                progress=progress,
                workers=self.settings.workers,
            )
        except VlmadError as error:
            raise Refusal(422, self._named(str(error), [*named, *list_normals(self.store, name)])) from error
        version, compared = self._add(name, pipeline, "feedback", by)
        kind: Kind = "reference" if report.is_refitted else "held-out"
        kinds: dict[str, Kind] = {"good": kind, "defect": "defect"}
        known = [
            replace(each, kind=kinds[row["label"]]) for each in named if (row := latest[each.file])["label"] in kinds
        ]
        with self.store.writing() as connection:
            keep_normals(self.store, name, known, replace=False)
            connection.executemany(
                "UPDATE results SET applied = ? WHERE id = ?", [(version.number, row["id"]) for row in rows]
            )
        counts = {"good": len(report.joined), "defects": len(report.defects), "forgotten": len(report.forgotten)}
        errors = {"before": asdict(report.before), "after": asdict(report.after)}
        return {**_summary(version, compared), **counts, "errors": errors, "notes": list(report.notes)}

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
        if not images:
            return []
        paths = [each.path(self.archive) for each in images]
        groups = [each.group for each in images]
        try:
            return pipeline.measured(paths, groups, self.settings.batch_size, progress, 0, self.settings.workers)
        except ImageError as error:
            raise Refusal(422, self._named(str(error), images)) from error

    def _find_images(self, name: str, pipeline: Pipeline) -> None:
        """Have the calibration name the files as they lie now; the data folder may have been moved."""
        stored = pipeline.stored_calibration
        if stored is None:
            return
        paths = {each.file[:64]: str(each.path(self.archive)) for each in list_normals(self.store, name)}

        def found(images: tuple[ImageScore, ...]) -> tuple[ImageScore, ...]:
            return tuple(replace(image, name=paths.get(image.digest, image.name)) for image in images)

        old = stored.calibration
        moved = replace(old, held_out=found(old.held_out), references=found(old.references), defects=found(old.defects))
        pipeline.stored_calibration = replace(stored, calibration=moved)

    def _named(self, text: str, images: Sequence[NormalImage]) -> str:
        """A message with the names of the client in place of paths of this machine."""
        for each in images:
            text = text.replace(str(each.path(self.archive)), each.name or "an image")
        return text


def _summary(version: Version, compared: dict[str, Any]) -> dict[str, Any]:
    return {"detector": version.detector, **version.about(), "shadow": compared}
