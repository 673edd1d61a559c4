"""Add what a person decided to a detector: good images join it, wrong normals leave it, defects are counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vlmad_core.contracts.images import WORKERS
from vlmad_core.errors import ConfigError
from vlmad_core.inspection.calibration import Calibration
from vlmad_core.inspection.feedback import Feedback, read_feedback
from vlmad_core.inspection.rule import DecisionRule
from vlmad_core.pipeline.calibrate import Groups, Measured, add_held_out, start
from vlmad_core.pipeline.decisions import StoredCalibration
from vlmad_core.pipeline.feedback_plan import FeedbackPlan, make_plan
from vlmad_core.pipeline.known_images import locate
from vlmad_core.pipeline.pipeline import Pipeline

__all__ = ["FeedbackReport", "KnownErrors", "apply_feedback"]


@dataclass(frozen=True)
class KnownErrors:
    """Wrong decisions among the images whose label is known.

    Attributes:
        n_false_alarms: Good images above the threshold, each scored without itself; None where there is no threshold.
        n_good: Good images.
        n_missed: Defects at or below the threshold, or None.
        n_defects: Defects.
        threshold: Above it is ``reject``.
        about: What is promised at the threshold, or why there is none.
    """

    n_false_alarms: int | None
    n_good: int
    n_missed: int | None
    n_defects: int
    threshold: float | None
    about: str


@dataclass(frozen=True)
class FeedbackReport:
    """What feedback changed.

    Attributes:
        before: Errors of the detector as it was.
        after: Errors on the same images now.
        joined: Good images that joined.
        forgotten: Normal images that turned out to be none.
        defects: Images that joined the known defects.
        n_unchanged: Images without a label, and labels that change nothing.
        is_refitted: Whether the memory changed.
        notes: Sentences that a person should read.
    """

    before: KnownErrors
    after: KnownErrors
    joined: tuple[str, ...]
    forgotten: tuple[str, ...]
    defects: tuple[str, ...]
    n_unchanged: int
    is_refitted: bool
    notes: tuple[str, ...]


def apply_feedback(
    pipeline: Pipeline,
    feedback: str | Path | Feedback,
    *,
    images: str | Path | None = None,
    group: Callable[[Path], str] | None = None,
    false_alarms: float | None = None,
    confidence: float | None = None,
    batch_size: int = 8,
    progress: Callable[[int], None] | None = None,
    workers: int = WORKERS,
) -> FeedbackReport:
    """Change a detector by what a person decided; save it to keep the change.

    Where the detector remembers normal images and the calibration lists them, confirmed good images are remembered too,
    wrong normals are forgotten, and everything is scored again; the files of all listed images must be there.
    Otherwise good images join the held-out normals, and the detector itself stays as it is.

    Args:
        pipeline: Changed as a whole or, where an error is raised, not at all.
        feedback: As the page of ``vlmad report`` exports it.
        images: A folder to which images have moved since.
        group: From the path of a good image that joins to its group; see `Pipeline.calibrate`.
        false_alarms: Rate for the comparison before and after; by default that of `Pipeline.decision_rule`.
        confidence: Likewise.
        batch_size: Images through the backbone at a time.
        progress: Called with the number of images scored.
        workers: Threads that decode.

    Raises:
        ConfigError: The document is not feedback, the calibration is another detector's, or no normals would be left.
        ImageError: A file is missing, was replaced, or cannot be read; the text names it.
    """
    feedback = feedback if isinstance(feedback, Feedback) else read_feedback(feedback)
    pipeline.check_ready()
    stored = _calibration_of(pipeline)
    plan = make_plan(stored.calibration, feedback)
    good = locate([(image.path, image.sha256) for image in plan.good], images)
    defects = locate([(image.path, image.sha256) for image in plan.defects], images)
    names = ["" if group is None else group(path) for path in good]
    old = locate([(image.name, image.digest) for image in plan.kept], images) if plan.is_refitted else []
    scored = _Scoring(pipeline, batch_size, progress, workers)
    new, bad = scored(good, names), scored(defects)
    first = {each.image.digest: each.image.score for each in (*new, *bad)} | _scores(stored.calibration)
    before = _rule(pipeline, false_alarms, confidence)
    kept = (pipeline.scorers, pipeline.normal_range, pipeline.normals, pipeline.stored_calibration)
    normal_images = pipeline.normal_images
    try:
        if plan.is_refitted:
            made = _refit(pipeline, plan, old, good, names, defects, scored)
        else:
            made = add_held_out(_without_forgotten(stored, plan), new, bad)
        pipeline.stored_calibration = _marked(made, plan)
        after = _rule(pipeline, false_alarms, confidence)
    except BaseException:
        pipeline.scorers, pipeline.normal_range, pipeline.normals, pipeline.stored_calibration = kept
        pipeline.normal_images = normal_images
        raise
    calibration = pipeline.stored_calibration.calibration
    return FeedbackReport(
        before=_errors(before, calibration, first),
        after=_errors(after, calibration, _scores(calibration)),
        joined=tuple(image.path for image in plan.good),
        forgotten=tuple(image.name for image in plan.forgotten),
        defects=tuple(image.path for image in plan.defects),
        n_unchanged=plan.n_unchanged + feedback.n_without_label,
        is_refitted=plan.is_refitted,
        notes=tuple(_notes(pipeline, calibration, plan)),
    )


class _Scoring:
    """Scores files in several turns and counts them in one progress."""

    def __init__(
        self, pipeline: Pipeline, batch_size: int, progress: Callable[[int], None] | None, workers: int
    ) -> None:
        self.pipeline, self.batch_size, self.progress, self.workers, self.done = (
            pipeline,
            batch_size,
            progress,
            workers,
            0,
        )

    def __call__(self, files: Sequence[Path], groups: Groups = None) -> list[Measured]:
        if not files:
            return []
        found = self.pipeline.measured(files, groups, self.batch_size, self.progress, self.done, self.workers)
        self.done += len(files)
        return found

    def fit(self, files: Sequence[Path], groups: Sequence[str]) -> None:
        done, progress = self.done, self.progress
        tell = None if progress is None else lambda number: progress(done + number)
        self.pipeline.fit(
            files, calibrate=True, groups=groups, batch_size=self.batch_size, progress=tell, workers=self.workers
        )
        self.done += len(files)


def _calibration_of(pipeline: Pipeline) -> StoredCalibration:
    stored = pipeline.stored_calibration
    if stored is None:
        if pipeline.memory_scorers:
            raise ConfigError(
                "the detector has no calibration, so nothing says which images it remembers. Fit it again with "
                "`vlmad fit`, which calibrates with two normal images or more."
            )
        return StoredCalibration(start(pipeline.fingerprint()))
    stored.calibration.check_detector(pipeline.fingerprint())
    return stored


def _refit(
    pipeline: Pipeline,
    plan: FeedbackPlan,
    old: Sequence[Path],
    good: Sequence[Path],
    names: Sequence[str],
    defects: Sequence[Path],
    scored: _Scoring,
) -> StoredCalibration:
    """Fit the memory on the references that stay and the new good images, and score all others by it.

    Args:
        pipeline: It changes.
        plan: What stays.
        old: Files of ``plan.kept``.
        good: Files that join.
        names: Their groups.
        defects: Files of new defects.
        scored: Scores files.
    """
    n, m = len(plan.references), len(plan.held_out)
    scored.fit([*old[:n], *good], [*(image.group for image in plan.references), *names])
    held_out = scored(old[n : n + m], [image.group for image in plan.held_out])
    bad = scored([*old[n + m :], *defects])
    return add_held_out(pipeline.stored_calibration or StoredCalibration(start(pipeline.fingerprint())), held_out, bad)


def _without_forgotten(stored: StoredCalibration, plan: FeedbackPlan) -> StoredCalibration:
    """The calibration of a detector that stays, without the held-out images and defects that are none."""
    before, gone = stored.calibration.held_out, {image.digest for image in plan.forgotten}
    tokens = dict(stored.tokens)
    if "held_out" in tokens:
        tokens["held_out"] = tokens["held_out"][[image.digest not in gone for image in before]]
    return StoredCalibration(replace(stored.calibration, held_out=plan.held_out, defects=plan.known_defects), tokens)


def _marked(stored: StoredCalibration, plan: FeedbackPlan) -> StoredCalibration:
    chosen = {image.sha256 for image in plan.good} | {image.digest for image in plan.kept if image.is_chosen}
    calibration = stored.calibration
    held_out, references = (
        tuple(replace(image, is_chosen=image.digest in chosen) for image in side)
        for side in (calibration.held_out, calibration.references)
    )
    return replace(stored, calibration=replace(calibration, held_out=held_out, references=references))


def _rule(pipeline: Pipeline, false_alarms: float | None, confidence: float | None) -> DecisionRule | str:
    try:
        return pipeline.decision_rule(false_alarms, confidence=confidence)
    except ConfigError as error:  # too few normals, on either side, are a fact to report and no reason to stop
        return str(error)


def _scores(calibration: Calibration) -> dict[str, float]:
    images = (*calibration.references, *calibration.held_out, *calibration.defects)
    return {image.digest: image.score for image in images}


def _errors(rule: DecisionRule | str, known: Calibration, scores: Mapping[str, float]) -> KnownErrors:
    good, bad = (*known.references, *known.held_out), known.defects
    if isinstance(rule, str):
        return KnownErrors(None, len(good), None, len(bad), None, rule)
    alarms = sum(scores[image.digest] > rule.threshold for image in good)
    missed = sum(scores[image.digest] <= rule.threshold for image in bad)
    return KnownErrors(alarms, len(good), missed, len(bad), rule.threshold, rule.promise)


def _notes(pipeline: Pipeline, calibration: Calibration, plan: FeedbackPlan) -> Iterator[str]:
    if plan.good and pipeline.memory_scorers and not plan.is_refitted:
        yield (
            "the calibration does not list what the detector remembers, so the good images joined the calibration "
            "alone; `vlmad fit` makes a detector with such a list."
        )
    n_chosen = sum(image.is_chosen for image in (*calibration.held_out, *calibration.references))
    if plan.good and n_chosen:
        yield (
            f"{n_chosen} normal images joined by feedback. They were chosen after their verdicts were known, so no "
            "false-alarm rate is proved where they set the threshold. `vlmad calibrate --renew` with images that were "
            "not chosen gives one again."
        )
    if plan.is_refitted and not calibration.references:
        yield "one remembered image is left, so it cannot be scored without itself: add normal images."
