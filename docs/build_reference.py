"""Write the pages in reference/ from code and registry: ``python docs/build_reference.py``. A test checks it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from signatures import documentation, members, prose, signature, stub

import vlmad_core
import vlmad_core.testing
from vlmad_core.cli.show import _options, _plain
from vlmad_core.registry.component import Component
from vlmad_core.registry.registry import Entry, default_registry, hookspecs

DOCS = Path(__file__).parent
KINDS = {"backbone": "Backbones", "extractor": "Extractors", "prompts": "Prompts", "scorer": "Scorers"}
KINDS |= {"dataset": "Layouts of data sets", "recipe": "Recipes"}
CONTRACTS = {
    "What flows": ("LevelSpec", "Level", "Features", "TextEmbeddings", "Scores", "Prediction"),
    "Towers": ("Block", "VisionTower", "TextTower", "Backbone", "Preprocess"),
    "Parts": ("Extractor", "Prompts", "Scorer"),
    "What a plugin hands over": ("Component", "Recipe", "Config"),
    "Data sets": ("Sample", "Dataset", "Facts", "Fit", "Reader"),
}
HOME = {name: title for title, names in CONTRACTS.items() for name in names}


def pages() -> dict[Path, str]:
    """Each page and what it should hold."""
    made = {"hooks": _hooks(), "contracts": _contracts(), "options": _all_options(), "python": _python()}
    return {DOCS / "reference" / f"{name}.md": "\n\n".join(filter(None, parts)) + "\n" for name, parts in made.items()}


def _hooks() -> Iterator[str]:
    yield "# Hooks"
    yield (
        "Written by `docs/build_reference.py`. A plugin answers these questions: it implements those it has an answer "
        "to, without arguments, and yields [entries](contracts.md#what-a-plugin-hands-over). How one is made: "
        "[write a plugin](../plugins.md)."
    )
    for name, hook in vars(hookspecs).items():
        if not name.startswith("vlmad_"):
            continue
        yield f"## {name}"
        yield _block(signature(hook))
        yield prose(documentation(hook))
        kind = "dataset" if name == "vlmad_datasets" else name.removeprefix("vlmad_").rstrip("s")
        kind = "prompts" if kind == "prompt" else kind
        mine = [entry for entry in _entries() if entry.kind == kind]
        example = mine[0].item
        yield _block(
            f"from vlmad_core import {type(example).__name__}, hookimpl\n\n\n@hookimpl\ndef {name}():\n    yield "
            + (
                f'Component(name="{example.name}", target="{example.target}", summary="…")'
                if isinstance(example, Component)
                else f'Recipe(name="{example.name}", spec={{"backbone": "…", "extractor": "…"}}, summary="…")'
            )
        )
        offered = ", ".join(f"[`{e.name}`](options.md#{e.kind}-{e.name})" for e in mine)
        yield f"In the distributions of this repository: {offered}."


def _contracts() -> Iterator[str]:
    yield "# Contracts"
    yield (
        "Written by `docs/build_reference.py`. What parts are handed and what they give. Letters: **B** images, "
        "**M** regions in a level, **L** tokens, **W** width of a tower, **D** joint dimension, **S** states, "
        "**P** prompts, **h w** token grid, **H W** pixels. `vlmad check` holds a plugin to all of it: "
        "[the checks](../testing.md)."
    )
    for title, names in CONTRACTS.items():
        yield f"## {title}"
        for name in names:
            yield from _class(getattr(vlmad_core, name))


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
            yield f"{item.summary} From `{entry.plugin}`." + (f" Paper: {item.paper}." if item.paper else "")
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
            else:
                yield (
                    "```yaml\n"
                    + yaml.safe_dump(_plain(item.spec), sort_keys=False, default_flow_style=None, width=100)
                    + "```"
                )
                if item.few_shot:
                    yield f"With normal images, [`{item.few_shot}`](#recipe-{item.few_shot}) takes over."


def _python() -> Iterator[str]:
    yield "# Python"
    yield (
        "Written by `docs/build_reference.py`. Every public name. `import vlmad_core` imports no torch; a name that "
        "needs it imports it when it is first used."
    )
    yield "## vlmad_core"
    for name in vlmad_core.__all__:
        if name == "__version__":
            continue
        thing = getattr(vlmad_core, name)
        if name in HOME:
            yield f"### {name}\n\n{_first(documentation(thing))} See [contracts](contracts.md#{name.lower()})."
        elif name in ("PipelineSpec", "TrainingOptions"):
            page = "pipeline files](../spec.md" if name == "PipelineSpec" else "training](../training.md"
            yield f"### {name}\n\n{prose(documentation(thing))} See [{page})."
        elif isinstance(thing, type):
            yield from _class(thing)
        elif callable(thing) and hasattr(thing, "__name__"):
            yield from _function(name, thing)
        else:
            yield f"### {name}"
            yield f"The marker of this project: `@{name}` stands above each hook of a plugin; see [hooks](hooks.md)."
    yield "## vlmad_core.testing"
    yield "For tests of plugins; see [test a plugin](../testing.md)."
    for name in vlmad_core.testing.__all__:
        thing = getattr(vlmad_core.testing, name)
        if isinstance(thing, type):
            yield from _class(thing)
        elif callable(thing):
            yield from _function(name, thing)


def _function(name: str, thing: Any) -> Iterator[str]:
    yield f"### {name}"
    yield _block(signature(thing, name))
    yield prose(documentation(thing))


def _class(kind: type) -> Iterator[str]:
    yield f"### {kind.__name__}"
    yield _block(stub(kind))
    yield prose(documentation(kind))
    described = getattr(kind, "model_fields", {}).items()
    yield "\n".join(f"- `{name}`: {field.description}" for name, field in described if field.description)
    for name, member in members(kind):
        yield f"**`{kind.__name__}.{name}`** " + prose(documentation(member))


def _entries() -> list[Entry]:
    ours = {"vlmad-core", *(path.name for path in (DOCS.parent / "plugins").iterdir())}
    return sorted(
        (e for e in default_registry().entries() if e.plugin in ours), key=lambda e: (list(KINDS).index(e.kind), e.name)
    )


def _first(text: str) -> str:
    return prose(text.split("\n\n")[0])


def _block(code: str) -> str:
    return f"```python\n{code}\n```"


def _cell(text: str) -> str:
    return text.replace("|", "or").replace("<", "&lt;") if text else " "


if __name__ == "__main__":
    for path, text in pages().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
