"""Which images change sides when a person's labels are added to a calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vlmad_core.errors import ConfigError
from vlmad_core.inspection.calibration import Calibration, ImageScore
from vlmad_core.inspection.feedback import Feedback, FeedbackImage

__all__ = ["FeedbackPlan", "make_plan"]


@dataclass(frozen=True)
class FeedbackPlan:
    """The change.

    Attributes:
        good: Good images that are not among the normals yet.
        defects: Defects that are not among the known ones yet.
        forgotten: Normals of the calibration that are none.
        references: Those that stay.
        held_out: Those that stay.
        known_defects: Those that stay.
        n_unchanged: Labels that change nothing.
        is_refitted: The memory must be fitted again.
    """

    good: tuple[FeedbackImage, ...]
    defects: tuple[FeedbackImage, ...]
    forgotten: tuple[ImageScore, ...]
    references: tuple[ImageScore, ...]
    held_out: tuple[ImageScore, ...]
    known_defects: tuple[ImageScore, ...]
    n_unchanged: int
    is_refitted: bool

    @property
    def kept(self) -> tuple[ImageScore, ...]:
        """All images of the calibration that stay: references, held-out normals, defects."""
        return (*self.references, *self.held_out, *self.known_defects)


def make_plan(calibration: Calibration, feedback: Feedback) -> FeedbackPlan:
    """Compare what is known with what a person says; content decides, not names.

    Raises:
        ConfigError: No remembered image would be left.
    """
    labels = {image.sha256: image.label for image in feedback.images}
    normals = {image.digest: image for image in (*calibration.references, *calibration.held_out)}
    known_bad = {image.digest for image in calibration.defects}
    good = tuple(image for image in feedback.images if image.label == "good" and image.sha256 not in normals)
    bad = tuple(image for image in feedback.images if image.label == "defect" and image.sha256 not in known_bad)
    forgotten = tuple(image for digest, image in normals.items() if labels.get(digest, "good") != "good")

    def stay(images: Sequence[ImageScore], label: str) -> tuple[ImageScore, ...]:
        return tuple(image for image in images if labels.get(image.digest, label) == label)

    references, defects = stay(calibration.references, "good"), stay(calibration.defects, "defect")
    if calibration.references and not (references or good):
        raise ConfigError(
            f"the feedback would forget all {len(calibration.references)} normal images that the detector remembers. "
            "Nothing has changed. Fit it again with images of good parts."
        )
    changed = {image.sha256 for image in (*good, *bad)} | {image.digest for image in forgotten}
    changed |= known_bad - {image.digest for image in defects}
    return FeedbackPlan(
        good=good,
        defects=bad,
        forgotten=forgotten,
        references=references,
        held_out=stay(calibration.held_out, "good"),
        known_defects=defects,
        n_unchanged=sum(image.sha256 not in changed for image in feedback.images),
        is_refitted=bool(calibration.references) and (bool(good) or references != calibration.references),
    )
