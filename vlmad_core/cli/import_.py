"""``vlmad import``: a checkpoint that a paper's authors published becomes a detector in safetensors."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from vlmad_core.cli import options
from vlmad_core.cli.choice import Choice, takes_choice
from vlmad_core.cli.detector import build_unfitted

__all__ = ["import_command"]


@takes_choice("bits", recipe_required=True)
def import_command(
    file: Annotated[Path, typer.Argument(help="The checkpoint, such as mvtec_pretrained.pth; nothing in it is run.")],
    choice: Choice,
    trained_on: Annotated[
        str,
        typer.Option(
            "--trained-on", help="Data set that it was trained on, such as mvtec-ad: an evaluation on it is marked."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", file_okay=False, help="Folder of the detector; made if needed.")],
    epoch: Annotated[int | None, typer.Option(min=0, help="Epoch after which it was saved, if known.")] = None,
    quiet: options.Quiet = False,
) -> None:
    """Import a published checkpoint; `vlmad predict --detector OUT IMAGES` uses it."""
    from vlmad_core.training.published import find_reader, import_checkpoint

    assert choice.recipe is not None
    find_reader(choice.recipe)  # refused before the backbone is built
    if not file.is_file():
        raise typer.BadParameter(f"{file}: no such file.", param_hint="FILE")
    detector = build_unfitted(choice)
    folder = import_checkpoint(detector, file, recipe=choice.recipe, trained_on=trained_on, epoch=epoch).save(out)
    if not quiet:
        sys.stdout.write(f"{detector.summary()}\n")
        sys.stdout.write(f"saved      {folder}\n")
