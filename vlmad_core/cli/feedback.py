"""``vlmad feedback``: what a person decided on the page of a report becomes part of a detector."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vlmad_core.cli import options, terminal, verdicts
from vlmad_core.cli.calibrate import Group, grouped
from vlmad_core.cli.choice import Choice
from vlmad_core.cli.detector import build
from vlmad_core.cli.report import bar

if TYPE_CHECKING:
    from vlmad_core.pipeline.feedback import FeedbackReport, KnownErrors

__all__ = ["feedback_command"]


def feedback_command(
    detector: Annotated[Path, typer.Argument(help="Folder that `vlmad fit` or `vlmad calibrate` wrote.")],
    feedback: Annotated[
        Path | None, typer.Argument(help="JSON that the page of `vlmad report` exported.", show_default=False)
    ] = None,
    undo: Annotated[
        bool, typer.Option("--undo", help="Exchange the detector with its former version, once more to redo.")
    ] = False,
    images: Annotated[
        Path | None, typer.Option(help="Folder to which the images have moved since.", file_okay=False)
    ] = None,
    group: Group = None,
    device: Annotated[
        str, typer.Option(help="Such as cpu, cuda:1 or mps; auto: the first of cuda, mps, cpu.")
    ] = "auto",
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON document on stdout, and nothing else there.")
    ] = False,
    quiet: options.Quiet = False,
    progress: options.ProgressFlag = None,
    batch_size: options.BatchSize = 8,
    workers: options.Workers = 2,
    false_alarms: verdicts.FalseAlarms = None,
    confidence: verdicts.Confidence = None,
) -> None:
    """Add a person's labels to a detector: good images join memory and calibration, wrong normals are forgotten.

    Defects join the list that tells what is missed; they set no threshold. The former version stays beside the detector
    in NAME.former, and --undo brings it back. A file whose content has changed since it was labelled is refused.
    """
    from vlmad_core.pipeline.former import keep_former, restore_former

    if undo:
        if feedback is not None:
            raise typer.BadParameter("--undo takes the detector alone.")
        newer = restore_former(detector)
        if not quiet:
            terminal.note(f"{detector}: the former version is in force again; the newer one is in {newer}.")
        return
    if feedback is None:
        raise typer.BadParameter("give the file that the page exported: vlmad feedback nut.vlmad feedback.json")
    from vlmad_core.inspection.feedback import read_feedback
    from vlmad_core.pipeline.feedback import apply_feedback

    labels = read_feedback(feedback)  # before weights are loaded
    pipeline = build(Choice(detector=detector, device=device), lambda text: None).pipeline
    with bar("images", 0, False if quiet else progress) as shown:
        report = apply_feedback(
            pipeline,
            labels,
            images=images,
            group=grouped(group),
            false_alarms=false_alarms,
            confidence=confidence,
            batch_size=batch_size,
            progress=shown.reach,
            workers=workers,
        )
    former: Path | None = None
    if report.joined or report.forgotten or report.defects or report.is_refitted:
        former = keep_former(detector)
        pipeline.save(detector)
    if as_json:
        terminal.print_json({**asdict(report), "former": None if former is None else str(former)})
    elif not quiet:
        sys.stdout.write("".join(f"{terminal.shown(line)}\n" for line in _lines(report)))
        for text in report.notes:
            terminal.note(text)
        terminal.note(
            "nothing to change." if former is None else f"saved in {detector}; the former version is in {former}."
        )


def _lines(report: FeedbackReport) -> list[str]:
    lines = [
        f"joined     {terminal.counted(len(report.joined), 'good image')}"
        f"{', remembered from now on' if report.is_refitted and report.joined else ''}",
        f"forgotten  {terminal.counted(len(report.forgotten), 'wrong normal')}{_names(report.forgotten)}",
        f"defects    {terminal.counted(len(report.defects), 'image')} joined the known ones",
        f"unchanged  {terminal.counted(report.n_unchanged, 'image')}",
    ]
    return [*lines, f"before     {_errors(report.before)}", f"after      {_errors(report.after)}"]


def _names(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f": {', '.join(names[:3])}{more}" if names else ""


def _errors(errors: KnownErrors) -> str:
    if errors.threshold is None:
        return f"uncalibrated: {errors.about}"
    return (
        f"{errors.n_false_alarms} false alarms among {terminal.counted(errors.n_good, 'good image')}, "
        f"{errors.n_missed} missed of {terminal.counted(errors.n_defects, 'defect')}; reject above "
        f"{errors.threshold:.6g}. {errors.about}"
    )
