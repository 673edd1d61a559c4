"""A report as Markdown, with its pictures beside it."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from vlmad_study.document import Block, Bullets, Code, Fold, Heading, Photos, Picture, Shown, Text

__all__ = ["as_markdown"]

_COLUMNS = 4


def as_markdown(blocks: Sequence[Block], folder: Path) -> str:
    """The whole page.

    Args:
        blocks: Of the report.
        folder: Where it will lie; paths of pictures are relative to it.
    """
    return "\n\n".join(part for block in blocks for part in _block(block, folder)) + "\n"


def _block(block: Block, folder: Path) -> Iterator[str]:
    match block:
        case Heading(text, level):
            yield f"{'#' * level} {_inline(text)}"
        case Text(text):
            yield _inline(text)
        case Bullets(items):
            yield "\n".join(f"- {_inline(item)}" for item in items)
        case Code(text):
            yield f"```\n{text}\n```"
        case Shown(table):
            yield table.markdown().strip()
        case Picture(path, alt):
            yield f"![{_plain(alt)}]({_link(path, folder)})"
        case Photos(title, photos):
            yield f"**{_inline(title)}**"
            for start in range(0, len(photos), _COLUMNS):
                some = photos[start : start + _COLUMNS]
                cells = [f"![{_plain(one.caption)}]({_link(one.path, folder)})" for one in some]
                told = [_plain(one.caption).replace("|", "\\|") for one in some]
                lines = [f"| {' | '.join(row)} |" for row in (cells, ["---"] * len(some), told)]
                yield "\n".join(lines)
        case Fold(title, inner):
            yield f"### {_inline(title)}"
            for one in inner:
                yield from _block(one, folder)


def _link(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix().replace(" ", "%20")


def _inline(text: str) -> str:
    """What is between backticks stays as it is; stars in pairs are meant."""
    parts = re.split(r"(`[^`]*`|\*\*)", " ".join(text.split()))
    return "".join(part if part.startswith("`") or part == "**" else _plain(part) for part in parts)


def _plain(text: str) -> str:
    return re.sub(r"([\\*\[\]~$]|(?<!\w)_|_(?!\w))", r"\\\1", html.escape(text, quote=False))
