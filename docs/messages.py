"""Every message that vlmad raises, as a pattern, read from the source; for the page on troubleshooting and its test."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path

ROOT = Path(__file__).parents[1]
HOLE = "…"
_ELSEWHERE = {"Exit", "CheckFailed", "CheckSkipped", "AttributeError", "NotImplementedError", "AssertionError"}
_NOT_SHIPPED = {"tests", "benchmarks", "build", "template"}


@cache
def messages() -> dict[str, list[str]]:
    """Patterns by file, with an ellipsis for what is only known when it happens."""
    found: dict[str, list[str]] = {}
    for folder in ("vlmad_core", "plugins"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            place = path.relative_to(ROOT)
            if not _NOT_SHIPPED & set(place.parts):
                patterns = dict.fromkeys(_of_file(ast.parse(path.read_text(encoding="utf-8"))))
                found |= {place.as_posix(): list(patterns)} if patterns else {}
    return found


def _of_file(tree: ast.Module) -> Iterator[str]:
    constants = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    returned = {
        f"{each.name}()": [n.value for n in _own(each) if isinstance(n, ast.Return) and n.value] for each in functions
    }
    for function in [tree, *functions]:
        texts: dict[str, list[ast.expr]] = {name: [value] for name, value in constants.items()} | returned
        for node in _own(function):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and function is not tree:
                texts.setdefault(node.targets[0].id, []).append(node.value)
        for node in _own(function):
            if isinstance(node, ast.Call) and node.args and _is_error(node.func):
                yield from (p for p in _patterns(node.args[0], texts) if len(re.findall(r"[A-Za-z]", p)) > 6)


def _own(function: ast.AST) -> Iterator[ast.AST]:
    """Everything in it that is not in a function inside it."""
    for child in ast.iter_child_nodes(function):
        yield child
        if not isinstance(child, ast.FunctionDef):
            yield from _own(child)


def _is_error(called: ast.expr) -> bool:
    name = called.id if isinstance(called, ast.Name) else called.attr if isinstance(called, ast.Attribute) else ""
    return (name.endswith("Error") or name in ("BadParameter", "KeyboardInterrupt")) and name not in _ELSEWHERE


def _patterns(node: ast.expr, texts: dict[str, list[ast.expr]]) -> list[str]:
    """What an expression may read, at most a few; an ellipsis where that cannot be told."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.JoinedStr):
        parts = [_patterns(value, texts) for value in node.values]
        choices = ["".join(choice) for choice in product(*parts)]
        if len(choices) > 2 and sum(len(part) > 1 for part in parts) > 1:  # not every combination of several choices
            choices = ["".join(part[0] if len(part) == 1 else HOLE for part in parts)]
        return [re.sub(f"{HOLE}+", HOLE, text) for text in choices]
    if isinstance(node, ast.FormattedValue):
        return _patterns(node.value, texts)
    if isinstance(node, ast.IfExp):
        return _patterns(node.body, texts) + _patterns(node.orelse, texts)
    if isinstance(node, ast.Name) and len(texts.get(node.id, ())) == 1:
        rest = {name: values for name, values in texts.items() if name != node.id}
        return _patterns(texts[node.id][0], rest)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and f"{node.func.id}()" in texts:
        rest = {name: values for name, values in texts.items() if name != f"{node.func.id}()"}
        return [pattern for value in texts[f"{node.func.id}()"] for pattern in _patterns(value, rest)] or [HOLE]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("replace", "format"):
        return [re.sub(r"\{\w*\}", HOLE, text) for text in _patterns(node.func.value, texts)]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _patterns(node.left, texts), _patterns(node.right, texts)
        return [a + b for a in left for b in right]
    return [HOLE]
