"""What the child of :mod:`vlmad_core.inventory` runs: import plugins, and tell in JSON lines what they offer."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import PurePath
from typing import Any

from vlmad_core.entries import Entry, Problem, told
from vlmad_core.installed import points
from vlmad_core.registry import Registry

__all__ = ["answer"]


def answer(asked: Iterable[tuple[str, str]]) -> None:
    """Put plugins through their stages, tell each stage as it begins and each plugin as it is done, and leave.

    Args:
        asked: Name of the distribution and module of each.
    """
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:  # ours alone; what plugins print goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

        def tell(what: Mapping[str, Any]) -> None:
            out.write(json.dumps(what, default=_plain) + "\n")
            out.flush()

        installed = {(point.plugin, point.value): point.distribution for point in points()}
        for plugin, value in asked:
            found = Registry()
            try:
                found.add(value, plugin, installed.get((plugin, value)), tell=lambda stage: tell({"stage": stage}))
            except BaseException as error:  # such as KeyboardInterrupt, which nobody pressed here
                found.problems.append(Problem(plugin, "import", told(error)))
            entries = [said for entry in found.entries() for said in _printable(entry, found.problems)]
            problems = [[problem.stage, problem.error] for problem in found.problems]
            seconds = sum((record.seconds for record in found.plugins), 0.0)
            tell({"entries": entries, "problems": problems, "seconds": seconds, "files": _files(value)})
    os._exit(0)  # whatever threads and handlers the plugins have left


def _printable(entry: Entry, problems: list[Problem]) -> list[dict[str, Any]]:
    """All that can be told of an entry without its plugin: everything but the class of its options."""
    item = entry.item
    said = {field.name: getattr(item, field.name) for field in fields(item) if field.name != "config"}
    try:
        json.dumps(said, default=_plain)
    except (TypeError, ValueError) as error:
        problems.append(Problem(entry.plugin, "register", f"{entry.kind} '{entry.name}' is no plain data: {error}"))
        return []
    return [{"kind": entry.kind, "said": said}]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"got {value!r}")


def _files(value: str) -> list[str]:
    """Files of the package that were read to import the plugin: when one changes, what was told may be wrong."""
    top = value.partition(".")[0]
    found = {
        getattr(held, "__file__", None) for name, held in list(sys.modules.items()) if name.partition(".")[0] == top
    }
    return sorted(file for file in found if file)
