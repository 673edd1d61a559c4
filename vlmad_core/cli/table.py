"""Tables as plain text, without importing rich: `vlmad list` prints one and should cost nothing."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from unicodedata import combining, east_asian_width

__all__ = ["grid_text", "table_text"]

_GAP = "  "
_LEAST = 10
"""A column is never made narrower to fit."""


def table_text(columns: Sequence[str], rows: Iterable[Sequence[str]], width: int, right: Sequence[str] = ()) -> str:
    """A header, a rule and rows; cells are wrapped so that lines fit, and the first column never is.

    Args:
        columns: Headers.
        rows: Cells of printable text.
        width: Of a line, in characters.
        right: Columns that hold numbers.

    >>> print(table_text(["name", "count"], [["nuts", "12"], ["bolts", "3"]], 80, ["count"]), end="")
    name   count
    ────────────
    nuts      12
    bolts      3
    """
    cells = [list(columns), *([*row] for row in rows)]
    widths = _fitted([max(map(_length, column)) for column in zip(*cells, strict=True)], width)
    lines = [*_lines(cells[0], widths, columns, right), "─" * (sum(widths) + len(_GAP) * (len(widths) - 1))]
    for row in cells[1:]:
        lines += _lines(row, widths, columns, right)
    return "\n".join(lines) + "\n"


def grid_text(rows: Sequence[Sequence[str]], width: int) -> str:
    """Rows without a header; see :func:`table_text`."""
    widths = _fitted([max(map(_length, column)) for column in zip(*rows, strict=True)], width)
    names = [""] * len(widths)
    return "".join(f"{line}\n" for row in rows for line in _lines(row, widths, names, ()))


def _fitted(widths: list[int], width: int) -> list[int]:
    """Widths whose sum fits a line, taken from the widest columns but the first."""
    over = sum(widths) + len(_GAP) * (len(widths) - 1) - width
    while over > 0:
        widest = max(range(1, len(widths)), key=widths.__getitem__, default=0)
        if widest == 0 or widths[widest] <= _LEAST:
            break
        widths[widest] -= 1
        over -= 1
    return widths


def _lines(row: Sequence[str], widths: Sequence[int], columns: Sequence[str], right: Sequence[str]) -> Iterator[str]:
    wrapped = [_wrapped(cell, width) for cell, width in zip(row, widths, strict=True)]
    for i in range(max(map(len, wrapped))):
        parts = []
        for lines, width, name in zip(wrapped, widths, columns, strict=True):
            text = lines[i] if i < len(lines) else ""
            blank = " " * (width - _length(text))
            parts.append(blank + text if name in right else text + blank)
        yield _GAP.join(parts).rstrip()


def _wrapped(cell: str, width: int) -> list[str]:
    return [line for part in cell.splitlines() for line in textwrap.wrap(part, width) or [""]] or [""]


def _length(text: str) -> int:
    """Columns of a terminal."""
    if text.isascii():
        return len(text)
    return sum(0 if combining(letter) else 1 + (east_asian_width(letter) in "WF") for letter in text)
