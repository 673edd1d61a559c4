"""What a person reads: tables on stdout, sentences on stderr. rich is imported only where it is needed."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import cache
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any, TextIO

from vlmad_core.cli.table import grid_text, table_text

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "complain",
    "console",
    "counted",
    "grid",
    "note",
    "print_json",
    "safe",
    "show_warning",
    "shown",
    "stdout_to_stderr",
    "table",
]

verbose = False
"""Whether errors are shown with their traceback."""

_PIPE_WIDTH = 160


@cache
def console(*, stderr: bool = False) -> Console:
    """The console of a stream; wide where it is no terminal, so that tables can be searched."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, width=None if stream.isatty() else _PIPE_WIDTH)


def shown(path: str) -> str:
    """A path that cannot disturb the terminal: what is not printable becomes a question mark."""
    return "".join(letter if letter.isprintable() else "?" for letter in path)


def safe(text: str) -> str:
    """A text of several lines that cannot disturb the terminal; see :func:`shown`."""
    return "\n".join(map(shown, text.split("\n")))


def _say(text: str, style: str) -> None:
    from rich.text import Text

    line = Text("vlmad: ", style=style)
    line.append("\n".join(map(shown, text.splitlines())), style=style if style == "red" else "")
    console(stderr=True).print(line, soft_wrap=True)


def counted(number: int, word: str) -> str:
    """``1 problem``, ``2 problems``; a word that ends in s stays as it is."""
    return f"{number} {word}" if number == 1 or word.endswith("s") else f"{number} {word}s"


def complain(text: str) -> None:
    """An error, on stderr."""
    _say(text, "red")


def note(text: str) -> None:
    """Something worth knowing, on stderr."""
    _say(text, "yellow")


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """What a plugin prints while it is imported must not end up in ``vlmad list --json``, by whatever way it prints."""
    try:
        sys.stdout.flush()
        kept = os.dup(1)
        os.dup2(2, 1)
    except (OSError, AttributeError, ValueError):  # there is no such file: nothing can be spoilt
        kept = -1
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        if kept >= 0:
            os.dup2(kept, 1)
            os.close(kept)


def show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """A warning as one line, in place of Python's two."""
    note(" ".join(str(message).split()))


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[str] = ()) -> None:
    """A table on stdout; columns named in ``right`` hold numbers."""
    sys.stdout.write(table_text(columns, [[safe(cell) for cell in row] for row in rows], _width(), right))


def grid(rows: Sequence[Sequence[str]]) -> None:
    """Rows on stdout, without a header."""
    sys.stdout.write(grid_text([[safe(cell) for cell in row] for row in rows], _width()))


def _width() -> int:
    return get_terminal_size().columns if sys.stdout.isatty() else _PIPE_WIDTH
