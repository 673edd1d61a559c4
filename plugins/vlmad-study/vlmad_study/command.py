"""``vlmad study``: compare methods on one's own data, and get a report that recommends one."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlmad_core.cli import options, terminal
from vlmad_core.cli.names import complete
from vlmad_core.cli.report import bar

if TYPE_CHECKING:
    from vlmad_study.planning import Step
    from vlmad_study.run import StudyProgress
    from vlmad_study.settings import Scope

__all__ = ["study_command"]

_WHAT, _HOW = "What to compare", "The run"


def study_command(
    data: Annotated[Path, typer.Option("--data", "-d", help="Folder of the data set to test on.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", file_okay=False, help="Folder for report and results; made if needed."),
    ] = None,
    layout: Annotated[
        str, typer.Option(help="Of the data; see `vlmad data list`.", autocompletion=complete("dataset"))
    ] = "auto",
    train_share: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=0.9,
            help="Share of the normal images to use as training images, where the data has no split (good/, defects/).",
        ),
    ] = None,
    backbone: Annotated[
        str,
        typer.Option(help="Backbone of all methods.", autocompletion=complete("backbone"), rich_help_panel=_WHAT),
    ] = "pocket",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="PATH=VALUE",
            help="An option of the backbone, such as backbone.config.image_size=336; repeat it.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option("--weights", "-w", help="Of the backbone: a tag, or a local file.", rich_help_panel=_WHAT),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Architecture of the backbone.", rich_help_panel=_WHAT)] = None,
    image_size: Annotated[
        str | None,
        typer.Option(
            help="Pixels that the backbone works at: a side, or HEIGHTxWIDTH.", metavar="SIDE", rich_help_panel=_WHAT
        ),
    ] = None,
    sections: Annotated[
        str | None,
        typer.Option(
            help="Only these, such as features,prompts: features, alignment, prompts, shots, efficiency, cross-domain.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    category: Annotated[
        list[str] | None,
        typer.Option("--category", help="Only this one; repeat it for several.", rich_help_panel=_WHAT),
    ] = None,
    other: Annotated[
        Path | None,
        typer.Option(help="A second data set, to train on one and test on the other.", rich_help_panel=_WHAT),
    ] = None,
    train: Annotated[
        Path | None,
        typer.Option(help="Images with masks to train on; they are not tested on.", rich_help_panel=_WHAT),
    ] = None,
    class_name: Annotated[
        list[str] | None,
        typer.Option("--class-name", "-c", help="NAME, or CATEGORY=NAME; repeat it.", rich_help_panel=_WHAT),
    ] = None,
    synonyms: Annotated[
        list[str] | None,
        typer.Option(help="NAME,NAME or CATEGORY=NAME,NAME: other class names; repeat it.", rich_help_panel=_WHAT),
    ] = None,
    shots: Annotated[
        str | None, typer.Option(help="Numbers of normal images; 0,1,2,4,8 by default.", rich_help_panel=_WHAT)
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Draws of normal images, at most; 3 by default.", rich_help_panel=_WHAT)
    ] = None,
    max_images: Annotated[
        int | None, typer.Option(min=1, help="Test images of each label and category.", rich_help_panel=_WHAT)
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(min=0.1, help="Time limit; 30 by default. What does not fit is cut.", rich_help_panel=_HOW),
    ] = None,
    plan_only: Annotated[
        bool, typer.Option("--plan", help="Print what would run and for how long, and stop.", rich_help_panel=_HOW)
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON document on stdout, and nothing else there.")
    ] = False,
    quiet: options.Quiet = False,
    progress: options.ProgressFlag = None,
    threads: options.Threads = None,
    bits: options.Bits = None,
    window: options.Window = None,
    channels: options.Channels = None,
    batch_size: options.BatchSize = 8,
    workers: options.Workers = 2,
    device: Annotated[
        str,
        typer.Option(help="Such as cpu, cuda:1 or mps; auto: the first of cuda, mps and cpu.", rich_help_panel=_HOW),
    ] = "auto",
) -> None:
    """Compare features, alignments, prompts, numbers of normal images, costs and domains; recommend a method.

    Writes OUT/report.html and OUT/report.md. The same command after a stop goes on; with more --minutes it completes
    what was cut. Nothing is tuned on the data, and nothing is trained on what it is tested on.
    """
    if out is None and not plan_only:
        raise typer.BadParameter("say where the report goes: --out FOLDER; or --plan to see what would run.")
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    asked: dict[str, Any] = {
        "data": {"path": data, "layout": layout},
        "train_share": train_share,
        "backbone": {"use": backbone, "config": _config(settings or (), weights, model, image_size)},
        "sections": None if sections is None else [word.strip() for word in sections.split(",")],
        "categories": category,
        "other": other,
        "train": train,
        "class_names": _names("--class-name", class_name or ()),
        "synonyms": {name: _list(text) for name, text in _names("--synonyms", synonyms or ()).items()},
        "shots": _numbers(shots),
        "seeds": seeds,
        "max_images": max_images,
        "minutes": minutes,
        "bits": options.parse_values(bits, window, channels),
        "batch_size": batch_size,
        "workers": workers,
        "device": device,
    }
    chosen = {name: value for name, value in asked.items() if value is not None and value != [] and value != {}}
    show_bar = False if quiet else progress
    if plan_only:
        _plan(chosen, as_json, show_bar)
        return
    from vlmad_study.run import study

    assert out is not None
    with bar("study", 1, show_bar) as line:

        def show(now: StudyProgress) -> None:
            line.say(now.what)
            line.reach(round(now.passed), round(now.limit))

        report = study(chosen, out, progress=show, on_message=(lambda text: None) if quiet else terminal.note)
    if as_json:
        terminal.print_json(asdict(report))
    elif not quiet:
        sys.stdout.write(terminal.shown(report.reason) + "\n")
        terminal.note(f"the report is {report.html}, and as Markdown {report.markdown}")
    if not report.tested:
        terminal.complain(f"{data}: no image could be tested; the report says why.")
        raise typer.Exit(1)
    if report.unreadable:
        terminal.complain(f"{terminal.counted(report.unreadable, 'image')} could not be read; the report names them.")
        raise typer.Exit(3)


def _plan(chosen: dict[str, Any], as_json: bool, show_bar: bool | None) -> None:
    from vlmad_study.planning import plan_study

    with bar("plan", 1, show_bar) as line:
        scope, steps = plan_study(chosen, progress=line.say)
    if as_json:
        terminal.print_json({"scope": scope.model_dump(mode="json"), "steps": [asdict(step) for step in steps]})
        return
    _print_plan(scope, steps)


def _print_plan(scope: Scope, steps: Sequence[Step]) -> None:
    from vlmad_study.time_limit import minutes

    rows = [(step.name, str(step.rows) if step.rows else "", minutes(step.seconds)) for step in steps]
    terminal.table(("step", "rows", "about"), rows, right=("rows", "about"))
    for sentence in scope.cuts.values():
        sys.stdout.write(terminal.shown(f"cut: {sentence}") + "\n")
    for sentence in dict.fromkeys(sentence for step in steps for sentence in step.left_out):
        sys.stdout.write(terminal.shown(f"left out: {sentence}") + "\n")


def _config(settings: Sequence[str], weights: str | None, model: str | None, image_size: str | None) -> dict[str, Any]:
    """Options of the backbone; nothing else of a pipeline is the same for all methods."""
    size = None if image_size is None else options.parse_size(image_size)
    own = {"pretrained": weights, "model": model, "image_size": size}
    prefix = "backbone.config."
    found = options.parse_settings(settings)
    for path in found:
        if not path.startswith(prefix):
            raise typer.BadParameter(f"--set here takes {prefix}OPTION=VALUE alone; got '{path}'.")
    named = {name: value for name, value in own.items() if value is not None}
    return named | {path.removeprefix(prefix): value for path, value in found.items()}


def _names(option: str, pairs: Sequence[str]) -> dict[str, str]:
    """CATEGORY=NAME each; NAME alone is for all categories."""
    found = {}
    for pair in pairs:
        category, equals, name = pair.partition("=")
        category, name = (category.strip(), name.strip()) if equals else ("*", pair.strip())
        if not category or not name:
            raise typer.BadParameter(f"{option} takes NAME or CATEGORY=NAME; got '{pair}'.")
        found[category] = name
    return found


def _list(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _numbers(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"--shots takes whole numbers such as 0,1,4; got '{text}'.") from None
