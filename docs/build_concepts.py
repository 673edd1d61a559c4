"""Draw the picture of concepts.md from the types themselves: ``python docs/build_concepts.py``. A test checks it."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Iterator
from dataclasses import dataclass, fields
from html import escape
from pathlib import Path

from vlmad_core.contracts import data, parts, towers
from vlmad_core.pipeline import fuse
from vlmad_core.registry.registry import default_registry

DOCS = Path(__file__).parent
WIDE, GAP, LINE, PAD = 300, 34, 17, 10
COLOURS = {
    "light": {"data": ("#e8f1f5", "#2f6f86"), "part": ("#fdf0e6", "#b3541e"), "ink": "#1b2329", "faint": "#5d6b75"},
    "dark": {"data": ("#16323e", "#5fa8c2"), "part": ("#3a2413", "#e09458"), "ink": "#e6edf1", "faint": "#a3b1ba"},
}


@dataclass(frozen=True)
class Box:
    """Something that flows (``data``) or something that works on it (``part``)."""

    title: str
    kind: str
    lines: tuple[str, ...]

    @property
    def height(self) -> int:
        """In pixels."""
        return PAD * 2 + LINE * (1 + len(self.lines))


def pages() -> dict[Path, str]:
    """The picture for light and for dark paper."""
    return {DOCS / "assets" / f"concepts-{name}.svg": _drawn(palette) for name, palette in COLOURS.items()}


def _boxes() -> tuple[list[Box], list[Box], list[Box]]:
    """What sees, what reads, and what judges both."""
    seeing = [
        Box("images", "data", ("[B, 3, H, W]",)),
        _tower(towers.VisionTower, "backbone.vision"),
        _part(parts.Extractor, "extractor"),
        _data(data.Features),
        _data(data.Level),
        _data(data.LevelSpec),
    ]
    reading = [
        Box("names", "data", ("'metal nut', …",)),
        _tower(towers.TextTower, "backbone.text, if it reads"),
        _part(parts.Prompts, "prompts"),
        _data(data.TextEmbeddings),
    ]
    fusing = [field.name for field in fields(fuse.Fuse)]
    judging = [
        _part(parts.Scorer, "scorer"),
        _data(data.Scores),
        Box("fuse", "part", (", ".join(fusing), "several Scores become one")),
        _data(data.Prediction),
    ]
    return seeing, reading, judging


def _data(kind: type) -> Box:
    """A dataclass: its fields with the shapes that its docstring gives, and what it can make of them."""
    said = dict(re.findall(r"^    (\w+): (?:The )?(.*)", documentation(kind), re.MULTILINE))
    lines = []
    for field in fields(kind):
        shape = re.match(r"``([\[(].*?[\])])``( bool)?", said.get(field.name, ""))
        lines.append(f"{field.name}: {(shape[1] + (shape[2] or '')) if shape else field.type}")
    made = [name for name in members(kind) if not name.startswith("__")]
    return Box(kind.__name__, "data", (*lines, *([f"can give: {', '.join(made)}"] if made else ())))


def documentation(thing: object) -> str:
    """Its docstring without indentation; empty where it has none, or the one that a dataclass makes."""
    text = inspect.cleandoc(getattr(thing, "__doc__", None) or "")
    return "" if text.startswith(f"{getattr(thing, '__name__', '')}(") else text


def members(kind: type) -> list[str]:
    """Names of its public methods and properties with a docstring, in the order of the source."""
    kinds = (property, classmethod, staticmethod, types.FunctionType)
    public = {name: member for name, member in vars(kind).items() if not name.startswith("_") or name == "__call__"}
    return [n for n, m in public.items() if (isinstance(m, kinds) or hasattr(m, "func")) and documentation(m)]


def _tower(kind: type, title: str) -> Box:
    verbs = members(kind)
    return Box(title, "part", (*_wrapped(list(kind.__annotations__)), *_wrapped(verbs, "()")))


def _part(kind: type, name: str) -> Box:
    called = [argument for argument in inspect.signature(kind.forward).parameters if argument != "self"]
    gives = inspect.signature(kind.forward).return_annotation
    verbs = [verb for verb in members(kind) if verb not in ("forward", "is_fitted")]
    there = sorted(entry.name for entry in default_registry().entries(name) if _ours(entry.plugin))
    lines = [f"({', '.join(called)}) → {gives}"]
    lines += [f"may: {', '.join(verbs)}"] if verbs else []
    return Box(name, "part", (*lines, *_wrapped(there)))


def _wrapped(words: list[str], after: str = "") -> list[str]:
    """Words in lines that fit into a box."""
    lines = [""]
    for word in words:
        if len(lines[-1]) + len(word) + len(after) > 34:
            lines.append("")
        lines[-1] += f"{word}{after}, "
    return [line.rstrip(", ") if line is lines[-1] else line.rstrip() for line in lines]


def _ours(plugin: str) -> bool:
    return plugin == "vlmad-core" or (DOCS.parent / "plugins" / plugin).is_dir()


def _drawn(palette: dict[str, object]) -> str:
    seeing, reading, judging = _boxes()
    shapes: list[str] = []
    left, right = GAP // 2, WIDE + GAP + GAP // 2
    ends = [
        _column(boxes, x, 4, palette, shapes, joined) for boxes, x, joined in ((seeing, left, 4), (reading, right, 4))
    ]
    top = ends[0] + GAP * 2
    middle = (left + right) // 2
    # Features stand above the levels that they are made of, so their arrow leaves at the side of the column.
    gate = left + WIDE + GAP // 2
    source = _top_of(seeing, 3) + seeing[3].height // 2
    shapes.append(f'<path class="arrow" d="M{left + WIDE} {source} H{gate} V{top - 4}"/>')
    shapes.append(
        f'<path class="arrow" d="M{right + WIDE // 2} {ends[1]} V{top - GAP} H{middle + WIDE - 40} V{top - 4}"/>'
    )
    bottom = _column(judging, middle, top, palette, shapes, len(judging))
    style = (
        f"text{{font:12px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;fill:{palette['faint']}}}"
        f".title{{font:600 13px system-ui,sans-serif;fill:{palette['ink']}}}"
        f".arrow{{fill:none;stroke:{palette['faint']};stroke-width:1.5;marker-end:url(#tip)}}"
        f".of{{fill:none;stroke:{palette['faint']};stroke-width:1.5;stroke-dasharray:3 3}}"
    )
    tip = f'<path d="M0 0L8 4L0 8z" fill="{palette["faint"]}"/>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {right + WIDE + GAP // 2} {bottom + 4}" role="img">\n'
        "<title>How an image and a name become a prediction</title>\n"
        f"<style>{style}</style>\n"
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        f"{tip}</marker></defs>\n" + "\n".join(shapes) + "\n</svg>\n"
    )


def _top_of(boxes: list[Box], index: int) -> int:
    return 4 + sum(box.height + GAP for box in boxes[:index])


def _column(boxes: list[Box], x: int, y: int, palette: dict[str, object], shapes: list[str], joined: int) -> int:
    """Boxes below each other, the first of them joined by arrows, the others as what the one above is made of."""
    for i, box in enumerate(boxes):
        if i:
            shapes.append(f'<path class="{"arrow" if i < joined else "of"}" d="M{x + WIDE // 2} {y - GAP} V{y - 2}"/>')
        shapes += _box(box, x, y, palette[box.kind])
        y += box.height + GAP
    return y - GAP


def _box(box: Box, x: int, y: int, colours: object) -> Iterator[str]:
    fill, edge = colours  # type: ignore[misc]
    round_ = 4 if box.kind == "data" else 14
    yield f'<rect x="{x}" y="{y}" width="{WIDE}" height="{box.height}" rx="{round_}" fill="{fill}" stroke="{edge}"/>'
    yield f'<text class="title" x="{x + 12}" y="{y + PAD + 12}">{escape(box.title)}</text>'
    for i, line in enumerate(box.lines, start=1):
        yield f'<text x="{x + 12}" y="{y + PAD + 12 + LINE * i}">{escape(line)}</text>'


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
