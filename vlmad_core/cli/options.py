"""Options that several commands share: which detector to build."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer
import yaml

from vlmad_core.cli.names import complete

__all__ = [
    "BackboneName",
    "BatchSize",
    "Bits",
    "ClassName",
    "ExtractorName",
    "ProgressFlag",
    "PromptsName",
    "Quiet",
    "RecipeName",
    "ScorerNames",
    "Settings",
    "Threads",
    "Weights",
    "Workers",
    "parse_settings",
]

_PARTS = "Parts"

RecipeName = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        "-r",
        help="Name of a recipe, or a pipeline file (.yaml, .json).",
        autocompletion=complete("recipe"),
        rich_help_panel=_PARTS,
    ),
]
BackboneName = Annotated[
    str | None,
    typer.Option(help="In place of the recipe's.", autocompletion=complete("backbone"), rich_help_panel=_PARTS),
]
ExtractorName = Annotated[
    str | None,
    typer.Option(help="In place of the recipe's.", autocompletion=complete("extractor"), rich_help_panel=_PARTS),
]
PromptsName = Annotated[
    str | None,
    typer.Option(
        help="In place of the recipe's; 'none' removes them.",
        autocompletion=complete("prompts"),
        rich_help_panel=_PARTS,
    ),
]
ScorerNames = Annotated[
    list[str] | None,
    typer.Option(
        "--scorer",
        help="In place of the recipe's; repeat it for several.",
        autocompletion=complete("scorer"),
        rich_help_panel=_PARTS,
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        "--weights",
        "-w",
        help="Of the backbone: a tag such as laion400m_e31, which may be downloaded, or a local file.",
        rich_help_panel=_PARTS,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        help="A value of the pipeline, such as scorers.0.config.temperature=0.01; repeat it for several.",
        rich_help_panel=_PARTS,
    ),
]
ClassName = Annotated[
    str | None, typer.Option("--class-name", "-c", help="What the images show, such as 'metal nut'; for the prompts.")
]
BatchSize = Annotated[int, typer.Option(min=1, help="Images through the backbone at a time.")]
Workers = Annotated[int, typer.Option(min=1, help="Threads that decode images.")]
Bits = Annotated[
    int | None,
    typer.Option(min=8, max=16, help="Of the values in 16-bit grey files, such as 12 for a 12-bit camera."),
]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads that torch may use.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No table, no progress, no notes.")]
ProgressFlag = Annotated[
    bool | None, typer.Option("--progress/--no-progress", help="A bar on stderr; by default only on a terminal.")
]


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """``PATH=VALUE`` each, the values as YAML has them.

    Raises:
        typer.BadParameter: One that is not of this form.
    """
    parsed: dict[str, Any] = {}
    for setting in settings:
        path, equals, value = setting.partition("=")
        if not equals or not path.strip():
            raise typer.BadParameter(f"--set wants PATH=VALUE, such as output.smooth=4; got '{setting}'.")
        try:
            parsed[path.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise typer.BadParameter(f"--set {path}: '{value}' is not a YAML value.") from error
    return parsed
