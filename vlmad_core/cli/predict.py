"""``vlmad predict``: judge images, and write down where their defects are."""

from __future__ import annotations

import time
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlmad_core.cli import opinions, options, terminal, verdicts
from vlmad_core.cli.choice import Choice, takes_choice
from vlmad_core.cli.detector import Detector, add_devices, build, note_batch, note_missing_name
from vlmad_core.cli.page import page_command
from vlmad_core.cli.report import Report, bar
from vlmad_core.cli.squeezed import note_squeezed
from vlmad_core.cli.torch_import import import_torch
from vlmad_core.cli.unquoted import QuotedCommand
from vlmad_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vlmad_core.contracts.find import Found
    from vlmad_core.pipeline.pipeline import Pipeline
    from vlmad_core.run.drift import DriftMonitor
    from vlmad_core.run.opinion import SecondOpinion
    from vlmad_core.run.predict import Summary
    from vlmad_core.run.results import Result
    from vlmad_core.run.verdicts import Decision

_FILES = "Files"


def _check_scale(scale: tuple[float, float] | None) -> tuple[float, float] | None:
    if scale is not None and not scale[0] < scale[1]:
        raise typer.BadParameter("the lower value comes first.")
    return scale


class PredictCommand(QuotedCommand):
    """Knows a pattern that the shell took apart."""

    one_value = (("--normal", "-n"),)


class MapKind(StrEnum):
    """How maps are written."""

    png16 = "png16"
    npy = "npy"
    none = "none"


