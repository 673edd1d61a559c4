"""What `predict` tells while it works and when it is done: a bar, JSON lines, or a table of the highest scores."""

from __future__ import annotations

import heapq
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vlmad_core.cli import terminal

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from vlmad_core.run.results import Result

__all__ = ["Report", "bar"]

_ROWS = 20


@contextmanager
def bar(what: str, total: int, wanted: bool | None) -> Iterator[Bar]:
    """A progress bar with the time that is left, on stderr; by default only on a terminal."""
    if not (sys.stderr.isatty() if wanted is None else wanted):
        yield Bar(None, None)
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = terminal.console(stderr=True)
    with Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=console) as progress:
        yield Bar(progress, progress.add_task(what, total=total))


class Bar:
    """A progress bar, or nothing."""

    def __init__(self, progress: Progress | None, task: TaskID | None) -> None:
        self._progress, self._task = progress, task

    def advance(self, count: int = 1) -> None:
        """So many more are done."""
        if self._progress is not None and self._task is not None:
            self._progress.advance(self._task, count)

    def reach(self, count: int, total: int | None = None) -> None:
        """So many are done in all, of so many."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=count, total=total)

    def say(self, text: str) -> None:
        """What is going on now."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, description=text)


class Report:
    """Takes results one by one and keeps the few that the table needs.

    Args:
        as_json: Write each as a line of JSON on stdout at once.
        quiet: Say nothing about single images.
        lines: Write each as ``score``, a tab and ``path`` on stdout at once.
    """

    def __init__(self, *, as_json: bool, quiet: bool, lines: bool = False) -> None:
        self.as_json, self.quiet, self.lines = as_json, quiet, lines and not as_json
        self.judged = self.failed = self.tiled = self.squeezed = self.pages_left_out = 0
        self._top: list[tuple[float, int, Result]] = []

    def add(self, result: Result) -> None:
        """One more."""
        if self.as_json:
            sys.stdout.write(result.to_json() + "\n")
            sys.stdout.flush()
        if result.error is not None or result.score is None:
            self.failed += 1
            if not self.quiet or self.lines:
                terminal.complain(result.error or "")
            return
        self.judged += 1
        self.tiled += bool(result.tiles)
        self.squeezed += bool(result.squeezed)
        if result.note:
            from vlmad_core.contracts.pixels import pages_left_out

            self.pages_left_out += pages_left_out(result.note)
        if self.lines:
            verdict = "" if result.p_value is None else f"{result.verdict}\t"
            sys.stdout.write(f"{verdict}{result.score:.6f}\t{terminal.shown(result.path)}\n")
            sys.stdout.flush()
        item = (result.score, -self.judged, result)
        (heapq.heappush if len(self._top) < _ROWS else heapq.heappushpop)(self._top, item)

    def show(self, where: str) -> None:
        """The table, unless JSON or nothing was asked for; ``where`` says where the rest is."""
        if self.as_json or self.quiet or not self._top:
            return
        top = [result for _, _, result in sorted(self._top, reverse=True)]
        columns, rows = ["score", "pixels", "image"], [_row(result) for result in top]
        if any(result.p_value is not None for result in top):
            columns = ["verdict", "p", *columns]
            rows = [(result.verdict or "", _p_value(result), *row) for result, row in zip(top, rows, strict=True)]
        terminal.table(columns, rows, right=["p", "score", "pixels"])
        if self.judged > _ROWS:
            sys.stdout.write(f"{self.judged - _ROWS} more {where}\n")


def _row(result: Result) -> tuple[str, ...]:
    return f"{result.score:.4f}", f"{result.width} x {result.height}", terminal.shown(result.path)


def _p_value(result: Result) -> str:
    return "" if result.p_value is None else f"{result.p_value:.3g}"
