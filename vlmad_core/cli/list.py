"""``vlmad list``: every part and recipe that is installed. Free of torch."""

from __future__ import annotations

from typing import Annotated

import typer

from vlmad_core.cli.names import Kind
from vlmad_core.cli.terminal import counted, note, print_json, table
from vlmad_core.registry.registry import Entry, default_registry


def list_command(
    kind: Kind = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """List parts and recipes, with who offers them."""
    registry = default_registry()
    entries = list(registry.entries(kind))
    if as_json:
        print_json(
            [
                {"kind": e.kind, "name": e.name, "plugin": e.plugin, "version": e.version, "summary": e.item.summary}
                for e in entries
            ]
        )
        return
    table(["kind", "name", "plugin", "summary"], [(e.kind, e.name, e.plugin, e.item.summary) for e in _sorted(entries)])
    if registry.problems:
        note(f"{counted(len(registry.problems), 'problem')} with plugins; `vlmad plugins` shows them.")


def _sorted(entries: list[Entry]) -> list[Entry]:
    order = ["recipe", "backbone", "extractor", "prompts", "scorer", "dataset", "opinion", "executor", "command"]
    return sorted(entries, key=lambda entry: (order.index(entry.kind), entry.name))
