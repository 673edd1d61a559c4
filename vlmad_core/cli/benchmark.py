"""``vlmad benchmark``: compare methods on backbones, data, shots and seeds; rows, tables and plots in a folder."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlmad_core.cli import executors, options, planned, terminal
from vlmad_core.cli.choice import Quality
from vlmad_core.cli.names import complete
from vlmad_core.cli.report import bar
from vlmad_core.cli.torch_import import import_torch

if TYPE_CHECKING:
    from vlmad_core.benchmark.estimate import Estimate
    from vlmad_core.benchmark.plan import BenchmarkPlan
    from vlmad_core.benchmark.run import BenchmarkProgress, BenchmarkResults

__all__ = ["benchmark_command"]

_WHAT, _HOW = "What to compare, in place of the plan's", "The run"


def benchmark_command(
    plan: Annotated[
        Path | None, typer.Argument(help="Plan as YAML or JSON; options are put in place of what it says.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", file_okay=False, help="Folder for rows, tables and plots; made if needed."),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option("--data", "-d", help="Folder of a data set; repeat it for several.", rich_help_panel=_WHAT),
    ] = None,
    layout: Annotated[
        str, typer.Option(help="Of the data; see `vlmad data list`.", autocompletion=complete("dataset"))
    ] = "auto",
    category: Annotated[
        list[str] | None,
        typer.Option("--category", help="Only this one; repeat it for several.", rich_help_panel=_WHAT),
    ] = None,
    recipe: Annotated[
        list[str] | None,
        typer.Option(
            "--recipe",
            "-r",
            help="Recipe or pipeline file; repeat it for several.",
            autocompletion=complete("recipe"),
            rich_help_panel=_WHAT,
        ),
    ] = None,
    detector: Annotated[
        list[str] | None,
        typer.Option("--detector", help="Folder of a trained detector; repeat it.", rich_help_panel=_WHAT),
    ] = None,
    backbone: Annotated[
        list[str] | None,
        typer.Option(
            "--backbone",
            help="In place of the recipes' own; repeat it.",
            autocompletion=complete("backbone"),
            rich_help_panel=_WHAT,
        ),
    ] = None,
    extractor: Annotated[
        list[str] | None,
        typer.Option(
            "--extractor",
            help="Each with each recipe; repeat it.",
            autocompletion=complete("extractor"),
            rich_help_panel=_WHAT,
        ),
    ] = None,
    prompts: Annotated[
        list[str] | None,
        typer.Option(
            "--prompts",
            help="Each with each recipe; repeat it.",
            autocompletion=complete("prompts"),
            rich_help_panel=_WHAT,
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            "-w",
            help="Of the backbones: a tag, or a local file; in place of the plan's.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", help="Architecture of the backbones; in place of the plan's.", rich_help_panel=_WHAT),
    ] = None,
    quality: Annotated[
        list[Quality] | None,
        typer.Option("--quality", help="Each as a preset of each recipe; repeat it.", rich_help_panel=_WHAT),
    ] = None,
    image_size: Annotated[
        str | None,
        typer.Option(
            help="Pixels that the backbones work at: sides, or HEIGHTxWIDTH, such as 224,448x672.",
            metavar="SIDE,SIDE",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="Such as cpu, cuda:1 or mps; by default the plan's, or the first of cuda, mps and cpu.",
            rich_help_panel=_HOW,
        ),
    ] = None,
    shots: Annotated[
        str | None, typer.Option(help="Numbers of normal images, such as 0,1,4.", rich_help_panel=_WHAT)
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(help="How many draws, such as 3; or which, such as [7,8].", rich_help_panel=_WHAT)
    ] = None,
    class_name: Annotated[
        list[str] | None,
        typer.Option("--class-name", "-c", help="CATEGORY=NAME for the prompts; repeat it.", rich_help_panel=_WHAT),
    ] = None,
    train_share: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=0.99,
            help="Share of the normal test images to draw from where there are none for training, as in good/ and "
            "defects/.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    max_images: Annotated[
        int | None, typer.Option(min=1, help="Test images of each label and category.", rich_help_panel=_WHAT)
    ] = None,
    resolution: Annotated[
        str | None, typer.Option(help="Of maps and masks: a side, or native.", rich_help_panel=_WHAT)
    ] = None,
    bits: options.Bits = None,
    window: options.Window = None,
    channels: options.Channels = None,
    plan_only: Annotated[
        bool, typer.Option("--plan", help="Print what would run and for how long, and stop.", rich_help_panel=_HOW)
    ] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Try cells again that failed.", rich_help_panel=_HOW)] = False,
    extend: Annotated[
        bool, typer.Option("--extend", help="Add to the results of another plan in --out.", rich_help_panel=_HOW)
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the results in --out.", rich_help_panel=_HOW)
    ] = False,
    speed: Annotated[
        bool,
        typer.Option(
            "--speed",
            help="Then measure every method by itself, about 10 s each: latency, images a second, memory, FLOPs.",
            rich_help_panel=_HOW,
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON document on stdout, and nothing else there.")
    ] = False,
    quiet: options.Quiet = False,
    progress: options.ProgressFlag = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Images through the backbone at a time.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Threads that decode images; 2 by default.")] = None,
    threads: options.Threads = None,
    executor: executors.ExecutorName = None,
    executor_set: executors.ExecutorSetting = None,
    ray: executors.OnRay = False,
) -> None:
    """Compare methods: every one on every backbone, category, number of normal images and seed that fits.

    Features are computed once an image and backbone. The same command after a stop, whatever stopped it, goes on.

    Exit codes: 0 all done; 1 refused or failed; 2 wrong usage; 3 some cells failed, or images could not be read;
    130 interrupted.
    """
    asked: dict[str, Any] = {
        "data": [{"path": path, "layout": layout} for path in data or ()],
        "categories": category,
        "weights": weights,
        "model": model,
        "device": device,
        "image_sizes": planned.sizes(image_size),
        "shots": planned.numbers("--shots", shots),
        "seeds": planned.value("--seeds", seeds),
        "class_names": planned.names(class_name or ()),
        "backbones": backbone,
        "train_share": train_share,
        "max_images": max_images,
        "resolution": planned.value("--resolution", resolution),
        "bits": options.parse_values(bits, window, channels),
        "batch_size": batch_size,
        "workers": workers,
        **planned.methods(
            recipe or (), detector or (), extractor or (), prompts or (), [one.value for one in quality or ()]
        ),
    }
    chosen = planned.chosen(plan, {name: value for name, value in asked.items() if value})
    if out is None and not plan_only:
        raise typer.BadParameter("give a folder for the results: --out FOLDER; or --plan to see what would run.")
    if ray and executor not in (None, "ray"):
        raise typer.BadParameter(f"--ray is short for --executor ray; got --executor {executor} as well.")
    if threads is not None:
        import_torch(threads)
    wanted = False if quiet else progress
    if plan_only or not quiet:
        estimate = _estimate(chosen, None if overwrite else out, retry, wanted)
        if plan_only:
            _show_plan(estimate, as_json)
            return
        terminal.note(_summary(estimate))
    assert out is not None
    how = {"retry": retry, "extend": extend, "overwrite": overwrite, "speed": speed}
    with executors.chosen_executor("ray" if ray else executor, executor_set) as elsewhere:
        results = _run(chosen, out, {**how, "executor": elsewhere}, quiet, wanted)
    _report(results, as_json, quiet)


def _run(plan: BenchmarkPlan, out: Path, how: dict[str, Any], quiet: bool, wanted: bool | None) -> BenchmarkResults:
    from vlmad_core.benchmark.run import run_benchmark

    with bar("cells", 1, wanted) as shown:

        def show(now: BenchmarkProgress) -> None:
            shown.say(now.message)
            shown.reach(now.done, now.cells)

        on_message = (lambda text: None) if quiet else terminal.note
        return run_benchmark(plan, out, **how, progress=show, on_message=on_message)


def _estimate(plan: BenchmarkPlan, out: Path | None, retry: bool, wanted: bool | None) -> Estimate:
    from vlmad_core.benchmark.estimate import estimate
    from vlmad_core.benchmark.folder import HASHES
    from vlmad_core.datasets.content import known_hashes
    from vlmad_core.report.rows import ROWS, read_rows

    if out is not None:
        known_hashes.load(out / HASHES)
    rows = read_rows(out) if out is not None and (out / ROWS).is_file() else []
    done = {row["cell"] for row in rows if not (retry and row["status"] == "failed")}
    with bar("plan", 1, wanted) as shown:
        return estimate(plan, done=done, progress=shown.say)


def _summary(estimate: Estimate) -> str:
    if not estimate.waiting:
        return f"{estimate.cells} cells, none left to run."
    skipped = sum(estimate.skipped.values())
    parts = [f"{estimate.waiting} of {estimate.cells} cells to run"]
    parts += [f"{skipped} make{'s' * (skipped == 1)} no sense"] * bool(skipped)
    parts += [f"{sum(estimate.failing.values())} will fail"] * bool(estimate.failing)
    return f"{', '.join(parts)}; {estimate.images} images through backbones, about {_time(estimate.seconds)}."


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _show_plan(estimate: Estimate, as_json: bool) -> None:
    if as_json:
        from dataclasses import asdict

        terminal.print_json(asdict(estimate))
        return
    sys.stdout.write(_summary(estimate) + "\n")
    for what, reasons in (("no cell", estimate.skipped), ("fails", estimate.failing)):
        for reason, count in reasons.items():
            sys.stdout.write(terminal.shown(f"{what} ({count}): {reason}") + "\n")


def _report(results: BenchmarkResults, as_json: bool, quiet: bool) -> None:
    counts = Counter(row["status"] for row in results.rows)
    if as_json:
        terminal.print_json(
            {
                "folder": str(results.folder),
                "cells": dict(counts),
                "passes": dict(results.passes),
                "seconds": round(results.seconds, 1),
                "rows": list(results.rows),
            }
        )
    elif not quiet:
        _print(results, counts)
    unread = {(row["dataset"], file["path"]) for row in results.rows for file in row["unreadable"]}
    if unread:
        terminal.complain(f"{terminal.counted(len(unread), 'image')} could not be read; the tables name them.")
    if results.failed or unread:
        raise typer.Exit(3)


def _print(results: BenchmarkResults, counts: Counter[str]) -> None:
    from vlmad_core.report.present import means_table

    table = means_table(results.rows)
    if table is not None:
        terminal.table(table.columns, table.plain(), right=table.columns[table.labels :])
        for note, letter in table.notes.items():
            sys.stdout.write(terminal.shown(f"[{letter}] {note}") + "\n")
        sys.stdout.write(terminal.shown(table.caption) + "\n")
    for error, count in Counter(row["error"] for row in results.failed).items():
        terminal.complain(f"{terminal.counted(count, 'cell')} failed: {error}")
    for backbone, passes in results.passes.items():
        terminal.note(f"{backbone}: {passes['images']} images, {passes['passes']} passes through the backbone.")
    numbers = ", ".join(f"{count} {status}" for status, count in counts.items())
    terminal.note(f"{numbers} in {_time(results.seconds)}; see {results.folder}")
