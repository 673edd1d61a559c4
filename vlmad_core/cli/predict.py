"""``vlmad predict``: judge images, and write down where their defects are."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlmad_core.cli import options, terminal
from vlmad_core.cli.choice import Choice, takes_choice
from vlmad_core.cli.detector import Detector, build, note_missing_name
from vlmad_core.cli.report import Report, bar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vlmad_core.run.results import Result

_FILES = "Files"


def _check_scale(scale: tuple[float, float] | None) -> tuple[float, float] | None:
    if scale is not None and not scale[0] < scale[1]:
        raise typer.BadParameter("the lower value comes first.")
    return scale


class MapKind(StrEnum):
    """How maps are written."""

    png16 = "png16"
    npy = "npy"
    none = "none"


@takes_choice("detector", "class_name", "normals")
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
            help="Values without heat and with full heat; by default about what normal images show, else 0 1.",
            rich_help_panel=_FILES,
        ),
    ] = None,
    max_side: Annotated[
        int, typer.Option(min=1, help="Maps of larger images have this longer side.", rich_help_panel=_FILES)
    ] = 4096,
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
) -> None:
    """Judge images: a score each, and with --out maps and pictures of where.

    Without --recipe it is 'pocket', or 'pocket-few-shot' where --normal is given: nothing is downloaded. Where another
    backbone is named it is 'winclip', or 'patch-memory'.

    Exit codes: 0 all judged; 1 refused or failed; 2 wrong usage; 3 some images could not be judged; 130 interrupted.
    """
    report = Report(as_json=as_json, quiet=quiet)
    files = {"maps": maps.value, "overlays": overlays, "scale": scale, "max_side": max_side}
    wanted = False if quiet else progress
    started = time.perf_counter()
    found, made = _prepare(paths, choice, quiet, threads)
    _refuse_mixing(out, made, files, overwrite)
    note_missing_name(made.pipeline, (lambda text: None) if quiet else terminal.note)
    with bar("normal images", len(made.normals), wanted if made.normals else False) as normals:
        made.fit(batch_size=batch_size, progress=normals.reach)
    made.pipeline.check_ready()
    with bar("images", len(found), wanted) as images:

        def tell(result: Result) -> None:
            report.add(result)
            images.advance()

        rate = _judge(made, found, out, tell, batch_size=batch_size, files=files, overwrite=overwrite)
    report.show(f"in {out / 'results.csv'}." if out else "(--out keeps them all, --json lists them).")
    if not quiet:
        failed = f", {report.failed} could not be judged" if report.failed else ""
        where = f"; see {out}" if out else ""
        seconds = time.perf_counter() - started
        terminal.note(f"{report.judged} images judged{failed}, in {seconds:.1f} s ({rate:.1f} a second){where}")
    if report.failed:
        raise typer.Exit(3)


def _prepare(paths: Sequence[str], choice: Choice, quiet: bool, threads: int | None) -> tuple[Sequence[Path], Detector]:
    """Find the images, then build the detector: a slip in a path should not wait for weights."""
    from vlmad_core.contracts.images import find_images

    found = find_images(paths)
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    return found, build(choice, (lambda text: None) if quiet else terminal.note)


def _refuse_mixing(out: Path | None, made: Detector, files: dict[str, Any], overwrite: bool) -> None:
    """Before the normal images are looked at, see whether the results can go where they should."""
    if out is not None and not overwrite:
        from vlmad_core.run.settings import check_same, settings_of

        check_same(out, settings_of(made.pipeline, **files, **made.about))


def _judge(
    made: Detector,
    found: Sequence[Path],
    out: Path | None,
    tell: Callable[[Result], None],
    *,
    batch_size: int,
    files: dict[str, Any],
    overwrite: bool,
) -> float:
    """Judge, with or without files; gives images a second."""
    from vlmad_core.run import judge, run

    if out is not None:
        summary = run(
            made.pipeline,
            found,
            out,
            batch_size=batch_size,
            resume=not overwrite,
            about=made.about,
            progress=tell,
            **files,
        )
        return summary.images_per_second
    started = time.perf_counter()
    for batch in judge(made.pipeline, found, batch_size=batch_size):
        for result, _ in batch:
            tell(result)
    return len(found) / (time.perf_counter() - started)
