"""A table, written as Markdown, LaTeX, CSV or HTML; whatever its words hold, they stay words."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

__all__ = ["DASH", "MINUS", "Cell", "Table", "page"]

DASH, MINUS = "\u2013", "\u2212"


@dataclass(frozen=True)
class Cell:
    """A word or a number, and what must be said with it.

    Args:
        text: The word; None for a number.
        value: The number, in the unit of its column; None is shown as a dash.
        spread: Standard deviation, same unit.
        interval: Lowest and highest, same unit.
        strong: Shown bold.
        signed: A plus before what is above 0.
        notes: Sentences for the foot of the table.
    """

    text: str | None = None
    value: float | None = None
    spread: float | None = None
    interval: tuple[float, float] | None = None
    strong: bool = False
    signed: bool = False
    notes: tuple[str, ...] = ()

    def shown(self) -> str:
        """In plain letters, with one decimal; a real minus sign."""
        if self.text is not None:
            return " ".join(self.text.split())
        if self.value is None:
            return DASH
        shown = f"{self.value:{'+' if self.signed else ''}.1f}"
        if self.spread is not None:
            shown += f" ± {self.spread:.1f}"
        if self.interval is not None:
            shown += f" ({self.interval[0]:.1f} to {self.interval[1]:.1f})"
        return shown.replace("-", MINUS)


@dataclass(frozen=True)
class Table:
    """Cells under column heads.

    Args:
        columns: Heads.
        rows: Of as many cells each.
        labels: How many columns, from the left, say what a row is.
        caption: Sentences.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    labels: int
    caption: str

    @cached_property
    def notes(self) -> dict[str, str]:
        """Sentence to its letter, in reading order."""
        sentences = dict.fromkeys(note for row in self.rows for cell in row for note in cell.notes)
        return {sentence: _letter(i) for i, sentence in enumerate(sentences)}

    def plain(self) -> list[list[str]]:
        """What each cell shows, with the letters of its notes in brackets; for a terminal."""
        return [[cell.shown() + (f" [{self._marks(cell)}]" if cell.notes else "") for cell in row] for row in self.rows]

    def markdown(self) -> str:
        """As GitHub renders it: caption, table, notes."""

        def cell(one: Cell) -> str:
            words = _markdown(one.shown())
            words = f"**{words}**" if one.strong else words
            return words + (f" <sup>{self._marks(one)}</sup>" if one.notes else "")

        rule = ["---"] * self.labels + ["---:"] * (len(self.columns) - self.labels)
        lines = [[_markdown(name) for name in self.columns], rule, *([cell(one) for one in row] for row in self.rows)]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        notes = "\n".join(f"- <sup>{letter}</sup> {_markdown(note)}" for note, letter in self.notes.items())
        return "\n\n".join(part for part in (_markdown(self.caption), table, notes) if part) + "\n"

    def latex(self) -> str:
        """A floating table, for documents that use the package booktabs."""

        def cell(one: Cell) -> str:
            words = _latex(one.shown())
            words = f"\\textbf{{{words}}}" if one.strong else words
            return words + (f"\\textsuperscript{{{self._marks(one)}}}" if one.notes else "")

        form = "l" * self.labels + "r" * (len(self.columns) - self.labels)
        lines = [
            "\\begin{table}",
            "\\centering",
            f"\\caption{{{_latex(self.caption)}}}",
            f"\\begin{{tabular}}{{{form}}}",
        ]
        lines += ["\\toprule", f"{' & '.join(map(_latex, self.columns))} \\\\", "\\midrule"]
        lines += [f"{' & '.join(map(cell, row))} \\\\" for row in self.rows]
        lines += ["\\bottomrule", "\\end{tabular}"]
        if self.notes:
            lines += ["\\par\\smallskip\\raggedright\\footnotesize"]
            lines += [f"\\textsuperscript{{{letter}}} {_latex(note)}\\par" for note, letter in self.notes.items()]
        return "\n".join([*lines, "\\end{table}"]) + "\n"

    def csv(self) -> str:
        """Numbers as they are, spreads and intervals in columns of their own, notes and caption in the last two."""
        heads, takes = list(self.columns[: self.labels]), [_word(i) for i in range(self.labels)]
        for i, name in enumerate(self.columns[self.labels :], self.labels):
            column = [row[i] for row in self.rows]
            if all(cell.text is not None for cell in column):
                heads, takes = [*heads, name], [*takes, _word(i)]
                continue
            heads, takes = [*heads, name], [*takes, _number(i, "value")]
            if any(cell.spread is not None for cell in column):
                heads, takes = [*heads, f"{name} std"], [*takes, _number(i, "spread")]
            if any(cell.interval is not None for cell in column):
                heads, takes = [*heads, f"{name} low", f"{name} high"], [*takes, _end(i, 0), _end(i, 1)]
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*heads, "notes", "about"])
        for row in self.rows:
            notes = " ".join(dict.fromkeys(note for cell in row for note in cell.notes))
            writer.writerow([*(take(row) for take in takes), notes, self.caption])
        return text.getvalue()

    def html(self) -> str:
        """A figure to put into a page; :func:`page` makes a page of several."""

        def cell(one: Cell, i: int) -> str:
            words = html.escape(one.shown())
            words = f"<strong>{words}</strong>" if one.strong else words
            words += f"<sup>{self._marks(one)}</sup>" if one.notes else ""
            if i < self.labels:
                return f'<th scope="row">{words}</th>'
            return f'<td class="number">{words}</td>'

        number = ' class="number"'
        heads = "".join(
            f'<th scope="col"{"" if i < self.labels else number}>{html.escape(name)}</th>'
            for i, name in enumerate(self.columns)
        )
        body = "\n".join(f"<tr>{''.join(cell(one, i) for i, one in enumerate(row))}</tr>" for row in self.rows)
        notes = "".join(f"<li><sup>{letter}</sup> {html.escape(note)}</li>" for note, letter in self.notes.items())
        return (
            # A wide table scrolls by itself, also with the keys.
            '<figure class="results"><div class="scroll" role="region" tabindex="0" aria-label="Table of results">\n'
            f"<table>\n<caption>{html.escape(self.caption)}</caption>\n"
            f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>\n"
            + (f'<ul class="notes">{notes}</ul>\n' if notes else "")
            + "</figure>\n"
        )

    def _marks(self, cell: Cell) -> str:
        order = list(self.notes)
        return ",".join(self.notes[note] for note in sorted(cell.notes, key=order.index))


STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
figure.results { margin: 0 0 2.5rem; }
figure.results .scroll { overflow-x: auto; }
figure.results table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
figure.results caption { text-align: left; padding-bottom: .6rem; max-width: 60rem; }
figure.results th, figure.results td { padding: .3rem .8rem .3rem 0; text-align: left; white-space: nowrap; }
figure.results .number { text-align: right; }
figure.results thead th { border-block: 2px solid; border-bottom-width: 1px; }
figure.results tbody tr:last-child > * { border-bottom: 2px solid; }
figure.results tbody th { font-weight: inherit; }
figure.results sup { line-height: 0; margin-left: .15em; }
figure.results .notes { list-style: none; padding: 0; font-size: .875rem; max-width: 60rem; }
"""
"""For pages that hold such figures; light and dark."""


def page(*tables: Table, title: str = "Results") -> str:
    """A whole page of tables that needs no other file."""
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{html.escape(title)}</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{html.escape(title)}</h1>\n"
        f"{''.join(table.html() for table in tables)}</main>\n</body>\n</html>\n"
    )


def _letter(number: int) -> str:
    """``a`` to ``z``, then ``aa``."""
    before, last = divmod(number, 26)
    return (_letter(before - 1) if before else "") + chr(ord("a") + last)


def _word(i: int) -> Callable[[tuple[Cell, ...]], str]:
    return lambda row: row[i].shown()


def _number(i: int, what: str) -> Callable[[tuple[Cell, ...]], str]:
    def take(row: tuple[Cell, ...]) -> str:
        value = getattr(row[i], what)
        return "" if value is None else repr(round(float(value), 10))

    return take


def _end(i: int, end: int) -> Callable[[tuple[Cell, ...]], str]:
    def take(row: tuple[Cell, ...]) -> str:
        interval = row[i].interval
        return "" if interval is None else repr(round(float(interval[end]), 10))

    return take


def _markdown(text: str) -> str:
    """Backslashes before what would mean something; an underscore inside a word means nothing."""
    text = html.escape(" ".join(text.split()), quote=False)
    return re.sub(r"([\\`*|\[\]~$]|(?<!\w)_|_(?!\w)|^[#+-](?=\s))", r"\\\1", text)


_LATEX = {
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    "\\": "\\textbackslash{}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "<": "\\textless{}",
    ">": "\\textgreater{}",
    "|": "\\textbar{}",
    '"': "\\textquotedbl{}",
    "[": "{[}",  # after the end of a row it would be an option
    "±": "$\\pm$",
    MINUS: "$-$",
    DASH: "--",
    "\u00d7": "$\\times$",
}


def _latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in " ".join(text.split()))
