"""``vlmad plugins``: what is installed, what loaded, and what is wrong with the rest. Free of torch."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Annotated

import typer

from vlmad_core.cli.terminal import complain, counted, note, print_json, table
from vlmad_core.registry.registry import Plugin, Problem, default_registry

_REMEDY = {
    "version": "upgrade that plugin or vlmad-core, so that the two fit",
    "import": "reinstall that plugin, or leave it out with VLMAD_DISABLE_PLUGINS={plugin}",
    "register": "tell its author; what else it offers can be used",
}


def plugins_command(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if anything is wrong, for CI.")] = False,
) -> None:
    """Show the installed plugins, and what is wrong with those that did not load."""
    registry = default_registry()
    if as_json:
        plugins = [{**asdict(plugin), "entries": _count(plugin)} for plugin in registry.plugins]
        print_json({"plugins": plugins, "problems": [asdict(problem) for problem in registry.problems]})
    else:
        rows = [(p.name, p.version or "?", p.status, _told(p), f"{p.seconds * 1000:.0f} ms") for p in registry.plugins]
        table(["plugin", "version", "status", "offers", "loaded in"], rows, right=["loaded in"])
        for problem in registry.problems:
            complain(str(problem))
            note(f"  to do: {_remedy(problem)}")
    if strict and registry.problems:
        raise typer.Exit(1)


def _count(plugin: Plugin) -> dict[str, int]:
    return dict(Counter(entry.kind for entry in plugin.entries))


def _told(plugin: Plugin) -> str:
    return ", ".join(counted(count, kind) for kind, count in _count(plugin).items()) or "nothing"


def _remedy(problem: Problem) -> str:
    return _REMEDY[problem.stage].format(plugin=problem.plugin)
