"""``vlmad show``: one part with its options and its model card, or one recipe as a pipeline file. Free of torch."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from vlmad_core.cli.card import show_card
from vlmad_core.cli.diagram import draw_recipe
from vlmad_core.cli.names import SINGULAR, complete
from vlmad_core.cli.show_detector import is_detector, show_detector
from vlmad_core.cli.terminal import print_json, safe, table
from vlmad_core.errors import UnknownComponentError, did_you_mean
from vlmad_core.registry.card import read_card
from vlmad_core.registry.component import Command, Component
from vlmad_core.registry.registry import Entry, default_registry

_LIMITS = {
    "gt": "> {}",
    "ge": ">= {}",
    "lt": "< {}",
    "le": "<= {}",
    "min_length": "length >= {}",
    "multiple_of": "n * {}",
}


def show_command(
    name: Annotated[
        str,
        typer.Argument(
            help="A recipe or a part, short or distribution:name; or the folder of a detector.",
            autocompletion=complete(),
        ),
    ],
    kind: Annotated[str | None, typer.Option("--kind", help="Where one name stands for several kinds.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
    diagram: Annotated[
        bool,
        typer.Option(
            "--diagram", help="Draw how data flows through a recipe, or a pipeline file, with all shapes, as Mermaid."
        ),
    ] = False,
    out: Annotated[Path | None, typer.Option(dir_okay=False, help="File for the drawing.")] = None,
) -> None:
    """Show a part with its options and its model card, a recipe as a pipeline file, or a saved detector."""
    if diagram:
        draw_recipe(name, out)
        return
    if out is not None:
        raise typer.BadParameter(
            "belongs to --diagram; a recipe is saved with `vlmad compose --recipe NAME --save FILE`."
        )
    if kind is None and not default_registry().find(name) and is_detector(Path(name)):
        show_detector(Path(name), as_json=as_json)
        return
    entry = _find(name, kind)
    if as_json:
        print_json(_as_json(entry))
        return

    def write(text: str) -> None:
        sys.stdout.write(safe(text))

    write(f"{entry.kind} {entry.name}: {entry.item.summary}\n")
    write(f"from   {entry.plugin} {entry.version}\n")
    if isinstance(entry.item, Command):
        write(f"runs   {entry.item.target}; see vlmad {entry.name} --help\n")
        return
    if entry.item.paper:
        write(f"paper  {entry.item.paper}\n")
    write("\n")
    if isinstance(entry.item, Component):
        rows = list(_options(entry.item.config))
        table(["option", "type", "default", "meaning"], rows) if rows else write("It has no options.\n")
        if entry.item.card:
            write("\n")
            show_card(*read_card(entry.item.card))
        if kind is None and any(other.kind == "recipe" for other in default_registry().find(entry.full_name)):
            write(f"\nThere is also a recipe of this name: vlmad show {name} --kind recipe\n")
    else:
        import yaml

        write(yaml.safe_dump(_plain(entry.item.spec), sort_keys=False, default_flow_style=None, width=100))
        if entry.item.few_shot:
            write(f"\nWith normal images, recipe '{entry.item.few_shot}' takes over.\n")


def _find(name: str, kind: str | None) -> Entry:
    registry = default_registry()
    if kind is not None:
        if kind not in SINGULAR:
            raise typer.BadParameter(f"must be one of {', '.join(dict.fromkeys(SINGULAR.values()))}; got '{kind}'.")
        return registry.get(SINGULAR[kind], name)
    found = registry.find(name)
    if len({entry.full_name for entry in found}) == 1:  # of a part and a recipe of one plugin, the part
        return min(found, key=lambda entry: entry.kind == "recipe")
    if found:
        names = ", ".join(f"{entry.full_name} ({entry.kind})" for entry in found)
        raise UnknownComponentError(f"'{name}' is the name of several things: {names}. Say the full name, or --kind.")
    if Path(name).is_file():
        raise UnknownComponentError(f"'{name}' is a file. `vlmad compose --recipe {name}` builds and explains it.")
    bring = registry.to_install(name)
    if bring:
        raise UnknownComponentError(f"nothing installed is called '{name}'. Install it: pip install {bring}.")
    problems = "".join(f"\n  {problem}" for problem in registry.problems)
    hint = did_you_mean(name, {entry.name for entry in registry.entries()})
    raise UnknownComponentError(f"nothing is called '{name}'.{hint} `vlmad list` shows what there is.{problems}")


def _as_json(entry: Entry) -> dict[str, Any]:
    item = entry.item
    record = {"kind": entry.kind, "name": entry.name, "plugin": entry.plugin, "version": entry.version}
    record["summary"] = item.summary
    if isinstance(item, Command):
        return {**record, "target": item.target}
    record["paper"] = item.paper
    if isinstance(item, Component):
        return {**record, "target": item.target, "options": item.config.model_json_schema(), **_card(item)}
    return {**record, "few_shot": item.few_shot, "needs": dict(item.needs), "spec": _plain(item.spec)}


def _card(item: Component) -> dict[str, Any]:
    if not item.card:
        return {}
    card, files = read_card(item.card)
    return {"card": card.model_dump(mode="json") | {"files": [file.model_dump(mode="json") for file in files]}}


def _options(config: type[BaseModel]) -> Iterator[tuple[str, str, str, str]]:
    for name, field in config.model_fields.items():
        default = "(must be given)" if field.is_required() else _value(field.get_default(call_default_factory=True))
        yield name, _type(field), default, field.description or ""


def _type(field: FieldInfo) -> str:
    """As one would write it: ``int, > 0``."""
    limits = [form.format(getattr(m, key)) for m in field.metadata for key, form in _LIMITS.items() if hasattr(m, key)]
    return ", ".join([_spell(field.annotation), *limits])


def _spell(kind: Any) -> str:
    origin, inside = get_origin(kind), get_args(kind)
    if origin is Annotated:  # limits in here are told by the description
        return _spell(inside[0])
    if origin is Literal:
        return " | ".join(map(str, inside))
    if origin in (Union, UnionType):
        return " | ".join(map(_spell, inside))
    name = "none" if kind is type(None) else "..." if kind is Ellipsis else getattr(kind, "__name__", str(kind))
    return f"{name}[{', '.join(map(_spell, inside))}]" if inside else name


def _value(value: Any) -> str:
    if isinstance(value, BaseModel):
        return str(value.model_dump(mode="json"))
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(str, value))}]"
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _plain(value: Any) -> Any:
    """Mappings and sequences of any kind as dicts and lists."""
    if hasattr(value, "items"):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value