@takes_choice("detector", "class_name", "normals", "bits", "precision")
def predict_command(
    paths: Annotated[list[str], typer.Argument(help="Images, folders, glob patterns.")],
    choice: Choice,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            file_okay=False,
            help="Folder for results.jsonl, results.csv, maps and overlays; the same command goes on after a stop.",
            rich_help_panel=_FILES,
        ),
    ] = None,
    maps: Annotated[
        MapKind, typer.Option(help="16-bit PNG on a fixed scale, float32, or none.", rich_help_panel=_FILES)
    ] = MapKind.png16,
    overlays: Annotated[bool, typer.Option(help="Pictures with heat on top.", rich_help_panel=_FILES)] = True,
    scale: Annotated[
        tuple[float, float] | None,
        typer.Option(
            metavar="LOW HIGH",
            callback=_check_scale,
            help="Values without heat and with full heat; by default from normal images, else from each image.",
            rich_help_panel=_FILES,
        ),
    ] = None,
    max_side: Annotated[
        int,
        typer.Option(min=1, max=12_000, help="Longer side of maps of larger images.", rich_help_panel=_FILES),
    ] = 4096,
    page: Annotated[
        bool,
        typer.Option(
            "--report",
            help="Also report.html: a page of all images, by the distribution vlmad-report.",
            rich_help_panel=_FILES,
        ),
    ] = False,
    sheet: Annotated[
        bool,
        typer.Option(
            "--sheet", help="Also sheet.jpg: the highest and the lowest scores in one picture.", rich_help_panel=_FILES
        ),
    ] = False,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain", help="Also why: reasons that add up to the score; with --out a picture of them for each image."
        ),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the results in --out.", rich_help_panel=_FILES)
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One line of JSON an image on stdout, as they come, and nothing else there.")
    ] = False,
    quiet: options.Quiet = False,
    progress: options.ProgressFlag = None,
    batch_size: options.BatchSize = 8,
    threads: options.Threads = None,
    workers: options.Workers = 2,
    compile_mode: options.Compile = None,
    false_alarms: verdicts.FalseAlarms = None,
    confidence: verdicts.Confidence = None,
    false_discoveries: verdicts.FalseDiscoveries = None,
    fail_on: verdicts.FailOn = None,
    drift: verdicts.Drift = None,
    judge: opinions.Judge = None,
    judge_set: opinions.JudgeSetting = None,
) -> None:
    """Judge images: a score each, a verdict where the detector is calibrated, and with --out maps and pictures.

    Without --recipe it is 'pocket', or 'pocket-few-shot' where --normal is given: nothing is downloaded. Where another
    backbone is named it is 'winclip', or 'patch-memory'. With --quiet and without --out, each
    image is a line: its score, a tab, its path.

    Exit codes: 0 all judged; 1 refused or failed; 2 wrong usage; 3 some images could not be judged; 4 --fail-on;
    130 interrupted.
    """
    if sheet and (out is None or not overlays):
        raise typer.BadParameter("--sheet puts overlays together, so it needs --out, and no --no-overlays.")
    if page and out is None:
        raise typer.BadParameter("--report is about the results in a folder, so it needs --out.")
    write_page = page_command() if page else None
    report = Report(as_json=as_json, quiet=quiet, lines=quiet and out is None)
    files = {"maps": maps.value, "overlays": overlays, "scale": scale, "max_side": max_side}
    wanted = False if quiet else progress
    started = time.perf_counter()
    second = opinions.make_opinion(judge, judge_set)
    searched, made = _prepare(paths, choice, quiet, threads)
    found = searched.images
    if searched.passed_over:
        terminal.note(searched.message)
    asked = any(rate is not None for rate in (false_alarms, confidence, false_discoveries)) or fail_on is not None
    decision = None
    if not (asked and made.normals):  # otherwise the rule is known after the fit, and compared by the run
        decision = _decision(made, false_alarms, confidence)
        more = {
            **({"explain": True} if explain else {}),
            **({} if second is None else {"opinion": dict(second.settings())}),
        }
        _refuse_mixing(out, made, {**files, **decision.settings(), **more}, overwrite)
    if second is not None:
        terminal.note(second.notice)
    note = (lambda text: None) if quiet else terminal.note
    note_missing_name(made.pipeline, note)
    note_batch(choice, len(found), note)
    with bar("normal images", len(made.normals), wanted if made.normals else False) as normals:
        made.fit(batch_size=batch_size, progress=normals.reach, workers=workers, calibrate=asked)
    made.pipeline.check_ready()
    replicas = add_devices(made.pipeline, choice.devices[1:], compile_mode, note)
    decision = decision or _decision(made, false_alarms, confidence)
    if asked and decision.rule is None:
        raise ConfigError(decision.reason)
    monitor = verdicts.drift_monitor(decision, drift)
    votes = opinions.OpinionTally()
    tally = verdicts.Tally(keeps_p_values=false_discoveries is not None)
    with bar("images", len(found), wanted) as images:

        def tell(result: Result) -> None:
            if result.squeezed and not report.squeezed and result.error is None:
                note_squeezed(made.pipeline, (result.height or 1, result.width or 1), result.squeezed, note)
            report.add(result)
            tally.add(result)
            votes.add(result)
            images.advance()

        summary = _judge(
            made,
            found,
            out,
            tell,
            decision,
            second,
            replicas,
            batch_size=batch_size,
            workers=workers,
            files=files,
            overwrite=overwrite,
            drift=monitor,
            explain=explain,
        )
    if sheet and out is not None:
        _draw_sheet(out, report.judged)
    if not (as_json or quiet):
        votes.show()
    report.show(f"in {out / 'results.csv'}." if out else "(--out keeps them all, --json lists them).")
    if 0 < report.tiled < report.judged:
        note(
            f"{report.tiled} of {report.judged} images were large enough for tiles. Their scores are those of "
            "tiles and of the whole image together, so do not compare them with the others: give images of one size, "
            "a number such as --tiles 6, which cuts all of them, or --tiles off."
        )
    if not quiet:
        terminal.note(_closing(summary, report, searched, made, time.perf_counter() - started, out))
        for text in (*verdicts.summarise(decision, tally, asked), *(votes.summarise() if second is not None else ())):
            terminal.note(text)
    if monitor is not None and monitor.message:
        terminal.note(monitor.message)
    if write_page is not None:
        write_page(out, quiet=quiet or as_json, progress=wanted)
    if false_discoveries is not None:
        verdicts.show_discoveries(decision, tally, false_discoveries, as_json=as_json)
    if report.failed:
        raise typer.Exit(3)
    if tally.fails(fail_on):
        raise typer.Exit(4)


