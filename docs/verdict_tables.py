"""Tables of kept promises, and their picture, from docs/results/verdicts.jsonl: ``python docs/verdict_tables.py``.

`build_tables.py` writes the tables into the page; run as a program this file draws ``docs/assets/verdicts.svg``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
USUAL = ("mean + 3 sigma", "maximum", "P95 x 1.421", "F1-adaptive")
RATES = (0.2, 0.1, 0.05, 0.01)
_HEADS = {"maximum": "maximum of the normals", "F1-adaptive": "highest F1"}

Row = dict[str, Any]


def kept(rows: list[Row], rule: str) -> Iterator[str]:
    """A row for each set, a column for each promised rate: realised rate, its 95 % of splits, defects found."""
    yield from _head(["set", "normals", "AUROC", *(f"promised {rate:.0%}" for rate in RATES)])
    for name, mine in _sets(rows):
        at = {row["alpha"]: row for row in mine if row["rule"] == rule}
        first = next(iter(at.values()))
        yield _line([name, str(first["normals"]), f"{first['auroc']:.2f}", *(_cell(at.get(rate)) for rate in RATES)])


def usual(rows: list[Row]) -> Iterator[str]:
    """A row for each set, a column for each usual rule: realised rate and defects found on the same splits."""
    yield from _head(["set", *(_HEADS.get(rule, rule) for rule in USUAL)])
    for name, mine in _sets(rows):
        at = {row["rule"]: row for row in mine}
        yield _line([name, *(f"{at[rule]['rate']:.1%}; {at[rule]['found']:.0%} found" for rule in USUAL)])


def _cell(row: Row | None) -> str:
    if row is None:
        return "too few normals"
    return f"{row['rate']:.1%} ({row['low']:.0%} to {row['high']:.0%}); {row['found']:.0%} found"


def _sets(rows: list[Row]) -> list[tuple[str, list[Row]]]:
    return [(name, [row for row in rows if row["set"] == name]) for name in dict.fromkeys(row["set"] for row in rows)]


def _head(cells: list[str]) -> list[str]:
    return [_line(cells), "|" + "---|" * len(cells)]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def draw(rows: list[Row], out: Path) -> None:
    """Left: realised against promised rates. Right: what the usual rules realise on the same splits."""
    from vlmad_core.report.canvas import GRID, INK, figure, styles, write

    sets = [name for name, _ in _sets(rows)]
    style = styles(sets)
    with figure(11, 4.6) as made:
        promised, others = made.subplots(1, 2, sharey=True, width_ratios=(3, 2))
        for rate in RATES:
            promised.plot([0.8 * rate, 1.25 * rate], [100 * rate] * 2, color=INK, linestyle="--", linewidth=1.2)
        for number, name in enumerate(sets):
            mine = [row for row in rows if row["set"] == name]
            looks = {"color": style[name].colour, "marker": style[name].marker, "markersize": 5, "linewidth": 1}
            shift = 1.05 ** (number - (len(sets) - 1) / 2)
            exact = [row for row in mine if row["rule"] == "conformal"]
            promised.errorbar(
                [row["alpha"] * shift for row in exact],
                [100 * row["rate"] for row in exact],
                yerr=[
                    [100 * (row["rate"] - row["low"]) for row in exact],
                    [100 * (row["high"] - row["rate"]) for row in exact],
                ],
                linestyle="",
                label=name,
                **looks,
            )
            at = {row["rule"]: row for row in mine}
            others.plot(
                [place + (number - (len(sets) - 1) / 2) * 0.09 for place in range(len(USUAL))],
                [100 * at[rule]["rate"] for rule in USUAL],
                linestyle="",
                **{**looks, "linewidth": 0},
            )
        promised.set_xscale("log")
        promised.set_xticks(RATES, [f"{rate:.0%}" for rate in RATES])
        promised.minorticks_off()
        promised.set_xlim(0.005, 0.3)
        for axes in (promised, others):
            axes.set_yscale("symlog", linthresh=1, linscale=0.5)
            axes.set_yticks([0, 1, 2, 5, 10, 20, 50, 100], ["0", "1", "2", "5", "10", "20", "50", "100"])
            axes.minorticks_off()
            axes.set_ylim(-0.1, 115)
            axes.grid(axis="y", color=GRID)
            axes.set_axisbelow(True)
        promised.set_xlabel("promised rate of false alarms")
        promised.set_ylabel("realised, % of good images")
        promised.set_title("conformal thresholds", fontsize=10, color=INK)
        promised.text(0.0078, 1, "promised ", ha="right", va="center", fontsize=9)
        others.set_xticks(range(len(USUAL)), [_HEADS.get(rule, rule).replace(" of the", "\nof the") for rule in USUAL])
        others.tick_params(axis="x", labelsize=8)
        others.set_title("usual rules, on the same splits", fontsize=10, color=INK)
        made.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=9)
        for path in write(made, out, "Promised and realised false-alarm rates"):
            if path.suffix == ".png":
                path.unlink()  # the pages show the SVG


if __name__ == "__main__":
    lines = (DOCS / "results" / "verdicts.jsonl").read_text(encoding="utf-8").splitlines()
    draw([json.loads(line) for line in lines], DOCS / "assets" / "verdicts")
