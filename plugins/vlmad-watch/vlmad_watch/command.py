"""``vlmad watch``: a hot folder, a video, a camera or a stream."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlmad_core.cli import options, terminal, verdicts
from vlmad_core.cli.choice import Choice
from vlmad_core.cli.detector import build
from vlmad_core.errors import ConfigError

if TYPE_CHECKING:
    from vlmad_core.run.verdicts import Decision

__all__ = ["watch_command"]

_FOLDER, _VIDEO = "Folder", "Video, camera, stream"


def watch_command(
    source: Annotated[str, typer.Argument(help="Folder, video file, camera number, or address such as rtsp://.")],
    detector: Annotated[Path, typer.Option("--detector", "-d", help="Folder that `vlmad fit` wrote.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", file_okay=False, help="Journal or events; SOURCE/.vlmad-watch for a folder."),
    ] = None,
    move: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Move each file to MOVE/VERDICT/.", rich_help_panel=_FOLDER),
    ] = None,
    mark: Annotated[
        bool, typer.Option("--mark", help="Write NAME.vlmad.json beside each file.", rich_help_panel=_FOLDER)
    ] = False,
    settle: Annotated[
        float, typer.Option(min=0, help="Seconds without a change: a file is whole.", rich_help_panel=_FOLDER)
    ] = 1.0,
    give_up: Annotated[
        float, typer.Option(min=0, help="Seconds: a file that stays unreadable is an error.", rich_help_panel=_FOLDER)
    ] = 30.0,
    idle: Annotated[
        float | None, typer.Option(min=0, help="Stop after so many seconds without a file.", rich_help_panel=_FOLDER)
    ] = None,
    line: Annotated[
        tuple[float, float, float] | None,
        typer.Option(
            metavar="LENGTH PITCH FIRST",
            help="Parts move through the view: length, distance from part to part, where the first begins, in pixels.",
            rich_help_panel=_VIDEO,
        ),
    ] = None,
    direction: Annotated[
        str, typer.Option(help="Of the line: left, right, up or down.", rich_help_panel=_VIDEO)
    ] = "left",
    weight: Annotated[
        float, typer.Option(help="Of the newest frame in the mean, up to 1.", rich_help_panel=_VIDEO)
    ] = 0.3,
    k_of_n: Annotated[
        tuple[int, int] | None,
        typer.Option(metavar="K N", help="Also: a region in K of the last N frames.", rich_help_panel=_VIDEO),
    ] = None,
    every: Annotated[int, typer.Option(min=1, help="Of a file, every n-th frame.", rich_help_panel=_VIDEO)] = 1,
    unchanged: Annotated[
        float,
        typer.Option(min=0, help="Skip a frame that differs by no more grey values; 0: none.", rich_help_panel=_VIDEO),
    ] = 0.0,
    video: Annotated[
        bool | None,
        typer.Option(
            "--video/--no-video", help="Write annotated.mp4; by default of files alone.", rich_help_panel=_VIDEO
        ),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(min=0, help="Stop a live source after that time.", rich_help_panel=_VIDEO)
    ] = None,
    device: Annotated[str, typer.Option(help="Such as cpu, cuda:1 or mps; auto: the first that is there.")] = "auto",
    quiet: options.Quiet = False,
    batch_size: options.BatchSize = 8,
    workers: options.Workers = 2,
    false_alarms: verdicts.FalseAlarms = None,
    confidence: verdicts.Confidence = None,
) -> None:
    """Score images as they arrive, each once: verdicts of files, or one verdict for each part of a video.

    A folder is watched until Ctrl-C or a termination; after any stop, kill -9 too, the same command goes on without
    repeating or losing a file. A camera or stream is scored at the pace of the machine: the oldest frames are dropped
    and counted.
    """
    from vlmad_core.run.verdicts import make_decision

    is_folder = Path(source).is_dir()
    if not is_folder and out is None:
        raise typer.BadParameter("a video, camera or stream needs --out FOLDER for its events.")
    if move is not None and mark:
        raise typer.BadParameter("--move and --mark exclude each other.")
    tell = (lambda text: None) if quiet else terminal.note
    pipeline = build(Choice(detector=detector, device=device), tell).pipeline
    pipeline.check_ready()
    decision = make_decision(pipeline, false_alarms, confidence=confidence)
    if decision.rule is None:
        tell(f"uncalibrated: {decision.reason}")
    if is_folder:
        counts = _folder(decision, Path(source), out, move, mark, settle, give_up, idle, batch_size, workers, quiet)
        tell(f"{', '.join(f'{number} {verdict}' for verdict, number in counts.items()) or 'nothing arrived'}.")
        return
    assert out is not None
    line_of = None if line is None else (line, direction)
    summary = _video(decision, source, out, line_of, weight, k_of_n, every, unchanged, video, seconds, quiet)
    tell(summary)


def _folder(
    decision: Decision,
    folder: Path,
    out: Path | None,
    move: Path | None,
    mark: bool,
    settle: float,
    give_up: float,
    idle: float | None,
    batch_size: int,
    workers: int,
    quiet: bool,
) -> dict[str, int]:
    from vlmad_core.contracts.find import SUFFIXES
    from vlmad_core.run.drift import DriftMonitor
    from vlmad_watch import actions
    from vlmad_watch.detector import about, folder_scorer
    from vlmad_watch.hot_folder import FolderOptions, watch_folder
    from vlmad_watch.journal import FileRow

    state = out or folder / ".vlmad-watch"
    drift = None if decision.rule is None else DriftMonitor(decision.pipeline, state / "drift.json")
    tell = (lambda text: None) if quiet else terminal.note

    def show(row: FileRow) -> None:
        score = "" if row.scored.score is None else f"{row.scored.score:.4f}"
        sys.stdout.write(f"{row.scored.verdict}\t{score}\t{terminal.shown(str(row.path))}\n")
        sys.stdout.flush()

    with _stopping() as stop:
        return watch_folder(
            folder,
            state,
            folder_scorer(decision, drift, tell, batch_size=batch_size, workers=workers),
            suffixes=frozenset(SUFFIXES),
            action=actions.Move(move) if move is not None else actions.mark if mark else actions.keep,
            left_out=[] if move is None else [move],
            options=FolderOptions(settle, max(settle, give_up), batch_size=batch_size, idle=idle),
            about=about(decision),
            tell=None if quiet else show,
            is_stopped=lambda: bool(stop),
        )


def _video(
    decision: Decision,
    source: str,
    out: Path,
    line: tuple[tuple[float, float, float], str] | None,
    weight: float,
    k_of_n: tuple[int, int] | None,
    every: int,
    unchanged: float,
    video: bool | None,
    seconds: float | None,
    quiet: bool,
) -> str:
    from vlmad_watch.detector import frame_scorer, temporal_filter
    from vlmad_watch.frames import is_live, without_password
    from vlmad_watch.inspector import Inspector
    from vlmad_watch.stream import watch_stream

    if line is not None and line[1] not in ("left", "right", "up", "down"):
        raise typer.BadParameter(f"--direction is left, right, up or down, not '{line[1]}'.")
    if not is_live(source) and not Path(source).is_file():
        raise ConfigError(f"{without_password(source)}: no such folder or file, and no camera number or address.")
    k, n = (None, None) if k_of_n is None else k_of_n
    inspector = Inspector(
        frame_scorer(decision), temporal_filter(decision, weight=weight, k=k, n=n), tolerance=unchanged
    )
    tell = (lambda text: None) if quiet else terminal.note

    def show(event: dict[str, Any]) -> None:
        if event["event"] == "part":
            sys.stdout.write(f"{event['verdict']}\tpart {event['part']}\t{event['best_score']:.4f}\n")
        else:
            sys.stdout.write(f"{event['event']}\t{event['seconds']:.2f} s\t{event['score']:.4f}\n")
        sys.stdout.flush()

    with _stopping() as stop:
        return watch_stream(
            source,
            out,
            inspector,
            line=line,
            every=every,
            video=not is_live(source) if video is None else video,
            seconds=seconds,
            tell=tell,
            show=None if quiet else show,
            is_stopped=lambda: bool(stop),
        )


@contextmanager
def _stopping() -> Iterator[list[int]]:
    """The signals that ask for an end: work in hand is finished first."""
    asked: list[int] = []
    before = {
        number: signal.signal(number, lambda got, _: asked.append(got)) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
