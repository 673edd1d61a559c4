"""A contact sheet: the most and the least anomalous images of a run in one picture, with one scale for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import nlargest, nsmallest
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from vlmad_core.errors import ConfigError
from vlmad_core.run.overlay import draw_legend, font, panel, picture_box, printable, scale_of
from vlmad_core.run.results import Result, read_results
from vlmad_core.run.settings import read_run_record

__all__ = ["SHEET", "contact_sheet"]

SHEET = "sheet.jpg"
"""Where `vlmad predict --sheet` puts it, in the folder of the run."""

_CELL, _GAP, _LINE, _LEGEND = 240, 12, 40, 88
_INK, _FAINT = (238, 238, 240), (160, 160, 168)


def contact_sheet(
    folder: str | Path,
    out: str | Path,
    *,
    count: int = 12,
    columns: int = 6,
    labels: Mapping[str, str] | None = None,
) -> Path:
    """Draw the overlays with the highest and the lowest scores.

    Args:
        folder: Where :func:`vlmad_core.run.run` wrote, with overlays.
        out: The picture to write; its suffix says which kind.
        count: Images from each end.
        columns: Images in a row.
        labels: Path, as in the results, to what is known of the image, such as ``"defective"``.

    Raises:
        ConfigError: No overlays are there.
    """
    folder, out = Path(folder), Path(out)
    record = read_run_record(folder)
    number = sum(1 for result in read_results(folder) if result.overlay)
    if record is None or not number:
        raise ConfigError(f"{folder}: holds no overlays; run `vlmad predict` with --overlays first.")
    ends = min(count, (number + 1) // 2), min(count, number // 2)  # no image at both ends
    top = nlargest(ends[0], _drawn(folder), key=_score)
    bottom = nsmallest(ends[1], _drawn(folder), key=_score)
    rows = [("highest scores", top)] + [("lowest scores", bottom)] * bool(bottom)
    columns = min(columns, max(len(top), 3))
    lines = [-(-len(results) // columns) for _, results in rows]
    width = _GAP + columns * (_CELL + _GAP)
    paper = panel(width, sum(_LINE + n * (_CELL + _LINE + _GAP) for n in lines) + _LEGEND)
    y = 0
    for (title, results), n in zip(rows, lines, strict=True):
        ImageDraw.Draw(paper).text((_GAP, y + _LINE / 2), title, _INK, font(720), anchor="lm")
        _draw_rows(paper, y + _LINE, folder, results, columns, labels or {})
        y += _LINE + n * (_CELL + _LINE + _GAP)
    draw_legend(paper, (0, y, min(width, 800), y + _LEGEND), scale_of(record))
    out.parent.mkdir(parents=True, exist_ok=True)
    paper.save(out)
    return out


def _drawn(folder: Path) -> Any:
    return (result for result in read_results(folder) if result.overlay)


def _score(result: Result) -> float:
    return result.score or 0.0


def _draw_rows(
    paper: Image.Image, top: int, folder: Path, results: Sequence[Result], columns: int, labels: Mapping[str, str]
) -> None:
    pen, letters = ImageDraw.Draw(paper), font(600)
    for i, result in enumerate(results):
        x, y = _GAP + i % columns * (_CELL + _GAP), top + i // columns * (_CELL + _LINE + _GAP)
        with Image.open(folder / (result.overlay or ""), formats=["JPEG"]) as overlay:
            picture = overlay.crop(picture_box(overlay.size))
        picture.thumbnail((_CELL, _CELL), Image.Resampling.LANCZOS)
        paper.paste(picture, (x + (_CELL - picture.width) // 2, y + (_CELL - picture.height) // 2))
        pen.text((x, y + _CELL + 6), f"{_score(result):.4g}", _INK, letters)
        pen.text((x + _CELL, y + _CELL + 6), printable(labels.get(result.path, "")), _FAINT, letters, anchor="ra")
