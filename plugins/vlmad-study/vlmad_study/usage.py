"""How to use a method that was measured: its pipeline as a file, and the command that names that file."""

from __future__ import annotations

import shlex
from pathlib import Path

from vlmad_core.cli.options import values_options
from vlmad_core.errors import VlmadError
from vlmad_core.pipeline import PipelineSpec, assemble, save_recipe
from vlmad_core.registry import Registry, validate
from vlmad_study.ranking import Ranked

__all__ = ["command", "save_method"]


def save_method(one: Ranked, path: Path, registry: Registry | None = None) -> Path | None:
    """Write the very pipeline that was measured, with the plugins that it needs.

    Args:
        one: A method that was not trained; a trained one has its detector's folder.
        path: A ``.yaml`` file.
        registry: Where to look for parts.

    Returns:
        The path, or None where nothing was written.
    """
    if one.is_learned:
        return None
    try:
        spec = validate(PipelineSpec, one.rows.done[0]["spec"])
        return save_recipe(assemble(spec, registry=registry), path)
    except VlmadError:
        return None


def command(one: Ranked, recipe: Path | None, detector: Path | None, bits: int | str | None = None) -> str | None:
    """The command that uses a method on new images.

    Args:
        one: Which.
        recipe: The file of :func:`save_method`.
        detector: The folder of a trained method.
        bits: Of the values in 16-bit grey files, or a window and channels, as the study read them.

    Returns:
        The command, or None where neither is there.
    """
    if detector is not None:
        words = ["--detector", str(detector)]
    elif recipe is not None:
        words = ["--recipe", str(recipe)]
    else:
        return None
    row = one.rows.done[0]
    if row["prompts"] is not None:
        names = {row["class_name"] for row in one.rows.done}
        words += ["--class-name", names.pop() if len(names) == 1 else "CLASS_NAME"]
    words += values_options(bits)
    if one.shots:
        words += ["--normal", "NORMAL_IMAGES"]
    return shlex.join(["vlmad", "predict", "NEW_IMAGES", *words, "--out", "RESULTS"])
