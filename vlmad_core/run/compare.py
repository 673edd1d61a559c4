"""The same images as several runs see them, side by side: photograph, then the heat and the score of each run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from vlmad_core.contracts.images import open_image
from vlmad_core.errors import ConfigError
from vlmad_core.run.overlay import Scale, draw_legend, font, panel, picture_box, printable, scale_of
from vlmad_core.run.results import Result, read_results
from vlmad_core.run.settings import read_run_record

__all__ = ["comparison"]

_CELL, _GAP, _GUTTER, _MARGIN, _LINE, _LEGEND = 200, 8, 40, 24, 30, 92
_INK, _FAINT = (238, 238, 240), (160, 160, 168)


def comparison(
    runs: Mapping[str, str | Path], groups: Mapping[str, Sequence[str]], out: str | Path, *, title: str = ""
) -> Path:
    """Draw one row an image and one block of columns a group, such as defective beside functional.

    Args:
        runs: What to call each run, to the folder where :func:`vlmad_core.run.run` wrote it, with overlays.
        groups: What to call each group, to the paths of its images as the results have them.
        out: The picture to write; its suffix says which kind.
        title: Said above everything.

    Raises:
        ConfigError: A folder holds no run, or an image of a group has no overlay in it.
    """
    seen = [_seen(Path(folder), [path for paths in groups.values() for path in paths]) for folder in runs.values()]
    block = (1 + len(runs)) * (_CELL + _GAP) - _GAP
    width = 2 * _MARGIN + len(groups) * (block + _GUTTER) - _GUTTER
    top = _MARGIN + (2 if title else 0) * _LINE
    rows = max(map(len, groups.values()))
    floor = top + 2 * _LINE + rows * (_CELL + _LINE + _GAP)
    bits = next((_bits(Path(folder)) for folder in runs.values()), None)
    paper = panel(width, floor + _LINE + _LEGEND)
    pen = ImageDraw.Draw(paper)
    pen.text((_MARGIN, _MARGIN), printable(title), _INK, font(960))
    for i, (group, paths) in enumerate(groups.items()):
        left = _MARGIN + i * (block + _GUTTER)
        pen.text((left, top), printable(group), _INK, font(800))
        for j, head in enumerate(["photograph", *runs]):
            pen.text((left + j * (_CELL + _GAP), top + _LINE), printable(head), _FAINT, font(600))
        for row, path in enumerate(paths):
            y = top + 2 * _LINE + row * (_CELL + _LINE + _GAP)
            _paste(paper, (left, y), open_image(path, bits=bits))
            for j, (folder, found) in enumerate(zip(runs.values(), seen, strict=True), start=1):
                x, result = left + j * (_CELL + _GAP), found[path]
                with Image.open(Path(folder) / (result.overlay or ""), formats=["JPEG"]) as overlay:
                    _paste(paper, (x, y), overlay.crop(picture_box(overlay.size)))
                pen.text((x, y + _CELL + 5), f"score {result.score:.3f}", _INK, font(600))
    share = (width - 2 * _MARGIN + _GUTTER) // len(runs)
    for i, (name, folder) in enumerate(runs.items()):
        left = _MARGIN + i * share
        pen.text((left, floor), f"colours of '{printable(name)}'", _FAINT, font(600))
        box = (left - _MARGIN // 2, floor + _LINE, left + share - _GUTTER, floor + _LINE + _LEGEND - _GAP)
        draw_legend(paper, box, _scale(Path(folder)))
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    paper.save(out)
    return out


def _seen(folder: Path, paths: Sequence[str]) -> dict[str, Result]:
    found = {result.path: result for result in read_results(folder) if result.overlay and result.score is not None}
    for path in paths:
        if path not in found:
            raise ConfigError(f"{folder}: holds no overlay of {path}; judge it there, with overlays.")
    return found


def _scale(folder: Path) -> Scale | None:
    record = read_run_record(folder)
    if record is None:
        raise ConfigError(f"{folder}: holds no run (run.json is missing).")
    return scale_of(record)


def _paste(paper: Image.Image, corner: tuple[int, int], picture: Image.Image) -> None:
    share = _CELL / max(picture.size)
    size = max(1, round(picture.width * share)), max(1, round(picture.height * share))
    picture = picture.resize(size, Image.Resampling.LANCZOS)
    paper.paste(picture, (corner[0] + (_CELL - size[0]) // 2, corner[1] + (_CELL - size[1]) // 2))


def _bits(folder: Path) -> int | str | None:
    """Of the values in 16-bit grey files, as the run read them."""
    bits: int | str | None = ((read_run_record(folder) or {}).get("settings") or {}).get("bits")
    return bits
