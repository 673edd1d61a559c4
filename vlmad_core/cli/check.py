"""``vlmad check``: does a plugin, or one part of it, keep every rule of its contract?"""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vlmad_core.cli import terminal
from vlmad_core.cli.names import complete
from vlmad_core.cli.options import parse_settings

if TYPE_CHECKING:
    from vlmad_core.testing import Outcome, Report

_STATUSES = ("passed", "failed", "known", "skipped")


def check_command(
    name: Annotated[
        str,
        typer.Argument(
            metavar="DIST_OR_NAME",
            help="A distribution, a part, or distribution:name.",
            autocompletion=complete(),
            show_default=False,
        ),
    ],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="An option of the part, as NAME=VALUE, in place of its default; may be repeated."),
    ] = None,
    root: Annotated[Path | None, typer.Option(help="An example, to check the reader of a data set on.")] = None,
    verbose: Annotated[bool, typer.Option("--all", help="Also tell what passed and what was skipped.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Check a plugin against every rule of its contract; exit with 1 if one is broken.

    Parts are built on a tiny backbone of random weights, so nothing is downloaded.
    """
    config = parse_settings(settings or [])
    from vlmad_core.testing import check_component
    from vlmad_core.testing.checks import CHECKS

    if root is not None and not root.exists():
        raise typer.BadParameter(f"{root}: no such file or folder.", param_hint="--root")
    report = check_component(name, config=config, root=root, tell=None if as_json else _teller(verbose))
    if as_json:
        rules = {check.name: check.rule for check in CHECKS.values()}
        record = report.as_json()
        for outcome in record["checks"]:
            outcome["rule"] = rules.get(outcome["check"], "")
        terminal.print_json({"name": name, **record})
    else:
        _sum_up(report, verbose)
    if report.failures:
        raise typer.Exit(1)


def _teller(verbose: bool) -> Callable[[Outcome], None]:
    def tell(outcome: Outcome) -> None:
        if verbose or outcome.status in ("failed", "known"):
            text = f": {outcome.message}" if outcome.message else ""
            line = f"{outcome.status:7} {outcome.subject} ({outcome.kind}) {outcome.check}{text}"
            sys.stdout.write(terminal.shown(line) + "\n")
            sys.stdout.flush()

    return tell


def _sum_up(report: Report, verbose: bool) -> None:
    rows = []
    for (subject, kind), group in groupby(report.outcomes, lambda outcome: (outcome.subject, outcome.kind)):
        counts: list[str] = [outcome.status for outcome in group]
        rows.append((subject, kind, *(str(counts.count(status)) for status in _STATUSES)))
    if any(outcome.status in ("failed", "known") for outcome in report.outcomes) or verbose:
        sys.stdout.write("\n")
    terminal.table(["subject", "kind", *_STATUSES], rows, right=_STATUSES)
    skipped = report.count("skipped")
    why = "" if verbose or not skipped else "; --all tells why"
    found = f"{len(report.failures)} broken" if report.failures else "none broken"
    sys.stdout.write(f"{report.ran} checks ran, {skipped} were skipped{why}: {found}\n")