def _closing(summary: Summary, report: Report, found: Found, made: Detector, seconds: float, out: Path | None) -> str:
    """What was done, in a sentence: every image that was asked for is counted once."""
    parts = [f"{terminal.counted(report.judged, 'image')} judged"]
    if report.tiled:
        parts.append(f"{report.tiled} of them also in tiles (--tiles off: not)")
    if report.squeezed:
        parts.append(f"{report.squeezed} of them much larger than the encoder's input (--tiles auto)")
    if summary.skipped:
        parts.append(f"{summary.skipped} results are of an earlier run")
    if summary.changed:
        parts.append(f"{summary.changed} judged again, because the file changed")
    if report.failed:
        parts.append(f"{report.failed} could not be judged")
    if normals := len(made.normals) or made.pipeline.normals.get("count", 0):
        parts.append(f"compared with {terminal.counted(normals, 'normal image')}")
    if report.pages_left_out:
        pages = "1 page or frame" if report.pages_left_out == 1 else f"{report.pages_left_out} pages or frames"
        parts.append(f"{pages} after the first not judged")
    if found.passed_over:
        parts.append(f"{len(found.passed_over)} passed over")
    rate = f" ({summary.images_per_second:.1f} a second)" if summary.done else ""
    where = f"; see {out}" if out else ""
    return f"{', '.join(parts)}, in {seconds:.1f} s{rate}{where}"


def _draw_sheet(out: Path, judged: int) -> None:
    from vlmad_core.run import contact_sheet
    from vlmad_core.run.sheet import SHEET

    if judged:
        contact_sheet(out, out / SHEET)
    else:
        terminal.note("no sheet: no image was judged.")


def _prepare(paths: Sequence[str], choice: Choice, quiet: bool, threads: int | None) -> tuple[Found, Detector]:
    """Find the images, then build the detector: a slip in a path should not wait for weights."""
    from vlmad_core.contracts.find import search

    found = search(paths)
    if threads is not None:
        import_torch(threads)
    first, *others = choice.devices
    if others:
        from vlmad_core.contracts.device import find_device

        for name in others:
            find_device(name)
    return found, build(replace(choice, device=first), (lambda text: None) if quiet else terminal.note)


def _refuse_mixing(out: Path | None, made: Detector, files: dict[str, Any], overwrite: bool) -> None:
    """Before the normal images are looked at, see whether the results can go where they should."""
    if out is not None and not overwrite:
        from vlmad_core.run.settings import check_same, settings_of

        check_same(out, settings_of(made.pipeline, **files, **made.about))


def _decision(made: Detector, false_alarms: float | None, confidence: float | None) -> Decision:
    from vlmad_core.run.verdicts import make_decision

    return make_decision(made.pipeline, false_alarms, confidence=confidence)


def _judge(
    made: Detector,
    found: Sequence[Path],
    out: Path | None,
    tell: Callable[[Result], None],
    decision: Decision,
    second: SecondOpinion | None,
    replicas: Sequence[Pipeline],
    *,
    batch_size: int,
    workers: int,
    files: dict[str, Any],
    overwrite: bool,
    drift: DriftMonitor | None,
    explain: bool,
) -> Summary:
    """Judge, with or without files."""
    from vlmad_core.run import Summary, judge, run
    from vlmad_core.run.opinion import add_opinions
    from vlmad_core.run.verdicts import decide_all

    reference = Path(made.normals[0]) if made.normals else None
    if out is not None:
        return run(
            made.pipeline,
            found,
            out,
            batch_size=batch_size,
            workers=workers,
            resume=not overwrite,
            about=made.about,
            decision=decision,
            drift=drift,
            explain=explain,
            second=second,
            reference=reference,
            replicas=replicas,
            progress=tell,
            **files,
        )
    started, failed = time.perf_counter(), 0
    batches = judge(made.pipeline, found, batch_size=batch_size, workers=workers, explain=explain, replicas=replicas)
    decided = decide_all(batches, decision)
    name, bits = made.pipeline.class_name, made.pipeline.bits
    for batch in add_opinions(decided, second, class_name=name, reference=reference, bits=bits):
        for result, _ in batch:
            tell(result)
            failed += result.error is not None
            if drift is not None:
                drift.add(result)
    if drift is not None:
        drift.save()
    return Summary(len(found), failed, 0, time.perf_counter() - started, failed_now=failed)
