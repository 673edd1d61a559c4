"""Write reference/options.md from the registry: ``python docs/build_reference.py``. A test checks it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml

from vlmad_core.cli.show import _options, _plain
from vlmad_core.registry.component import Component, Recipe
from vlmad_core.registry.registry import Entry, default_registry

DOCS = Path(__file__).parent
KINDS = {"backbone": "Backbones", "extractor": "Extractors", "prompts": "Prompts", "scorer": "Scorers"}
KINDS |= {"dataset": "Layouts of data sets", "recipe": "Recipes", "opinion": "Second opinions", "command": "Commands"}
KINDS |= {"executor": "Executors"}


def pages() -> dict[Path, str]:
    """Each page and what it should hold."""
    return {DOCS / "reference" / "options.md": "\n\n".join(_all_options()) + "\n"}


def _all_options() -> Iterator[str]:
    yield "# Parts, recipes and their options"
    yield (
        "Written by `docs/build_reference.py` from what the distributions of this repository register; "
        "`vlmad show NAME` prints the same for whatever is installed. An option is set with "
        "`--set PART.config.NAME=VALUE`, in a [pipeline file](../spec.md), or with `overrides={...}` in Python."
    )
    for kind, title in KINDS.items():
        yield f"## {title}"
        for entry in (entry for entry in _entries() if entry.kind == kind):
            item = entry.item
            yield f"### {kind} {entry.name}"
            paper = getattr(item, "paper", "")
            yield f"{item.summary} From `{entry.plugin}`." + (f" Paper: {paper}." if paper else "")
            if isinstance(item, Component):
                rows = [
                    f"| `{name}` | {_cell(kind_)} | {_cell(given)} | {said} |"
                    for name, kind_, given, said in _options(item.config)
                ]
                yield (
                    "\n".join(["| option | type | default | meaning |", "|---|---|---|---|", *rows])
                    if rows
                    else "No options."
                )
            elif isinstance(item, Recipe):
                yield (
                    "```yaml\n"
                    + yaml.safe_dump(_plain(item.spec), sort_keys=False, default_flow_style=None, width=100)
                    + "```"
                )
                if item.few_shot:
                    yield f"With normal images, [`{item.few_shot}`](#recipe-{item.few_shot}) takes over."


def _entries() -> list[Entry]:
    ours = {"vlmad-core", *(path.name for path in (DOCS.parent / "plugins").iterdir())}
    return sorted(
        (e for e in default_registry().entries() if e.plugin in ours), key=lambda e: (list(KINDS).index(e.kind), e.name)
    )


def _cell(text: str) -> str:
    return text.replace("|", "or").replace("<", "&lt;") if text else " "


if __name__ == "__main__":
    for path, text in pages().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
