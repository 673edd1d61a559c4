"""``vlmad calibrate``: thresholds with a known false-alarm rate, from held-out normal images."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vlmad_core.cli import options, terminal
from vlmad_core.cli.choice import Choice, takes_choice
from vlmad_core.cli.detector import build, note_missing_name
from vlmad_core.cli.report import bar
from vlmad_core.cli.squeezed import note_squeezed_images
from vlmad_core.cli.torch_import import import_torch
from vlmad_core.cli.unquoted import QuotedCommand
from vlmad_core.errors import ConfigError

if TYPE_CHECKING:
    from vlmad_core.contracts.images import ImageLike
    from vlmad_core.pipeline.pipeline import Pipeline

__all__ = ["Group", "calibrate_command", "calibration_lines", "grouped"]

Group = Annotated[
    str | None,
    typer.Option(
        "--group",
        metavar="REGEX|MANIFEST",
        help="Images whose paths have the same first group, or the same match, are of one object and count once; or a "
        "manifest (.csv, .tsv, .jsonl) with the columns image and group.",
    ),
]


class CalibrateCommand(QuotedCommand):
    """Knows a pattern that the shell took apart: the rest of its defects would be good parts."""

    one_value = (("--defects",),)


@takes_choice("class_name", "bits")
def calibrate_command(
    paths: Annotated[
        list[str],
        typer.Argument(help="A folder that `vlmad fit` wrote, unless --recipe is given; then images of good parts."),
    ],
    choice: Choice,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", file_okay=False, help="Folder of the detector; by default the one that was given."),
    ] = None,
    defects: Annotated[
        list[str] | None,
        typer.Option("--defects", help="Images of known defects: they set no threshold, and tell what is missed."),
    ] = None,
    group: Group = None,
    renew: Annotated[bool, typer.Option("--renew", help="Drop the calibration that is there.")] = False,
    quiet: options.Quiet = False,
    progress: options.ProgressFlag = None,
    batch_size: options.BatchSize = 8,
    threads: options.Threads = None,
    workers: options.Workers = 2,
) -> None:
    """Add normal images that a detector was not fitted on to its calibration, for `vlmad predict --false-alarms`.

    `vlmad calibrate nut.vlmad more-good/` is about a saved detector; `vlmad calibrate --recipe pocket good/ --out
    nut.vlmad` makes one that compares with text alone.
    """
    folder: Path | None = None
    if choice.recipe is None:
        folder, paths = Path(paths[0]), paths[1:]
        choice = replace(choice, detector=folder)
    if not paths:
        raise typer.BadParameter("give images of good parts after the detector: vlmad calibrate nut.vlmad more-good/")
    target = out or folder
    if target is None:
        raise typer.BadParameter("--recipe makes a new detector, so it needs --out FOLDER.")
    from vlmad_core.contracts.images import find_images

    if threads is not None:
        import_torch(threads)
    normals = find_images(paths)
    known = find_images(defects) if defects else None
    by = grouped(group)
    tell = (lambda text: None) if quiet else terminal.note
    pipeline = build(choice, tell).pipeline
    note_missing_name(pipeline, tell)
    note_squeezed_images(pipeline, normals, tell)
    with bar("images", len(normals) + len(known or ()), False if quiet else progress) as shown:
        pipeline.calibrate(
            normals, by, known, batch_size=batch_size, renew=renew, progress=shown.reach, workers=workers
        )
    pipeline.save(target)
    if not quiet:
        for line in calibration_lines(pipeline):
            sys.stdout.write(f"{line}\n")
        sys.stdout.write(f"saved      {target}\n")


def grouped(pattern: str | None) -> Callable[[ImageLike], str] | None:
    """A function from a path to its group: the first group of the pattern, or its whole match; or as a manifest says.

    Raises:
        typer.BadParameter: It is no regular expression.
        ConfigError: The manifest cannot be read, or no image in it has a group.
    """
    if pattern is None:
        return None
    if Path(pattern).suffix.lower() in (".csv", ".tsv", ".jsonl") and Path(pattern).is_file():
        return _listed_groups(Path(pattern))
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise typer.BadParameter(f"--group: '{pattern}' is not a regular expression ({error}).") from error

    def group(source: ImageLike) -> str:
        found = compiled.search(str(source))
        if found is None:
            raise ConfigError(f"--group '{pattern}' matches nothing in '{source}'; it must match every path.")
        return found[1] if compiled.groups else found[0]

    return group


def _listed_groups(manifest: Path) -> Callable[[ImageLike], str]:
    from vlmad_core.datasets.manifest import Manifest
    from vlmad_core.datasets.plugin import ManifestConfig

    samples = Manifest(ManifestConfig()).read(manifest).samples
    groups = {os.path.realpath(str(sample.image)): sample.group for sample in samples}
    if not any(groups.values()):
        raise ConfigError(f"--group {manifest}: no image has a group; the manifest needs a column 'group'.")

    def group(source: ImageLike) -> str:
        place = os.path.realpath(str(source))
        if place not in groups:
            raise ConfigError(f"--group {manifest}: does not list '{source}'; it must list every image.")
        return groups[place]

    return group


def calibration_lines(pipeline: Pipeline) -> list[str]:
    """What a person should know of a calibration: numbers, threshold, promise, what stands out."""
    calibration = pipeline.calibration
    if calibration is None:
        return ["calibrated no: fewer than two normal images; add some with `vlmad calibrate`"]
    from vlmad_core.inspection.calibration import outliers

    counts = [f"{len(basis.scores)} {basis.source}" for basis in calibration.bases]
    lines = [f"normals    {', '.join(counts)}"]
    try:
        rule = pipeline.decision_rule()
    except ConfigError as error:
        lines.append(f"calibrated no: {error}")
    else:
        lines.append(f"reject     above {rule.threshold:.6g}. {rule.promise}")
        if (missed := rule.missed(calibration.defects)) is not None:
            low, high = missed.interval
            share = f"95 % interval {low:.1%} to {high:.1%}"
            lines.append(f"defects    {missed.count} of {missed.total} known ones would not be rejected ({share})")
    lines += [
        f"look at    {terminal.shown(found.image.name)}: score {found.image.score:.4g}, {found.spreads:.1f} robust "
        f"standard deviations above the median ({found.median:.4g}); a defect among the normals?"
        for found in outliers((*calibration.held_out, *calibration.references))[:5]
    ]
    return lines
