"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from vlmad_core.documents import parse_yaml
from vlmad_core.errors import ConfigError
from vlmad_core.pipeline.arithmetic import CompileMode
from vlmad_core.pipeline.input_spec import image_size_of, tiles_of

__all__ = [
    "BatchSize",
    "Bits",
    "Compile",
    "Field",
    "ProgressFlag",
    "Quiet",
    "Threads",
    "Workers",
    "parse_scales",
    "parse_settings",
    "parse_size",
    "parse_tiles",
]


BatchSize = Annotated[int, typer.Option(min=1, help="Images through the backbone at a time.")]
Workers = Annotated[int, typer.Option(min=1, help="Threads that decode images.")]
Bits = Annotated[
    int | None,
    typer.Option(min=8, max=16, help="Of the values in 16-bit grey files, such as 12 for a 12-bit camera."),
]
Field = Annotated[
    str | None,
    typer.Option(
        "--field",
        help="Words for normal and defective of a field: industrial-surface, textile, food, electronics or "
        "medical-imaging; for prompts with lists of states.",
    ),
]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads that torch may use.")]
Compile = Annotated[
    CompileMode | None,
    typer.Option(
        "--compile",
        help="Try torch.compile, and keep it where it is faster and gives the same features; the last two kinds "
        "use CUDA graphs on a GPU.",
    ),
]
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
            parsed[path.strip()] = parse_yaml(value, f"--set {path}: '{value}'")
        except ConfigError as error:
            raise typer.BadParameter(str(error)) from error
    return parsed


def parse_size(text: str) -> int | tuple[int, int] | str:
    """``518`` or ``448x672``, height first; ``fit``, ``fit:1024`` and ``stretch`` as they are.

    Raises:
        typer.BadParameter: It is none of them.
    """
    if text.lower() == "stretch" or text.lower().startswith("fit"):
        try:
            image_size_of(text)
        except ValueError as error:
            raise typer.BadParameter(f"--image-size {error}; got '{text}'.") from error
        return text.lower()
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.strip().isdecimal() and len(side) < 9 and int(side) for side in sides):
        raise typer.BadParameter(
            f"--image-size wants a side such as 518, HEIGHTxWIDTH such as 448x672, fit, or fit:TOKENS; got '{text}'."
        )
    height, *width = map(int, sides)
    return (height, width[0]) if width else height


def parse_scales(text: str) -> list[int]:
    """``224,448`` as a list.

    Raises:
        typer.BadParameter: It is none.
    """
    sides = text.split(",")
    if not all(side.strip().isdecimal() and len(side) < 9 for side in sides):
        raise typer.BadParameter(f"--scales wants sides such as 224,448; got '{text}'.")
    return [int(side) for side in sides]


def parse_tiles(text: str) -> str:
    """``off``, ``auto``, ``6`` or ``512px``, as it is.

    Raises:
        typer.BadParameter: It is none of them.
    """
    try:
        tiles_of(text)
    except ValueError as error:
        raise typer.BadParameter(f"--tiles {error}; got '{text}'.") from error
    return text
