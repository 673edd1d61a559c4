"""``vlmad captions``: the captions file of a product."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from vlmad_core.cli.opinions import Judge, JudgeSetting, make_opinion
from vlmad_core.cli.terminal import counted, note, shown

__all__ = ["captions_command"]


def captions_command(
    images: Annotated[list[str], typer.Argument(help="Normal images: files, folders, patterns.")],
    out: Annotated[Path, typer.Option("--out", "-o", dir_okay=False, help="The file, such as captions.yaml.")],
    judge: Judge = None,
    judge_set: JudgeSetting = None,
    max_images: Annotated[int, typer.Option(min=1, max=16, help="Images that are sent for a draft.")] = 3,
    class_name: Annotated[str, typer.Option("--class-name", "-c", help="What the images show.")] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
) -> None:
    """Make the captions file of a product: an empty form, or with --judge a draft by a language model to correct."""
    from vlmad_core.contracts.images import find_images
    from vlmad_core.errors import ConfigError
    from vlmad_core.files import write_whole
    from vlmad_fine_grained.captions import QUESTION, SCHEMA, Captions, draft_of, form_of

    if out.exists() and not overwrite:
        raise ConfigError(f"{out}: is there already; --overwrite replaces it.")
    found = find_images(images)
    second = make_opinion(judge, judge_set)
    captions = Captions(class_name=class_name)
    if second is not None:
        chosen = [Path(path) for path in found[:max_images]]
        note(f"{counted(len(chosen), 'normal image')} of {len(found)} are described. {second.notice}")
        captions = draft_of(second.describe(chosen, QUESTION, SCHEMA))
        captions = captions.model_copy(update={"class_name": class_name or captions.class_name})
    write_whole(out, form_of(captions).encode())
    what = "an empty form" if second is None else "a draft; read and correct it"
    sys.stdout.write(f"{shown(str(out))}: {what}\n")
