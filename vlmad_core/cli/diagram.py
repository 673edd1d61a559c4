"""The drawing that ``vlmad show RECIPE --diagram`` makes."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Literal

import typer

from vlmad_core.cli.detector import Choice
from vlmad_core.cli.terminal import note

__all__ = ["draw_recipe"]


def draw_recipe(recipe: str, form: Literal["mermaid", "png"], out: Path | None) -> None:
    """Build a recipe, send one picture of noise through it, and draw what flows.

    Args:
        recipe: Its name, or a pipeline file.
        form: Text for Markdown, or a picture.
        out: A file; None: text goes to stdout.

    Raises:
        typer.BadParameter: A picture and no file for it.
    """
    if form == "png" and out is None:
        raise typer.BadParameter("a picture needs a file: say --out FILE.png.")
    from vlmad_core.cli.compose import build_stand_in
    from vlmad_core.diagram import flow_of, mermaid
    from vlmad_core.files import write_whole

    _, pipeline = build_stand_in(Choice(recipe=recipe))
    flow = flow_of(pipeline)
    if form == "mermaid" and out is None:
        sys.stdout.write(mermaid(flow))
        return
    assert out is not None
    if form == "mermaid":
        data = mermaid(flow).encode()
    else:
        from vlmad_core.diagram_picture import draw

        held = io.BytesIO()
        draw(flow, recipe).save(held, "PNG", optimize=True)
        data = held.getvalue()
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, data)
    note(f"drawn: {out}")
