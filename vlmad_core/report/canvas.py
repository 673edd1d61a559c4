"""What all plots share: the style of each method, a figure without global state, and both files."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

from vlmad_core.files import write_whole
from vlmad_core.report.render import printable

__all__ = ["EDGE", "FAINT", "GRID", "INK", "Style", "figure", "setting_colour", "shorten", "styles", "write"]

INK, FAINT, GRID, EDGE = "#222222", "#767676", "#e4e4e4", "#333333"

# Okabe and Ito's palette without its yellow, and three of Paul Tol's: distinguishable with every kind of colour vision.
_COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#332288",
    "#E69F00",
    "#56B4E9",
    "#882255",
    "#999933",
    "#555555",
)
_FEW_SHOT = ("#F5C767", "#E69F00", "#D55E00", "#A04600", "#6B2F00")
_FEW_SHOT_TRAINED = ("#E3B5CF", "#CC79A7", "#AA4499", "#882255", "#5E173B")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h")
_FIXED = ("winclip", "anomalyclip", "april-gan", "pocket", "patch-memory", "clip", "dpam", "musc", "subspace")


@dataclass(frozen=True)
class Style:
    """Colour and marker of a method.

    Args:
        colour: As matplotlib and HTML know it.
        marker: As matplotlib knows it; the same colour never has the same marker before the 110th method.
    """

    colour: str
    marker: str


def styles(methods: Iterable[str]) -> dict[str, Style]:
    """A style for each method: known ones have their own, others one that follows from their name.

    Args:
        methods: Labels; give all that a reader finds elsewhere too, and each looks the same everywhere.
    """
    slots: dict[str, int] = {}
    found: dict[str, Style] = {}
    for name in sorted(set(methods), key=lambda name: (_FIXED.index(name) if name in _FIXED else len(_FIXED), name)):
        slot = _FIXED.index(name) if name in _FIXED else crc32(name.encode("utf-8", "surrogateescape")) % len(_COLOURS)
        if len(slots) < len(_COLOURS):
            while slot in slots.values():
                slot = (slot + 1) % len(_COLOURS)
        else:
            slot = len(slots) % len(_COLOURS)
        turn = list(slots.values()).count(slot)
        slots[name] = slot
        found[name] = Style(_COLOURS[slot], _MARKERS[(slot + turn) % len(_MARKERS)])
    return found


def setting_colour(shots: int, *, trained: bool) -> str:
    """The colour of a setting, the same in every plot: zero-shot blue, few-shot from yellow to brown, trained green.

    Args:
        shots: Normal images that a method is fitted on.
        trained: Whether its parts are trained.
    """
    if shots == 0:
        return "#009E73" if trained else "#0072B2"
    step = min(shots.bit_length() - 1, len(_FEW_SHOT) - 1)  # 1, 2, 4, 8, 16 and more
    return _FEW_SHOT_TRAINED[step] if trained else _FEW_SHOT[step]


def shorten(label: str, most: int = 44) -> str:
    """Cut in the middle: the difference between labels is often at their end."""
    label = printable(label)
    return label if len(label) <= most else f"{label[: most - 20]} \u2026 {label[-17:]}"


@contextmanager
def figure(width: float, height: float) -> Iterator[Any]:
    """A white figure of so many inches: no pyplot, so no window and no state; and no label is read as a formula."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    own: Any = {"text.parse_math": False, "svg.hashsalt": "vlmad", "text.color": INK, "axes.labelcolor": INK}
    own |= {"font.size": 10, "axes.edgecolor": FAINT, "axes.spines.top": False, "axes.spines.right": False}
    with rc_context(own):
        made = Figure(figsize=(width, height), layout="constrained", facecolor="white")
        FigureCanvasAgg(made)
        yield made


def write(made: Any, out: str | Path, title: str) -> tuple[Path, Path]:
    """``out.png`` and ``out.svg``, each whole; the same bytes for the same plot."""
    out = Path(out)
    paths = out.with_name(f"{out.name}.png"), out.with_name(f"{out.name}.svg")
    out.parent.mkdir(parents=True, exist_ok=True)
    abouts = {"Title": title}, {"Title": title, "Date": None}
    for path, form, about in zip(paths, ("png", "svg"), abouts, strict=True):
        data = io.BytesIO()
        made.savefig(data, format=form, dpi=150, metadata=about)
        write_whole(path, data.getvalue())
    return paths
