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

Row = dict[str, Any]


def alarms(rows: list[Row]) -> Iterator[str]:
    """A row for each set and rate of frames, a column for each rule: false alarms a minute, and parts detected."""
    found = [row for row in rows if "alarms" in row]
    rules = list(dict.fromkeys(row["rule"] for row in found))
    yield from _head(["set: good + defective parts", "good frames above", *rules])
    for name, mine in _sets(found):
        for alpha in dict.fromkeys(row["alpha"] for row in mine):
            at = {row["rule"]: row for row in mine if row["alpha"] == alpha}
            parts = f"{name}: {mine[0]['good_parts']} + {mine[0]['defective_parts']}"
            cells = [
                f"{at[rule]['alarms_per_minute']:.0f} a minute ({at[rule]['alarms']}); {at[rule]['detected']} detected"
                for rule in rules
            ]
            yield _line([parts, f"{alpha:.0%}", *cells])


def dependence(rows: list[Row]) -> Iterator[str]:
    """Measured rates of k of n on good parts beside the formula and the bound."""
    found = [row for row in rows if "window_measured" in row]
    yield from _head(
        ["set", "rate of a frame", "window: measured", "if independent", "at most", "part: measured", "if independent"]
    )
    for row in found:
        names = ["rate", "window_measured", "window_independent", "window_bound", "part_measured", "part_independent"]
        yield _line([row["set"], *(f"{row[name]:.2%}" for name in names)])


def _sets(rows: list[Row]) -> list[tuple[str, list[Row]]]:
    return [(name, [row for row in rows if row["set"] == name]) for name in dict.fromkeys(row["set"] for row in rows)]


def _head(cells: list[str]) -> list[str]:
    return [_line(cells), "|" + "---|" * len(cells)]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def draw(rows: list[Row], out: Path) -> None:
    """False alarms a minute over the rate of frames, a panel for each set; beside each point the parts detected."""
    from vlmad_core.report.canvas import GRID, figure, styles, write

    found = [row for row in rows if "alarms" in row]
    sets, rules = _sets(found), list(dict.fromkeys(row["rule"] for row in found))
    style = styles(rules)
    with figure(max(5.5, 4.0 * len(sets)), 3.8) as made:
        panels = made.subplots(1, len(sets), sharey=True, squeeze=False)[0]
        for axes, (name, mine) in zip(panels, sets, strict=True):
            for rule in rules:
                own = [row for row in mine if row["rule"] == rule]
                points = [(100 * row["alpha"], row["alarms_per_minute"]) for row in own]
                looks = {"color": style[rule].colour, "marker": style[rule].marker, "markersize": 5}
                axes.plot(*zip(*points, strict=True), label=rule if name == sets[0][0] else None, **looks)
                for (x, y), row in zip(points, own, strict=True):
                    axes.annotate(
                        str(row["detected"]), (x, y), (0, 5), textcoords="offset points", ha="center", fontsize=7,
                        color=style[rule].colour,
                    )  # fmt: skip
            axes.set_title(f"{name}: {mine[0]['defective_parts']} defective parts", fontsize=10)
            axes.set_xscale("log")
            ticks = [100 * row["alpha"] for row in mine if row["rule"] == SINGLE]
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.minorticks_off()
            axes.grid(color=GRID)
            axes.set_axisbelow(True)
            axes.set_xlabel("good frames above the threshold, %")
        panels[0].set_ylabel("false alarms a minute")
        made.legend(loc="outside lower center", ncols=len(rules), frameon=False, fontsize=9)
        for path in write(made, out, "False alarms with and without a filter over time"):
            if path.suffix == ".png":
                path.unlink()  # the pages show the SVG


if __name__ == "__main__":
    lines = (DOCS / "results" / "line.jsonl").read_text(encoding="utf-8").splitlines()
    draw([json.loads(line) for line in lines], DOCS / "assets" / "line")
