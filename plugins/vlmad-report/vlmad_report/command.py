"""``vlmad report``: the HTML page of a results folder."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from vlmad_core.cli import options, terminal
from vlmad_core.cli.report import bar

__all__ = ["report_command"]


def report_command(
    results: Annotated[Path, typer.Argument(help="Folder that was the --out of vlmad predict.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The HTML file; RESULTS/report.html by default.", dir_okay=False)
    ] = None,
    embed: Annotated[
        bool, typer.Option("--embed", help="Put the pictures into the page: one file, for some hundred images.")
    ] = False,
    images: Annotated[
        Path | None, typer.Option(help="Where relative paths of images start, if they have moved.", file_okay=False)
    ] = None,
    max_side: Annotated[int, typer.Option(min=64, help="Longer side of the photographs, in pixels.")] = 1024,
    title: Annotated[str | None, typer.Option(help="Shown on top of the page.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON document on stdout, and nothing else there.")
    ] = False,
    quiet: options.Quiet = False,
    progress: options.ProgressFlag = None,
) -> None:
    """Make one HTML page of results: images with heat maps, verdicts, a movable threshold, and feedback.

    The page opens from any disk in any browser and asks nothing of a network. Pictures lie in a folder beside it; copy
    both, or use --embed.
    """
    from vlmad_report.report import write_report

    with bar("report", 0, False if quiet else progress) as shown:
        report = write_report(
            results, out, embed=embed, images=images, max_side=max_side, title=title, progress=shown.advance
        )
    if as_json:
        terminal.print_json({**asdict(report), "page": str(report.page)})
        return
    if quiet:
        return
    for text in report.notes:
        terminal.note(terminal.shown(text))
    counts = ", ".join(f"{count} {verdict}" for verdict, count in report.verdicts.items())
    what = f"{terminal.counted(report.n_images, 'image')} ({counts}), {report.n_bytes / 1e6:.1f} MB"
    sys.stdout.write(terminal.shown(f"{report.page}: {what}") + "\n")
