"""A table as Markdown, LaTeX, CSV or HTML; text stays text in each of them, whatever characters it holds."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

__all__ = ["DASH", "MINUS", "Cell", "Table", "page", "printable"]

DASH, MINUS = "\u2013", "\u2212"


@dataclass(frozen=True)
class Cell:
    """Text or a number, and the notes that belong to it.

    Args:
        text: The text; None for a number.
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
        """As plain text, with one decimal; a real minus sign."""
        if self.text is not None:
            return printable(self.text)
        if self.value is None:
            return DASH
        shown = f"{self.value:{'+' if self.signed else ''}.1f}"
        if self.spread is not None:
            shown += f" ± {self.spread:.1f}"
        if self.interval is not None:
            shown += f" ({_interval(*self.interval)})"
        return shown.replace("-", MINUS)


@dataclass(frozen=True)
class Table:
    """Cells under column heads.

    Args:
        columns: Heads.
        rows: Of as many cells each.
        labels: How many columns, from the left, name the row.
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
        """The text of each cell, with the letters of its notes in brackets; for a terminal."""
        return [[cell.shown() + (f" [{self._marks(cell)}]" if cell.notes else "") for cell in row] for row in self.rows]

    def markdown(self) -> str:
        """As GitHub renders it: caption, table, notes."""

        def cell(one: Cell) -> str:
            text = _markdown(one.shown())
            text = f"**{text}**" if one.strong else text
            return text + (f" <sup>{self._marks(one)}</sup>" if one.notes else "")

        rule = ["---"] * self.labels + ["---:"] * (len(self.columns) - self.labels)
        lines = [[_markdown(name) for name in self.columns], rule, *([cell(one) for one in row] for row in self.rows)]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        notes = "\n".join(f"- <sup>{letter}</sup> {_markdown(note)}" for note, letter in self.notes.items())
        return "\n\n".join(part for part in (_markdown(self.caption), table, notes) if part) + "\n"

    def latex(self) -> str:
        """A floating table, for documents that use the package booktabs."""

        def cell(one: Cell) -> str:
            text = _latex(one.shown())
            text = f"\\textbf{{{text}}}" if one.strong else text
            return text + (f"\\textsuperscript{{{self._marks(one)}}}" if one.notes else "")

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
        """Numbers as they are, spreads and intervals in columns of their own, notes and caption in the last two.

        Text that a spreadsheet would take for a formula begins with an apostrophe.
        """
        heads, takes = list(self.columns[: self.labels]), [_text(i) for i in range(self.labels)]
        for i, name in enumerate(self.columns[self.labels :], self.labels):
            column = [row[i] for row in self.rows]
            if all(cell.text is not None for cell in column):
                heads, takes = [*heads, name], [*takes, _text(i)]
                continue
            heads, takes = [*heads, name], [*takes, _number(i, "value")]
            if any(cell.spread is not None for cell in column):
                heads, takes = [*heads, f"{name} std"], [*takes, _number(i, "spread")]
            if any(cell.interval is not None for cell in column):
                heads, takes = [*heads, f"{name} low", f"{name} high"], [*takes, _end(i, 0), _end(i, 1)]
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*map(_plain_text, heads), "notes", "about"])
        for row in self.rows:
            notes = " ".join(dict.fromkeys(note for cell in row for note in cell.notes))
            writer.writerow([*(take(row) for take in takes), _plain_text(notes), _plain_text(self.caption)])
        return text.getvalue()

    def html(self) -> str:
        """A figure to put into a page; :func:`page` makes a page of several."""

        def cell(one: Cell, i: int) -> str:
            text = _html(one.shown())
            text = f"<strong>{text}</strong>" if one.strong else text
            text += f"<sup>{self._marks(one)}</sup>" if one.notes else ""
            if i < self.labels:
                return f'<th scope="row">{text}</th>'
            return f'<td class="number">{text}</td>'

        number = ' class="number"'
        heads = "".join(
            f'<th scope="col"{"" if i < self.labels else number}>{_html(name)}</th>'
            for i, name in enumerate(self.columns)
        )
        body = "\n".join(f"<tr>{''.join(cell(one, i) for i, one in enumerate(row))}</tr>" for row in self.rows)
        notes = "".join(f"<li><sup>{letter}</sup> {_html(note)}</li>" for note, letter in self.notes.items())
        return (
            # A wide table scrolls by itself, also with the keys.
            '<figure class="results"><div class="scroll" role="region" tabindex="0" aria-label="Table of results">\n'
            f"<table>\n<caption>{_html(self.caption)}</caption>\n"
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
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{_html(title)}</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{_html(title)}</h1>\n"
        f"{''.join(table.html() for table in tables)}</main>\n</body>\n</html>\n"
    )


def printable(text: str) -> str:
    r"""One line that any file and terminal can hold: bytes of a name that is not UTF-8 become ``\xff``.

    >>> printable("a\x1b[1m \udcff")
    'a?[1m \\xff'
    """
    line = (letter if letter.isprintable() or "\udc80" <= letter <= "\udcff" else "?" for letter in _line(text))
    return "".join(line).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _line(text: str) -> str:
    return " ".join(text.split())


def _html(text: str) -> str:
    return html.escape(printable(text))


def _plain_text(text: str) -> str:
    """Never a formula (OWASP, CSV injection): what begins like one gets an apostrophe before it."""
    text = printable(text)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def _interval(low: float, high: float) -> str:
    """With as many decimals as its ends need to differ: an interval is never shown as a point."""
    for decimals in range(1, 7):
        ends = f"{low:.{decimals}f}", f"{high:.{decimals}f}"
        if ends[0] != ends[1] or low == high:
            break
    return " to ".join(ends)


def _letter(number: int) -> str:
    """``a`` to ``z``, then ``aa``."""
    before, last = divmod(number, 26)
    return (_letter(before - 1) if before else "") + chr(ord("a") + last)


def _text(i: int) -> Callable[[tuple[Cell, ...]], str]:
    return lambda row: _plain_text(row[i].shown())


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
    text = html.escape(printable(text), quote=False)
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
    return "".join(_LATEX.get(letter, letter) for letter in printable(text))
