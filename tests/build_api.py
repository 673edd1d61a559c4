"""Write ``api.json``, the public surface: ``python tests/build_api.py``. ``test_api.py`` holds the code to it.

It is made of the distributions of this repository alone, whatever else is installed: public names with their
signatures, parts and recipes with their options, hooks, commands, and the keys of every file that is written.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from functools import cached_property, partial
from pathlib import Path
from types import ModuleType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import typer
from pydantic import BaseModel
from typer.testing import CliRunner

import vlmad_core
from vlmad_core import testing
from vlmad_core.cli.__main__ import app
from vlmad_core.registry.registry import GROUP, Registry, hookspecs
from vlmad_core.testing import fixtures

ROOT = Path(__file__).resolve().parents[1]
API = Path(__file__).with_name("api.json")
CORE = "vlmad-core"
_ADDRESS = r" at 0x[0-9a-f]+"


def surface() -> dict[str, Any]:
    """All of it, as JSON has it."""
    registry = own_registry()
    return {
        "names": {name: _described(value) for name, value in _public(vlmad_core)},
        "rooms": {
            room.__name__: {name: _described(value) for name, value in _public(room)}
            for room in map(partial(getattr, vlmad_core), sorted(vlmad_core.__all__))
            if isinstance(room, ModuleType) and hasattr(room, "__all__")
        },
        "testing": {name: _described(getattr(testing, name)) for name in testing.__all__},
        "fixtures": sorted(fixtures.__all__),
        "entry point": GROUP,
        "hooks": {n: _called(hook) for n, hook in sorted(vars(hookspecs).items()) if n.startswith("vlmad_")},
        "parts": {
            f"{entry.kind} {entry.full_name}": {"options": _options(entry.component.config)}
            for entry in registry.entries()
            if entry.kind not in ("recipe", "command")
        },
        "recipes": {entry.full_name: _recipe(entry.item) for entry in registry.entries("recipe")},
        "commands": dict(_commands(typer.main.get_command(app))),
        "records": _records(),
    }


def _public(room: ModuleType) -> Iterator[tuple[str, Any]]:
    """What a room lists in ``__all__``, without the rooms inside it."""
    for name in sorted(room.__all__):
        value = getattr(room, name)
        if not isinstance(value, ModuleType):
            yield name, value


def own_registry() -> Registry:
    """The core and the plugins of this repository.

    Raises:
        SystemExit: One of them is not installed or does not load.
    """
    registry = Registry()
    registry.add("vlmad_core.builtin.plugin", CORE)
    for folder in sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml")):
        if "entry-points" not in (folder / "pyproject.toml").read_text():  # vlmad-edge runs without the core
            continue
        registry.add(f"{folder.name.replace('-', '_')}.plugin", folder.name)
    if registry.problems:
        message = "\n".join(map(str, registry.problems))
        raise SystemExit(f"{message}\ninstall it: pip install --no-deps -e plugins/NAME")
    return registry


def _described(value: Any) -> Any:
    if isinstance(value, type):
        message: dict[str, Any] = {"class": ", ".join(base.__name__ for base in value.__bases__)}
        if issubclass(value, enum.Enum):
            return {**message, "values": [f"{member.name} = {member.value}" for member in value]}
        if issubclass(value, BaseModel):
            return {**message, "options": _options(value), "members": dict(_members(value))}
        if "__init__" in vars(value) and not getattr(value, "_is_protocol", False):
            message["call"] = _called(value)["parameters"]
        return {**message, "members": dict(_members(value))}
    return (
        _called(value)
        if callable(value) and not isinstance(value, type(vlmad_core.registry.hookimpl))
        else type(value).__name__
    )


def _called(function: Any) -> dict[str, Any]:
    signature = inspect.signature(function)
    parameters = [p for p in signature.parameters.values() if p.name not in ("self", "cls")]
    result = {"parameters": {p.name: _parameter(i, p) for i, p in enumerate(parameters)}}
    return result if isinstance(function, type) else {**result, "returns": _type(signature.return_annotation)}


def _parameter(place: int, parameter: inspect.Parameter) -> str:
    """``0: str``, ``keyword: float = 0.5``: by place or by name, type, default."""
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    where = stars or ("keyword" if parameter.kind is inspect.Parameter.KEYWORD_ONLY else str(place))
    default = "" if parameter.default is parameter.empty else f" = {_value(parameter.default)}"
    return f"{where}: {_type(parameter.annotation)}{default}"


def _type(annotation: Any) -> str:
    """A type as people write it, whichever Python prints it."""
    if isinstance(annotation, str):
        return annotation
    if isinstance(annotation, enum.EnumType):
        return "|".join(str(member.value) for member in annotation)
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return f"Literal[{', '.join(map(repr, inner))}]"
    if origin is Annotated:
        return _type(inner[0])
    if origin in (Union, UnionType):
        return " | ".join(map(_type, inner))
    if origin is not None:
        return f"{_type(origin)}[{', '.join('...' if each is ... else _type(each) for each in inner)}]"
    plain = {inspect.Parameter.empty: "any", type(None): "None", None: "None"}
    return plain.get(annotation) or getattr(annotation, "__name__", str(annotation))


def _value(value: Any) -> str:
    if inspect.isroutine(value) or isinstance(value, type):
        return str(value.__qualname__)
    return "unset" if type(value) is object else repr(getattr(value, "value", value))


def _members(cls: type) -> Iterator[tuple[str, Any]]:
    """What a class of ours adds: methods, properties and attributes with a type."""
    ours = [base for base in cls.__mro__ if base.__module__.startswith("vlmad_core")]
    fields = {field.name for field in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else set()
    fields |= set(getattr(cls, "model_fields", ()))
    found: dict[str, Any] = {}
    for base in reversed(ours):
        for name, type_ in inspect.get_annotations(base).items():
            if name not in fields:
                found[name] = _type(type_)
        for name, member in vars(base).items():
            if isinstance(member, property | cached_property):
                getter = member.fget if isinstance(member, property) else member.func
                found[name] = f"property: {_type(inspect.signature(getter).return_annotation)}"
            elif isinstance(member, classmethod | staticmethod) or inspect.isfunction(member):
                found[name] = _called(getattr(member, "__func__", member))
    public = (name for name in found if not name.startswith("_") or name == "__call__")
    return ((name, found[name]) for name in sorted(public))


def _options(model: type[BaseModel]) -> dict[str, str]:
    """Name to type, limits and default of each option."""
    message = {}
    for name, field in model.model_fields.items():
        limits = "".join(f", {re.sub(_ADDRESS, '', repr(limit))}" for limit in field.metadata)
        default = "" if field.is_required() else f" = {_value(field.get_default(call_default_factory=True))}"
        message[name] = _type(field.annotation) + limits + default
    return message


def _recipe(recipe: Any) -> dict[str, Any]:
    about = {field: getattr(recipe, field) for field in ("few_shot", "needs", "spec", "training")}
    return json.loads(json.dumps(about))


def _commands(group: Any, before: str = "vlmad") -> Iterator[tuple[str, dict[str, str]]]:
    """Each command with its arguments and options: type and default as its function has them."""
    function = inspect.unwrap(group.callback) if group.callback else lambda: None
    types, signature = get_type_hints(function), inspect.signature(function)
    message = {}
    for parameter in group.params:
        if parameter.name in types and not parameter.hidden:  # the others are typer's own
            default = signature.parameters[parameter.name].default
            wanted = "" if default is inspect.Parameter.empty else f" = {_value(default)}"
            message[" ".join([*parameter.opts, *parameter.secondary_opts])] = _type(types[parameter.name]) + wanted
    yield before, message
    if hasattr(group, "list_commands"):
        for name in group.list_commands(typer.Context(group)):
            yield from _commands(group.get_command(typer.Context(group), name), f"{before} {name}")


def _records() -> dict[str, Any]:
    """Keys of what is written."""
    with tempfile.TemporaryDirectory() as place:
        return dict(_written(Path(place)))


def _written(folder: Path) -> Iterator[tuple[str, Any]]:
    import numpy as np
    from PIL import Image

    from vlmad_core.report.rows import ROWS, Row
    from vlmad_core.report.speed import Speed
    from vlmad_core.run import run

    detector = vlmad_core.build(
        {"backbone": "tiny", "extractor": "patches", "scorers": "memory"},
        backbone=testing.tiny_backbone(),
        registry=testing.memory_registry(),
    )
    picture = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    Image.fromarray(picture).save(folder / "a.png")
    detector.fit([picture, 255 - picture])
    detector.save(folder / "saved")
    run(detector, folder / "a.png", folder / "out", overlays=False)
    yield "detector.json", sorted(json.loads((folder / "saved" / "detector.json").read_text(encoding="utf-8")))
    yield "run.json", sorted(json.loads((folder / "out" / "run.json").read_text(encoding="utf-8")))
    yield "results.jsonl", list(json.loads((folder / "out" / "results.jsonl").read_text(encoding="utf-8")))
    yield "results.csv", (folder / "out" / "results.csv").read_text(encoding="utf-8").splitlines()[0].split(",")
    yield ROWS, list(inspect.get_annotations(Row))
    yield "speed.jsonl", [field.name for field in dataclasses.fields(Speed)]
    for command, keys in (("list", lambda message: message[0]), ("plugins", lambda message: message["plugins"][0])):
        yield f"vlmad {command} --json", list(keys(json.loads(CliRunner().invoke(app, [command, "--json"]).stdout)))


def flat(value: Any, path: str = "") -> dict[str, str]:
    """Every leaf with the path to it; a list of keys is as many leaves.

    >>> flat({"names": {"walk": {"parameters": {"x": "0: int"}}}, "fixtures": ["a"]})
    {'names / walk / parameters / x': '0: int', 'fixtures / a': ''}
    """
    if isinstance(value, Mapping) and value:
        step = f"{path} / " if path else ""
        return {k: v for key, inner in value.items() for k, v in flat(inner, f"{step}{key}").items()}
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return {f"{path} / {item}": "" for item in value}
    return {path: value if isinstance(value, str) else json.dumps(value)}


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Lines that say what breaks those who use it, and what only adds.

    What is removed or changed breaks; so does a new argument or option that must be given.
    """
    before, after = flat(old), flat(new)
    breaks = [f"removed  {path}" for path in before if path not in after]
    breaks += [
        f"changed  {path}: {before[path]}  ->  {after[path]}"
        for path in before
        if before[path] != after.get(path, before[path])
    ]
    adds = []
    for path in (path for path in after if path not in before):
        whole = path.rpartition(" / ")[0]
        is_input = whole.endswith((" / parameters", " / call", " / options")) or path.startswith("commands / ")
        was_there = any(known.startswith(f"{whole} / ") for known in before)
        must_be_given = is_input and was_there and " = " not in after[path] and not after[path].startswith("*")
        (breaks if must_be_given else adds).append(
            f"added    {path}: {after[path]}" + " (must be given)" * must_be_given
        )
    return breaks, adds


def main() -> None:
    """Write it."""
    API.write_text(json.dumps(surface(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
