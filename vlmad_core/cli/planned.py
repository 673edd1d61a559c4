"""From the options of ``vlmad benchmark`` to a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from vlmad_core.cli.options import parse_size
from vlmad_core.documents import parse_yaml
from vlmad_core.errors import ConfigError

if TYPE_CHECKING:
    from vlmad_core.benchmark.plan import BenchmarkPlan

__all__ = ["chosen", "methods", "names", "numbers", "sizes", "value"]


def chosen(path: Path | None, asked: Mapping[str, Any]) -> BenchmarkPlan:
    """The plan of a file, with the options of the command line in place of its own."""
    from vlmad_core.benchmark.plan import read_file, read_plan

    if path is None:
        if "data" not in asked or not {"methods", "grid"} & asked.keys():
            raise typer.BadParameter("give a plan, or at least --data FOLDER and --recipe NAME (or --detector FOLDER).")
        return read_plan(asked)
    content = dict(read_file(path))
    if {"methods", "grid"} & asked.keys():
        content.pop("methods", None)
        content.pop("grid", None)
    try:
        return read_plan({**content, **asked})
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def methods(
    recipes: Sequence[str],
    detectors: Sequence[str],
    extractors: Sequence[str],
    prompts: Sequence[str],
    qualities: Sequence[str] = (),
) -> dict[str, Any]:
    """Recipes as methods, or as a grid where parts or presets are chosen; detectors beside them."""
    if (extractors or prompts or qualities) and not recipes:
        raise typer.BadParameter("--quality, --extractor and --prompts are of a recipe; name it with --recipe.")
    named: list[Any] = [{"detector": folder} for folder in detectors]
    if not extractors and not prompts and not qualities:
        return {"methods": [*recipes, *named]}
    grid = {"recipe": recipes, "quality": qualities, "extractor": extractors, "prompts": prompts}
    return {"methods": named, "grid": grid}


def numbers(option: str, text: str | None) -> list[int] | None:
    """``0,1,4`` as a list."""
    if text is None:
        return None
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"{option} wants whole numbers such as 0,1,4; got '{text}'.") from None


def sizes(text: str | None) -> list[int | tuple[int, int]] | None:
    """``224,448x672`` as sides, or heights and widths."""
    if text is None:
        return None
    found = [parse_size(word.strip()) for word in text.split(",")]
    numbers = [size for size in found if not isinstance(size, str)]
    if len(numbers) < len(found):
        raise typer.BadParameter(
            "--image-size of a benchmark takes sides; give fit as an override of a method in a plan: "
            "{recipe: pocket, overrides: {image_size: fit}}."
        )
    return numbers


def value(option: str, text: str | None) -> Any:
    """A number, a word or a list, as YAML has them."""
    try:
        return None if text is None else parse_yaml(text, option)
    except ConfigError as error:
        raise typer.BadParameter(f"{option}: '{text}' is not a YAML value ({error})") from None


def names(pairs: Sequence[str]) -> dict[str, str]:
    """``CATEGORY=NAME`` as a mapping."""
    for pair in pairs:
        if "=" not in pair:
            raise typer.BadParameter(f"--class-name wants CATEGORY=NAME, such as PA_BRG01_RL=paper; got '{pair}'.")
    return {category: name for category, _, name in (pair.partition("=") for pair in pairs)}
