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
    "Channels",
    "Compile",
    "Field",
    "ProgressFlag",
    "Quiet",
    "Threads",
    "Window",
    "Workers",
    "parse_scales",
    "parse_settings",
    "parse_size",
    "parse_tiles",
    "parse_values",
    "values_options",
]


BatchSize = Annotated[int, typer.Option(min=1, help="Images through the backbone at a time.")]
Workers = Annotated[int, typer.Option(min=1, help="Threads that decode images.")]
Bits = Annotated[
    int | None,
    typer.Option(min=8, max=16, help="Of the values in 16-bit grey files, such as 12 for a 12-bit camera."),
]
Window = Annotated[
    str | None,
    typer.Option(
        "--window",
        metavar="LOW,HIGH",
        help="Stored values that become black and white, such as 0,4000, for 16-bit and float files.",
    ),
]
Channels = Annotated[
    str | None,
    typer.Option(
        "--channels",
        metavar="R,G,B",
        help="Channels that become red, green and blue, from 1, such as 3,2,1; one number: grey.",
    ),
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


def parse_values(bits: int | None, window: str | None, channels: str | None) -> int | str | None:
    """How stored values are read: a number of bits, or a window and channels as one text.

    Raises:
        typer.BadParameter: One of the wrong form, or bits beside another one.
    """
    if window is None and channels is None:
        return bits
    from vlmad_core.contracts.values import Values, values_text

    if bits is not None:
        raise typer.BadParameter("--bits goes with neither --window nor --channels; 12 bits are --window 0,4095.")
    try:
        ends = None if window is None else tuple(float(end) for end in window.split(","))
        chosen = None if channels is None else tuple(int(one) for one in channels.split(","))
    except ValueError as error:
        raise typer.BadParameter(
            f"--window wants two numbers such as 0,4000, and --channels one or three such as 3,2,1; got "
            f"'{window or channels}'."
        ) from error
    if ends is not None and len(ends) != 2:
        raise typer.BadParameter(f"--window wants two numbers such as 0,4000; got '{window}'.")
    try:
        return values_text(Values(None if ends is None else (ends[0], ends[1]), chosen))
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from error


def values_options(bits: int | str | None) -> list[str]:
    """The options that :func:`parse_values` makes this of, as on a command line.

    >>> values_options("window=0:4000;channels=3,2,1")
    ['--window', '0,4000', '--channels', '3,2,1']
    """
    if not isinstance(bits, str):
        return [] if bits is None else ["--bits", str(bits)]
    from vlmad_core.contracts.values import values_of

    values = values_of(bits)
    words = [] if values.window is None else ["--window", "{:.17g},{:.17g}".format(*values.window)]
    return words + ([] if values.channels is None else ["--channels", ",".join(map(str, values.channels))])
