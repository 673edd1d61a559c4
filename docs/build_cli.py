"""Write ``cli.md`` from the command line itself: ``python docs/build_cli.py``. A test checks that it was done."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from vlmad_core.cli.__main__ import app

PAGE = Path(__file__).parent / "cli.md"

HEAD = """# Command line

Written by `docs/build_cli.py`. `vlmad --install-completion` adds completion of commands, options and names of parts.

| exit code | meaning |
|---|---|
| 0 | success |
| 1 | refused or failed; one sentence on stderr says why and what to do (`VLMAD_DEBUG=1`: the traceback) |
| 2 | wrong usage |
| 3 | some images could not be scored; the others were |
| 130 | interrupted; the same command goes on |

| variable | meaning |
|---|---|
| `VLMAD_PLUGINS` | the only plugins to load; empty: none |
| `VLMAD_DISABLE_PLUGINS` | plugins to leave out |
| `VLMAD_TRACE` | print each stage of loading plugins on stderr as it begins |
| `VLMAD_DEBUG` | show tracebacks |
"""


def page() -> str:
    """The whole page."""
    group: Any = typer.main.get_command(app)
    context = typer.Context(group)
    sections = [HEAD]
    for name, command in _commands(group, context):
        arguments = " ".join(
            p.name.upper() + ("…" if p.nargs != 1 else "") for p in command.params if p.param_type_name == "argument"
        )
        sections.append(f"## vlmad {name} {arguments}".rstrip() + f"\n\n{_prose(command.help)}\n")
        rows = [_row(p) for p in command.params if p.param_type_name == "option" and not p.hidden]
        sections.append("\n".join(["| option | meaning |", "|---|---|", *rows]) + "\n" if rows else "")
    return "\n".join(section for section in sections if section)


def _commands(group: Any, context: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """Each command, and after a group those in it: ``data``, ``data list``, ``data show``."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield before + name, command
        if hasattr(command, "list_commands"):
            yield from _commands(command, context, f"{before}{name} ")


def _prose(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def _row(option: Any) -> str:
    names = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
    default = option.default
    shown = default is not None and default is not False and default != () and not callable(default)
    value = getattr(default, "value", default)
    return f"| {names} | {(option.help or '').replace('|', '/')}{f' Default: {value}.' if shown else ''} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
