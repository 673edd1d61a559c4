"""``vlmad data``: what data sets can be read, what is in one, and whether it is whole. Only the check imports torch."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from vlmad_core.cli import options, terminal
from vlmad_core.cli.names import complete
from vlmad_core.datasets.base import Dataset
from vlmad_core.datasets.read import read_dataset, reader_of
from vlmad_core.errors import VlmadError
from vlmad_core.registry.registry import default_registry

_SHOWN, _FEW = 50, 5

Root = Annotated[Path, typer.Argument(help="Folder of the data set, or a manifest.", show_default=False)]
Layout = Annotated[str, typer.Option(help="See `vlmad data list`.", autocompletion=complete("dataset"))]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="An option of the layout, as NAME=VALUE; see `vlmad show LAYOUT`.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]

data_command = typer.Typer(name="data", no_args_is_help=True, add_completion=False)


@data_command.callback()
def _data() -> None:
    """Read data sets, count them and check them. Nothing is downloaded and nothing is changed."""


@data_command.command("list")
def list_data(as_json: Json = False) -> None:
    """List the layouts that can be read, where to get the published ones, and their licences."""
    rows: list[dict[str, str]] = []
    for entry in default_registry().entries("dataset"):
        try:
            reader = reader_of(entry)
        except VlmadError as error:  # that of somebody's plugin; the others can be listed
            terminal.complain(str(error))
            continue
        facts = reader.facts
        row = {"name": entry.name, "plugin": entry.plugin, "summary": entry.item.summary, "tree": reader.tree}
        rows.append(row | {"home": facts.home if facts else "", "licence": facts.licence if facts else "yours"})
    if as_json:
        terminal.print_json(rows)
        return
    terminal.table(["layout", "what", "licence", "get it from"], [_line(row) for row in rows])
    sys.stdout.write("Nothing is downloaded: get a data set from its page, and accept its licence there.\n")


@data_command.command("show")
def show_data(root: Root, layout: Layout = "auto", settings: Settings = None, as_json: Json = False) -> None:
    """Count the images of a data set: categories by splits, normal and defective."""
    dataset = read_dataset(root, layout, config=options.parse_settings(settings or ()))
    counts = dataset.count()
    if as_json:
        about = {"name": dataset.name, "root": str(root), "images": len(dataset), "categories": counts}
        terminal.print_json({**about, "problems": list(dataset.problems)})
        return
    cells = list(dict.fromkeys(cell for split in _SPLITS for found in counts.values() for cell in _of(split, found)))
    rows = [(category, *(str(found.get(cell, "")) for cell in cells)) for category, found in counts.items()]
    if len(rows) > 1:
        rows.append(("all", *(str(sum(found.get(cell, 0) for found in counts.values())) for cell in cells)))
    terminal.table(["category", *cells], rows, right=cells)
    sys.stdout.write(f"{dataset.name}: {len(dataset)} images, {_masked(dataset)} of them with masks\n")
    _note_problems(dataset.problems)


@data_command.command("check")
def check_data(
    root: Root,
    layout: Layout = "auto",
    settings: Settings = None,
    fast: Annotated[bool, typer.Option("--fast", help="Names and counts alone; open no image.")] = False,
    bits: options.Bits = None,
    window: options.Window = None,
    channels: options.Channels = None,
    workers: options.Workers = 4,
    as_json: Json = False,
    progress: Annotated[bool | None, typer.Option("--progress/--no-progress", help="By default on a terminal.")] = None,
) -> None:
    """Say exactly what is missing or does not match; exit with 1 if there is anything."""
    values = options.parse_values(bits, window, channels)
    dataset = read_dataset(root, layout, config=options.parse_settings(settings or ()))
    from vlmad_core.cli.report import bar
    from vlmad_core.datasets.check import check

    with bar("checked", len(dataset), progress) as shown:
        problems = check(dataset, fast=fast, bits=values, workers=workers, progress=shown.advance)
    if as_json:
        report = {"name": dataset.name, "root": str(root), "images": len(dataset), "opened": not fast}
        terminal.print_json({**report, "problems": problems})
    else:
        _tell(dataset, problems, fast)
    if problems:
        raise typer.Exit(1)


_SPLITS = ("train", "validation", "test")


def _line(row: dict[str, str]) -> tuple[str, ...]:
    return row["name"], row["summary"], row["licence"], row["home"]


def _of(split: str, cells: dict[str, int]) -> list[str]:
    return [f"{split}/{label}" for label in ("good", "defective", "unknown") if f"{split}/{label}" in cells]


def _masked(dataset: Dataset) -> int:
    return sum(bool(sample.masks) for sample in dataset)


def _note_problems(problems: Sequence[str]) -> None:
    """The first few, so that nothing is left out without a word."""
    for problem in problems[:_FEW]:
        terminal.note(problem)
    if len(problems) > _FEW:
        terminal.note(f"and {len(problems) - _FEW} more problems; `vlmad data check` lists them.")


def _tell(dataset: Dataset, problems: Sequence[str], fast: bool) -> None:
    for problem in problems[:_SHOWN]:
        sys.stdout.write(terminal.shown(problem) + "\n")
    if len(problems) > _SHOWN:
        sys.stdout.write(f"… and {len(problems) - _SHOWN} more; --json has them all.\n")
    how = "names and counts checked, no image opened" if fast else "every image and mask opened"
    found = f"{len(problems)} problems" if problems else "nothing is wrong"
    sys.stdout.write(f"{dataset.name}: {len(dataset)} images, {how}: {found}\n")
