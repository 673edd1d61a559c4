"""``vlmad robustness``: how a detector holds under corruptions, other light and adversarial images."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlmad_core.cli import options, terminal
from vlmad_core.cli.choice import Choice, takes_choice
from vlmad_core.cli.names import complete
from vlmad_core.cli.report import bar
from vlmad_core.cli.verdicts import FalseAlarms

if TYPE_CHECKING:
    from vlmad_core.pipeline import Pipeline
    from vlmad_robustness.data import Source
    from vlmad_robustness.run import Progress, Run
    from vlmad_robustness.subject import Subject

__all__ = ["robustness_command"]

_TEST = "The test"


@takes_choice("detector", "class_name", "bits")
def robustness_command(
    data: Annotated[Path, typer.Argument(help="Folder of a data set with normal and defective test images.")],
    choice: Choice,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", file_okay=False, help="Folder for the report; the same command goes on there."),
    ],
    category: Annotated[str | None, typer.Option(help="Which one, where the data has several.")] = None,
    layout: Annotated[
        str, typer.Option(help="Of the data; see `vlmad data list`.", autocompletion=complete("dataset"))
    ] = "auto",
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0.2,
            help="Time for this call, 20 by default, 3 with --quick; what does not fit is listed.",
            rich_help_panel=_TEST,
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Few severities and short attacks.", rich_help_panel=_TEST)
    ] = False,
    max_normals: Annotated[
        int, typer.Option(min=4, help="Normal images that a recipe is fitted on, at most.", rich_help_panel=_TEST)
    ] = 32,
    transfer: Annotated[
        list[str] | None,
        typer.Option(
            help="Recipe, or RECIPE@BACKBONE, that the adversarial images are tried on as well; repeat it.",
            metavar="RECIPE",
            autocompletion=complete("recipe"),
            rich_help_panel=_TEST,
        ),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=2, help="Of an attack.", rich_help_panel=_TEST)] = None,
    restarts: Annotated[int | None, typer.Option(min=1, help="Of an attack.", rich_help_panel=_TEST)] = None,
    attack_images: Annotated[int | None, typer.Option(min=2, help="That are attacked.", rich_help_panel=_TEST)] = None,
    false_alarms: FalseAlarms = None,
    batch_size: options.BatchSize = 8,
    threads: options.Threads = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is in --out.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print report.json, and nothing else on stdout.")] = False,
    quiet: options.Quiet = False,
    progress: options.ProgressFlag = None,
) -> None:
    """Test a detector under corruptions, other light and adversarial images; write OUT/report.md and report.json.

    A recipe is fitted and calibrated on normal training images of the data; a detector from --detector keeps its own
    threshold. Every condition states AUROC, false alarms and misses at that threshold, with intervals. The same
    command after a stop goes on; with more --minutes it completes what was cut.
    """
    started, allowed = time.perf_counter(), minutes or (3.0 if quick else 20.0)
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    from vlmad_robustness.data import find_source
    from vlmad_robustness.report import write_report
    from vlmad_robustness.run import run_robustness

    source = find_source(data, layout, category)
    run = _prepare(source, choice, transfer or [], max_normals, false_alarms, batch_size, quiet)
    with bar("conditions", 0, False if quiet else progress) as shown:

        def tell(now: Progress) -> None:
            shown.reach(now.done, now.total)
            left = "" if now.seconds_left is None else f", about {now.seconds_left / 60:.1f} min left"
            shown.say(f"{now.cell}{left}")

        outcome = run_robustness(
            run,
            out,
            minutes=max(0.1, allowed - (time.perf_counter() - started) / 60),
            quick=quick,
            transfers=transfer or [],
            steps=steps,
            restarts=restarts,
            attack_images=attack_images,
            overwrite=overwrite,
            progress=tell,
        )
    path = write_report(run, outcome, out)
    if as_json:
        sys.stdout.write((out / "report.json").read_text(encoding="utf-8"))
        return
    if outcome.skipped and not quiet:
        terminal.note(
            f"{terminal.counted(len(outcome.skipped), 'condition')} not measured; the report says which and why."
        )
    if not quiet:
        sys.stdout.write(f"{terminal.shown(str(path))}: {len(outcome.measured)} conditions\n")


def _prepare(
    source: Source,
    choice: Choice,
    transfers: list[str],
    max_normals: int,
    false_alarms: float | None,
    batch_size: int,
    quiet: bool,
) -> Run:
    """Build or load the detector, and say how the others are made; refuse before anything is computed."""
    from vlmad_core.cli.detector import build, resolve_choice
    from vlmad_core.errors import ConfigError
    from vlmad_core.pipeline.build import assemble
    from vlmad_core.pipeline.resolve import changes_of, resolve
    from vlmad_robustness.remedy import robust_references
    from vlmad_robustness.run import Run
    from vlmad_robustness.subject import Subject, make_subject, rule_of

    class_name = choice.class_name or source.class_name
    normals = [sample.image for sample in source.normals][:max_normals]
    about: dict[str, Any] = {"category": source.category, "class_name": class_name, "false_alarms": false_alarms}
    about["images"] = [str(sample.image) for sample in source.tests]
    fit = partial(_fit, bits=choice.values, normals=normals, false_alarms=false_alarms, batch_size=batch_size)
    others: dict[str, Callable[..., Subject]] = {}
    for name in transfers:
        recipe, _, backbone = name.partition("@")
        resolved = resolve(recipe, changes_of(backbone=backbone) if backbone else {})
        others[name] = partial(fit, name, partial(assemble, resolved, device=choice.device), class_name)
    if (choice.detector is None or transfers) and not normals:
        raise ConfigError(
            f"category '{source.category}' has no normal training image to fit or calibrate on; test a detector that "
            "is calibrated: --detector FOLDER."
        )
    if choice.detector is not None:
        made = build(choice, (lambda text: None) if quiet else terminal.note)
        pipeline = made.pipeline
        pipeline.check_ready()
        subject = Subject(choice.detector.name, pipeline, rule_of(pipeline, false_alarms), batch_size)
        others = {name: partial(other, bits=pipeline.bits) for name, other in others.items()}
        about |= {} if pipeline.bits is None else {"bits": pipeline.bits}
        return Run(subject, source, {**about, "detector": dict(made.about)}, others, None)
    chosen = resolve_choice(choice)
    label = _label(choice)

    def new() -> Pipeline:
        pipeline = assemble(chosen, device=choice.device)
        pipeline.check_trained()
        pipeline.class_name, pipeline.bits = class_name, choice.values
        return pipeline

    first = new()
    subject = make_subject(label, first, normals, false_alarms=false_alarms, batch_size=batch_size)
    remedy: Callable[[], Subject] | None = None
    if first.memory_scorers:
        remedy = partial(
            _robust,
            robust_references,
            f"{label}, references under other light and colours",
            new,
            normals,
            false_alarms,
            batch_size,
        )
    about |= {} if choice.values is None else {"bits": choice.values}
    settings = {**about, "recipe": choice.words(), "normals": [str(image) for image in normals]}
    return Run(subject, source, settings, others, remedy)


def _fit(
    name: str,
    make: Callable[[], Pipeline],
    class_name: str,
    *,
    bits: int | str | None,
    normals: list[Any],
    false_alarms: float | None,
    batch_size: int,
) -> Subject:
    from vlmad_robustness.subject import make_subject

    pipeline = make()
    pipeline.check_trained()
    pipeline.class_name, pipeline.bits = class_name, bits
    return make_subject(name, pipeline, normals, false_alarms=false_alarms, batch_size=batch_size)


def _robust(
    fit: Callable[..., Subject],
    name: str,
    new: Callable[[], Pipeline],
    normals: list[Any],
    false_alarms: float | None,
    batch_size: int,
) -> Subject:
    return fit(name, new(), normals, false_alarms=false_alarms, batch_size=batch_size)


def _label(choice: Choice) -> str:
    """Recipe and backbone, in short."""
    return choice.recipe_or_default + (f" ({choice.backbone})" if choice.backbone else "")
