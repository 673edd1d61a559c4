"""``vlmad train``: train the parts of a detector on images with defects and masks, and save it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vlmad_core.cli import options, terminal
from vlmad_core.cli.choice import Choice, takes_choice
from vlmad_core.cli.detector import build_unfitted
from vlmad_core.cli.names import complete
from vlmad_core.cli.report import bar
from vlmad_core.datasets.problems import problem_messages
from vlmad_core.datasets.read import read_dataset
from vlmad_core.errors import ConfigError
from vlmad_core.pipeline.resolve import is_file
from vlmad_core.training.options import training_options

if TYPE_CHECKING:
    from vlmad_core.datasets.base import Dataset
    from vlmad_core.training.report import TrainingProgress

__all__ = ["train_command"]

_PREFIX = "training."


@takes_choice("bits", recipe_required=True)
def train_command(
    choice: Choice,
    data: Annotated[Path, typer.Option("--data", "-d", help="Folder of a data set, or a manifest.")],
    out: Annotated[Path, typer.Option("--out", "-o", file_okay=False, help="Folder of the detector; made if needed.")],
    layout: Annotated[
        str, typer.Option(help="Layout of the data; see `vlmad data list`.", autocompletion=complete("dataset"))
    ] = "auto",
    category: Annotated[
        list[str] | None, typer.Option("--category", help="Only this one; repeat it for several. All if left out.")
    ] = None,
    split: Annotated[
        Literal["train", "validation", "test", "all"],
        typer.Option(help="Which images; the papers train on those of 'test', where the defects are."),
    ] = "test",
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Times through the images; the recipe's by default.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The recipe's by default.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Images at a time; the recipe's by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout, at the end.")] = False,
    quiet: options.Quiet = False,
    progress: options.ProgressFlag = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Threads that decode images; 2 by default.")] = None,
    threads: options.Threads = None,
) -> None:
    """Train a detector and save it; `vlmad predict --detector OUT IMAGES` uses it.

    The same command after a stop, whatever stopped it, goes on where it was. `torchrun --nproc-per-node N -m
    vlmad_core.cli train ...` trains on N devices.
    """
    own = [setting.removeprefix(_PREFIX) for setting in choice.settings if setting.startswith(_PREFIX)]
    changes = options.parse_settings(own)
    changes |= {
        name: value
        for name, value in (("epochs", epochs), ("seed", seed), ("batch_size", batch_size), ("workers", workers))
        if value is not None
    }
    dataset = read_dataset(data, layout)
    chosen = _chosen(dataset, split, category or ())  # refused before torch is imported

    assert choice.recipe is not None
    wanted = training_options(None if is_file(choice.recipe) else choice.recipe, changes)

    import torch

    from vlmad_core.training.train import train

    if threads is not None:
        torch.set_num_threads(threads)
    is_first = int(os.environ.get("RANK", "0")) == 0  # of several processes, the first one prints
    quiet, as_json = quiet or not is_first, as_json and is_first
    on_message = (lambda text: None) if quiet else terminal.note
    for problem in problem_messages(dataset):
        on_message(problem)
    choice = replace(choice, settings=[setting for setting in choice.settings if not setting.startswith(_PREFIX)])
    torch.manual_seed(wanted.seed)  # the first parameters are part of the result
    detector = build_unfitted(choice)
    with bar("training", len(chosen) * wanted.epochs, False if quiet else progress) as shown:

        def show(now: TrainingProgress) -> None:
            shown.say(f"epoch {now.epoch} of {now.epochs}, loss {now.loss:.4f}")
            shown.reach(now.done, now.total)

        report = train(detector, chosen, out, options=wanted, progress=show, on_message=on_message)
    if as_json:
        terminal.print_json({**asdict(report), "trained": dict(detector.trained)})
    elif not quiet:
        sys.stdout.write(f"{detector.summary()}\n")
        sys.stdout.write(f"saved      {report.out}: {report.epochs} epochs, {report.seconds:.1f} s now\n")


def _chosen(data: Dataset, split: str, categories: Sequence[str]) -> Dataset:
    """The samples of these categories and this split."""
    unknown = [name for name in categories if name not in data.categories]
    if unknown:
        raise ConfigError(
            f"data set '{data.name}' has no category '{unknown[0]}'; it has: {', '.join(data.categories)}."
        )
    samples = (s for s in data if split in ("all", s.split) and (not categories or s.category in categories))
    found = data.of(data.name, samples, data.root)
    if not len(found):
        there = ", ".join(sorted({sample.split for sample in data}))
        raise ConfigError(f"data set '{data.name}' has no image in split '{split}'; there are images in: {there}.")
    return found
