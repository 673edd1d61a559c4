"""``vlmad batch``: very many images on Ray Data."""

from __future__ import annotations

import sys
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from vlmad_core.cli import options, terminal

__all__ = ["batch_command"]


class BatchMaps(StrEnum):
    """How maps are kept."""

    none = "none"
    png16 = "png16"


def batch_command(
    source: Annotated[
        str, typer.Argument(help="Folder, pattern, or a .parquet or .csv list of addresses; local, s3, gs, http.")
    ],
    detector: Annotated[Path, typer.Option("--detector", "-d", help="Folder that `vlmad fit` wrote, or nut.onnx.")],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", file_okay=False, help="Folder for Parquet; the same command goes on after a stop."),
    ],
    column: Annotated[str | None, typer.Option(help="Of a list: where the addresses are.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that hold the detector.")] = 1,
    cpus: Annotated[float, typer.Option(min=0.1, help="For each worker.")] = 1.0,
    gpus: Annotated[float, typer.Option(min=0, help="For each worker; 0.5 puts two on one GPU.")] = 0.0,
    batch_size: Annotated[int, typer.Option(min=1, help="Images that a worker is given at a time.")] = 32,
    maps: Annotated[BatchMaps, typer.Option(help="A column with each map as a PNG, or none.")] = BatchMaps.none,
    device: Annotated[str, typer.Option(help="Of the detector in the workers.")] = "auto",
    false_alarms: Annotated[
        float | None, typer.Option(min=0, max=1, help="Rate of good images that may be rejected.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="Of a Ray cluster; by default RAY_ADDRESS, else this machine.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON document on stdout, and nothing else there.")
    ] = False,
    quiet: options.Quiet = False,
    progress: options.ProgressFlag = None,
) -> None:
    """Judge very many images on one or several machines, into Parquet with a row an image.

    A broken file is a row with its error. Whatever stops the run, the same command goes on where it stopped, and each
    image has exactly one row.

    Exit codes: 0 all judged; 1 refused or stopped; 3 some images could not be judged.
    """
    from vlmad_ray.batch import BatchOptions, run_batch

    given = BatchOptions(
        workers=workers,
        cpus=cpus,
        gpus=gpus,
        batch_size=batch_size,
        maps=maps.value,
        device=device,
        false_alarms=false_alarms,
        address=address,
    )
    bars = sys.stderr.isatty() if progress is None else progress
    with terminal.stdout_to_stderr():
        summary = run_batch(
            source,
            detector,
            out,
            given,
            column=column,
            progress=bars and not quiet,
            tell=(lambda text: None) if quiet else terminal.note,
        )
    if as_json:
        terminal.print_json(asdict(summary))
    elif not quiet:
        counts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(summary.verdicts.items()))
        rate = summary.done_now / summary.seconds if summary.seconds else 0.0
        text = f"{out}: {terminal.counted(summary.images, 'image')}, {counts or 'none judged'}"
        text += f", {summary.failed} could not be judged" if summary.failed else ""
        sys.stdout.write(terminal.shown(f"{text}; {summary.done_now} now, {rate:.1f} a second") + "\n")
    if summary.failed:
        raise typer.Exit(3)
