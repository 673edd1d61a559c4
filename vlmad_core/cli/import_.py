"""``vlmad import``: a checkpoint that a paper's authors published becomes a detector in safetensors."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from vlmad_core.cli import options
from vlmad_core.cli.detector import Choice, build_unfitted
from vlmad_core.cli.names import complete

__all__ = ["import_command"]


def import_command(
    file: Annotated[Path, typer.Argument(help="The checkpoint, such as mvtec_pretrained.pth; nothing in it is run.")],
    recipe: Annotated[
        str,
        typer.Option("--recipe", "-r", help="Whose checkpoint it is.", autocompletion=complete("recipe")),
    ],
    trained_on: Annotated[
        str,
        typer.Option(
            "--trained-on", help="Data set that it was trained on, such as mvtec-ad: an evaluation on it is marked."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", file_okay=False, help="Folder of the detector; made if needed.")],
    epoch: Annotated[int | None, typer.Option(min=0, help="That it was saved after, if known.")] = None,
    backbone: options.BackboneName = None,
    extractor: options.ExtractorName = None,
    prompts: options.PromptsName = None,
    scorer: options.ScorerNames = None,
    weights: options.Weights = None,
    settings: options.Settings = None,
    quiet: options.Quiet = False,
) -> None:
    """Import a published checkpoint; `vlmad predict --detector OUT IMAGES` uses it."""
    from vlmad_core.training.published import find_reader, import_checkpoint

    find_reader(recipe)  # refused before the backbone is built
    if not file.is_file():
        raise typer.BadParameter(f"{file}: no such file.", param_hint="FILE")
    choice = Choice(
        recipe=recipe,
        backbone=backbone,
        extractor=extractor,
        prompts=prompts,
        scorers=scorer or (),
        weights=weights,
        settings=settings or (),
    )
    detector = build_unfitted(choice)
    folder = import_checkpoint(detector, file, recipe=recipe, trained_on=trained_on, epoch=epoch).save(out)
    if not quiet:
        sys.stdout.write(f"{detector.summary()}\n")
        sys.stdout.write(f"saved      {folder}\n")
