"""Tables of the robustness page, from docs/results/robustness.jsonl; `build_tables.py` writes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Row = dict[str, Any]
_ATTACKS = {"random": "random noise", "pgd": "PGD", "apgd": "APGD"}


def corruptions(rows: list[Row]) -> Iterator[str]:
    """A row for each condition, a column for each severity: AUROC, false alarms, misses."""
    levels = sorted({row["level"] for row in rows if row["kind"] == "corruption"})
    yield from _head(["condition", *(f"severity {level}" for level in levels)])
    (clean,) = (row for row in rows if (row["kind"], row.get("name")) == ("clean", "working size"))
    yield _line(["as it is", _numbers(clean), *([""] * (len(levels) - 1))])
    found = [row for row in rows if row["kind"] == "corruption"]
    for name in dict.fromkeys(row["name"] for row in found):
        at = {row["level"]: row for row in found if row["name"] == name}
        yield _line([name, *(_numbers(at[level]) if level in at else "not measured" for level in levels)])


def worst(rows: list[Row]) -> Iterator[str]:
    """The worst view of each image beside the images as they are."""
    yield from _head(["view", "images", "AUROC (95 %)", "false alarms", "misses"])
    for row in rows:
        if row["kind"] == "worst" or (row["kind"], row.get("name")) == ("clean", "working size"):
            name = "as it is" if row["kind"] == "clean" else f"worst {row['name']}"
            interval = f"{row['auroc']:.3f} ({row['auroc_low']:.2f} to {row['auroc_high']:.2f})"
            yield _line([name, str(row["images"]), interval, _share(row["false_alarms"]), _share(row["misses"])])


def attacks(rows: list[Row]) -> Iterator[str]:
    """Wrong decisions after an attack, of the images attacked, for each direction and epsilon."""
    yield from _head(["direction", "epsilon / 255", *_ATTACKS.values(), "universal", "transferred"])
    wrong = {"raise": "false_alarms", "hide": "misses"}
    found = {
        (row["direction"], row["level"], "transfer" if row["kind"] == "transfer" else row["name"]): _share(
            row[wrong[row["direction"]]]
        )
        for row in rows
        if row["kind"] in ("attack", "universal", "transfer")
    }
    for direction, level in dict.fromkeys(sorted(key[:2] for key in found)):
        cells = [found.get((direction, level, name), "-") for name in (*_ATTACKS, "universal", "transfer")]
        yield _line([direction, str(level), *cells])


def _numbers(row: Row) -> str:
    return f"{row['auroc']:.3f}, {_share(row['false_alarms'])}, {_share(row['misses'])}"


def _share(counted: list[int]) -> str:
    return f"{counted[0]}/{counted[1]}"


def _head(cells: list[str]) -> list[str]:
    return [_line(cells), "|" + "---|" * len(cells)]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
