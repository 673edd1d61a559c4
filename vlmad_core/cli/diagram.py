"""The drawing that ``vlmad show RECIPE --diagram`` makes."""

from __future__ import annotations

import sys
from pathlib import Path

from vlmad_core.cli.choice import Choice
from vlmad_core.cli.terminal import note

__all__ = ["draw_recipe"]


def draw_recipe(recipe: str, out: Path | None) -> None:
    """Build a recipe, send an image of noise through it, and draw the data flow with all shapes, as Mermaid.

    Args:
        recipe: Its name, or a pipeline file.
        out: File for the drawing; None: stdout.
    """
    from vlmad_core.cli.compose import build_stand_in
    from vlmad_core.files import write_whole
    from vlmad_core.pipeline.diagram import flow_of, mermaid

    _, pipeline = build_stand_in(Choice(recipe=recipe))
    text = mermaid(flow_of(pipeline))
    if out is None:
        sys.stdout.write(text)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, text.encode())
    note(f"drawn: {out}")
