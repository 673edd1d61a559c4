"""``vlmad fit``: show a detector normal images, and keep it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from vlmad_core.cli import options, terminal
from vlmad_core.cli.calibrate import Group, calibration_lines, grouped
from vlmad_core.cli.choice import Choice, takes_choice
from vlmad_core.cli.detector import build, note_missing_name
from vlmad_core.cli.report import bar
from vlmad_core.cli.squeezed import note_squeezed_images
from vlmad_core.cli.torch_import import import_torch


@takes_choice("detector", "class_name", "bits", "precision")
def fit_command(
    normals: Annotated[list[str], typer.Argument(help="Normal images: files, folders, glob patterns.")],
    out: Annotated[Path, typer.Option("--out", "-o", file_okay=False, help="Folder of the detector; made if needed.")],
    choice: Choice,
    quiet: options.Quiet = False,
    progress: options.ProgressFlag = None,
    batch_size: options.BatchSize = 8,
    threads: options.Threads = None,
    workers: options.Workers = 2,
    calibrate: Annotated[
        bool, typer.Option("--calibrate/--no-calibrate", help="Score each image without itself, for thresholds.")
    ] = True,
    group: Group = None,
) -> None:
    """Fit a detector on normal images, calibrate it with them and save it; `vlmad predict --detector OUT` uses it.

    Without --recipe it is 'pocket-few-shot'; where another backbone is named, 'patch-memory'. With --detector, a saved
    one, such as one from `vlmad train`, is fitted on these images in place of its own.
    """
    if threads is not None:
        import_torch(threads)
    choice = replace(choice, normals=normals)
    tell = (lambda text: None) if quiet else terminal.note
    made = build(choice, tell, refit=True)
    note_missing_name(made.pipeline, tell)
    note_squeezed_images(made.pipeline, made.normals, tell)
    groups = grouped(group)
    with bar("normal images", len(made.normals), False if quiet else progress) as normal:
        made.fit(batch_size=batch_size, progress=normal.reach, workers=workers, calibrate=calibrate, groups=groups)
    folder = made.pipeline.save(out)
    if not quiet:
        size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
        sys.stdout.write(f"{made.pipeline.summary()}\n")
        for line in calibration_lines(made.pipeline) if calibrate else ():
            sys.stdout.write(f"{line}\n")
        sys.stdout.write(f"saved      {folder}: {len(made.normals)} normal images, {size / 1e6:.1f} MB\n")
