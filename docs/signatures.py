"""Signatures as one would write them, and Google docstrings as Markdown: for pages that are written from the code."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from typing import Any

LINE = 120
_SECTION = re.compile(r"(Args|Attributes|Returns|Yields|Raises|Note):")
_ITEM = re.compile(r"(\*{0,2}[\w., ]+):\s+(.*)")
_ROLE = re.compile(r":\w+:`~?(?:[\w.]*\.)?([\w()]+)`")


def signature(function: Callable[..., Any], name: str = "", indent: str = "") -> str:
    """``def name(...) -> ...: ...``, wrapped as ruff wraps it."""
    found = inspect.signature(function)
    arguments = [_argument(argument) for argument in found.parameters.values()]
    for i, argument in enumerate(found.parameters.values()):
        if argument.kind is argument.KEYWORD_ONLY and not any(a.startswith("*") for a in arguments[:i]):
            arguments.insert(i, "*")
            break
    head = f"{indent}def {name or function.__name__}("
    gives = "" if found.return_annotation is found.empty else f" -> {_written(found.return_annotation)}"
    tail = f"){gives}: ..."
    one = head + ", ".join(arguments) + tail
    if len(one) <= LINE:
        return one
    inside = f"{indent}    " + ", ".join(arguments)
    if len(inside) <= LINE:
        return f"{head}\n{inside}\n{indent}{tail}"
    return f"{head}\n" + "".join(f"{indent}    {argument},\n" for argument in arguments) + f"{indent}{tail}"


def stub(kind: type) -> str:
    """A class as one would read it: its fields, its attributes, its methods."""
    bases = ", ".join(base.__name__ for base in kind.__bases__ if base.__name__ not in ("object", "Generic", "ABC"))
    lines = [f"class {kind.__name__}({bases}):" if bases else f"class {kind.__name__}:"]
    lines += [f"    {name} = {int(value)}" for name, value in getattr(kind, "__members__", {}).items()]
    given = {} if hasattr(kind, "__members__") else _assigned(kind)
    lines += [f"    {name}: {_written(said)}{given.get(name, '')}" for name, said in _fields(kind)]
    blocks = ["\n".join(lines)]
    if not is_dataclass(kind) and inspect.isfunction(vars(kind).get("__init__")) and not hasattr(kind, "_is_protocol"):
        blocks.append(signature(kind.__init__, "__init__", "    "))
    for name, member in members(kind):
        if isinstance(member, property) or hasattr(member, "func"):
            getter = member.fget if isinstance(member, property) else member.func
            blocks.append("    @property\n" + signature(getter, name, "    "))
        elif isinstance(member, classmethod | staticmethod):
            blocks.append(f"    @{type(member).__name__}\n" + signature(member.__func__, name, "    "))
        else:
            blocks.append(signature(member, name, "    "))
    if blocks == [lines[0]]:
        return f"{lines[0]} ..."
    return "\n\n".join(blocks).replace(f"{lines[0]}\n\n", f"{lines[0]}\n")


def members(kind: type) -> Iterator[tuple[str, Any]]:
    """Public methods and properties that a class itself defines, in the order of its source."""
    for name, member in vars(kind).items():
        known = isinstance(member, property | classmethod | staticmethod) or inspect.isfunction(member)
        documented = known or (hasattr(member, "func") and not hasattr(member, "args"))
        special = name in ("__call__", "__getitem__")
        if documented and (special or not name.startswith("_")) and documentation(member):
            yield name, member


def documentation(thing: Any) -> str:
    """Its own docstring, without indentation; empty where it has none or a generated one."""
    if hasattr(thing, "func"):
        thing = thing.func
    text = inspect.cleandoc(getattr(thing, "__doc__", None) or "")
    return "" if text.startswith(f"{getattr(thing, '__name__', '')}(") else text


def prose(text: str) -> str:
    """A Google docstring as Markdown: sections as lists, examples as blocks."""
    return "\n\n".join(filter(None, (_paragraph(part) for part in text.split("\n\n"))))


def _paragraph(part: str) -> str:
    if ">>>" in part:
        return f"```text\n{inspect.cleandoc(part)}\n```"
    head, *rest = part.split("\n")
    if _SECTION.fullmatch(head):
        return f"**{head[:-1]}**\n\n" + "\n".join(_items(inspect.cleandoc("\n".join(rest)).split("\n")))
    return _plain(" ".join(line.strip() for line in part.split("\n")))


def _items(lines: list[str]) -> Iterator[str]:
    items: list[str] = []
    for line in lines:
        if line.startswith(" ") and items:
            items[-1] += " " + line.strip()
        else:
            items.append(line)
    for item in items:
        found = _ITEM.fullmatch(item)
        yield f"- `{found[1]}`: {_plain(found[2])}" if found else f"- {_plain(item)}"


def _plain(text: str) -> str:
    return _ROLE.sub(r"`\1`", text).replace("``", "`")


def _argument(argument: inspect.Parameter) -> str:
    name = {argument.VAR_POSITIONAL: "*", argument.VAR_KEYWORD: "**"}.get(argument.kind, "") + argument.name
    said = "" if argument.annotation is argument.empty else f": {_written(argument.annotation)}"
    if argument.default is argument.empty:
        return name + said
    return f"{name}{said} = {_value(argument.default)}" if said else f"{name}={_value(argument.default)}"


def _value(value: Any) -> str:
    shown = repr(value)
    try:
        ast.parse(shown)
    except SyntaxError:
        return "..."
    return shown.replace("'", '"') if isinstance(value, str | tuple) else shown


def _written(annotation: Any) -> str:
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    return text.replace("'", '"')


def _fields(kind: type) -> Iterator[tuple[str, Any]]:
    for name, said in vars(kind).get("__annotations__", {}).items():
        if not name.startswith("_") and name != "model_config":
            yield name, said


def _assigned(kind: type) -> dict[str, str]:
    """What a class gives its fields, as it is written in the source."""
    (body,) = ast.parse(inspect.cleandoc("\n" + inspect.getsource(kind))).body
    assert isinstance(body, ast.ClassDef)
    return {
        node.target.id: f" = {ast.unparse(_default(node.value))}".replace("'", '"')
        for node in body.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None
    }


def _default(value: ast.expr) -> ast.expr:
    """What is in a ``Field(...)`` of pydantic, whose description is told apart."""
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "Field":
        return value.args[0] if value.args else ast.Constant(...)
    return value
