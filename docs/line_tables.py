"""Tables of the filter over time, and their picture, from docs/results/line.jsonl: ``python docs/line_tables.py``.

`build_tables.py` writes the tables into the page; run as a program this file draws ``docs/assets/line.svg``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
SINGLE = "each frame"
SHOWN = (0.9, 1.0)

Row = dict[str, Any]


def alarms(rows: list[Row]) -> Iterator[str]:
    """A row for each set and share of detected parts, a column for each rule: false alarms a minute."""
    found = [row for row in rows if "share" in row]
    rules = list(dict.fromkeys(row["rule"] for row in found))
    yield from _head(["set", "parts", "detected", *rules, "fewer"])
    for name, mine in _sets(found):
        for share in SHOWN:
            at = {row["rule"]: row for row in mine if row["share"] == share}
            parts = f"{mine[0]['good_parts']} + {mine[0]['defective_parts']}"
            single = at[SINGLE]["alarms_per_minute"]
            best = min(row["alarms_per_minute"] for rule, row in at.items() if rule != SINGLE)
            cells = [
                f"{at[rule]['alarms_per_minute']:.0f} ({at[rule]['alarms']})" if rule in at else "-" for rule in rules
            ]
            yield _line([name, parts, f"at least {share:.0%}", *cells, _times(single, best)])


def dependence(rows: list[Row]) -> Iterator[str]:
    """Measured rates of k of n on good parts beside the formula and the bound."""
    found = [row for row in rows if "window_measured" in row]
    yield from _head(
        ["set", "rate of a frame", "window: measured", "if independent", "at most", "part: measured", "if independent"]
    )
    for row in found:
        names = ["rate", "window_measured", "window_independent", "window_bound", "part_measured", "part_independent"]
        yield _line([row["set"], *(f"{row[name]:.2%}" for name in names)])


def _times(single: float, best: float) -> str:
    if best:
        return f"{single / best:.1f} x"
    return "all of them" if single else "none to remove"


def _sets(rows: list[Row]) -> list[tuple[str, list[Row]]]:
    return [(name, [row for row in rows if row["set"] == name]) for name in dict.fromkeys(row["set"] for row in rows)]


def _head(cells: list[str]) -> list[str]:
    return [_line(cells), "|" + "---|" * len(cells)]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def draw(rows: list[Row], out: Path) -> None:
    """False alarms a minute over the share of defective parts that are detected, a panel for each set."""
    from vlmad_core.report.canvas import GRID, figure, styles, write

    found = [row for row in rows if "share" in row]
    sets, rules = _sets(found), list(dict.fromkeys(row["rule"] for row in found))
    style = styles(rules)
    with figure(3.6 * len(sets), 3.6) as made:
        panels = made.subplots(1, len(sets), sharey=True, squeeze=False)[0]
        for axes, (name, mine) in zip(panels, sets, strict=True):
            for rule in rules:
                points = [(100 * row["share"], row["alarms_per_minute"]) for row in mine if row["rule"] == rule]
                looks = {"color": style[rule].colour, "marker": style[rule].marker, "markersize": 5}
                axes.plot(*zip(*points, strict=True), label=rule if name == sets[0][0] else None, **looks)
            axes.set_title(name, fontsize=10)
            axes.set_yscale("symlog", linthresh=1)
            axes.set_ylim(bottom=-0.1)
            axes.grid(color=GRID)
            axes.set_axisbelow(True)
            axes.set_xlabel("defective parts detected, %")
        panels[0].set_ylabel("false alarms a minute")
        made.legend(loc="outside lower center", ncols=len(rules), frameon=False, fontsize=9)
        for path in write(made, out, "False alarms with and without a filter over time"):
            if path.suffix == ".png":
                path.unlink()  # the pages show the SVG


if __name__ == "__main__":
    lines = (DOCS / "results" / "line.jsonl").read_text(encoding="utf-8").splitlines()
    draw([json.loads(line) for line in lines], DOCS / "assets" / "line")
