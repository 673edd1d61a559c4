"""Write the tables of accuracy, verdicts and parity from the files in docs/results: ``python docs/build_tables.py``.

A table stands between ``<!-- table: NAME -->`` and ``<!-- end -->`` in a page of a method or in a plugin's README. What
the files hold and how they were made is described in docs/results/README.md. A test holds the pages to the files.
"""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from pathlib import Path
from statistics import mean
from typing import Any

import yaml

DOCS = Path(__file__).parent
RESULTS = DOCS / "results"
_BETWEEN = re.compile(r"(<!-- table: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)
_VERDICTS = runpy.run_path(str(DOCS / "verdict_tables.py"))
_HARDWARE = runpy.run_path(str(DOCS / "hardware_tables.py"))
_LINE = runpy.run_path(str(DOCS / "line_tables.py"))
_ROBUSTNESS = runpy.run_path(str(DOCS / "robustness_tables.py"))
_ACCURACY = runpy.run_path(str(DOCS / "accuracy_tables.py"))
_BENCHMARKS = runpy.run_path(str(DOCS.parent / "plugins" / "vlmad-pocket" / "benchmarks" / "table.py"))

Row = dict[str, Any]


def pages() -> dict[Path, str]:
    """Every page that has a table, with tables that are up to date."""
    every = [
        *DOCS.glob("inspection.md"),
        *sorted(DOCS.glob("howto/*.md")),
        *sorted(DOCS.glob("methods/*.md")),
        *sorted(DOCS.parent.glob("plugins/*/README.md")),
    ]
    texts = {path: path.read_text(encoding="utf-8") for path in every}
    return {path: _BETWEEN.sub(_filled, text) for path, text in texts.items() if "<!-- table: " in text}


def _filled(found: re.Match[str]) -> str:
    if found[2] not in TABLES:
        raise ValueError(f"There is no table {found[2]!r}; there are {', '.join(TABLES)}.")
    return found[1] + "\n".join(TABLES[found[2]]()).strip() + "\n" + found[3]


@cache
def rows(name: str) -> list[Row]:
    """What was measured, one row for each set and setting."""
    lines = (RESULTS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


# -- accuracy


def unlabelled(name: str) -> Iterator[str]:
    """A row for each set: by itself, and re-scored as a whole."""
    yield from _head(["set", "good + defective", "image AUROC", "re-scored, *transductive*", "pixel AUROC, AUPRO"])
    for row in rows(name):
        yield _line([row["set"], _counts(row), f"{row['auroc']:.3f}", f"{row['rescored']:.3f}", _pixels(row)])
    means = [f"{mean(row[metric] for row in rows(name)):.3f}" for metric in ("auroc", "rescored")]
    yield _line(["**mean**", "", *means, ""])


def equal_rows_joined(name: str) -> Iterator[str]:
    """A row for each set and recipe; recipes that give the same numbers share one."""
    yield from _head(["set", "good + defective", "what", "image AUROC (95 %)", "AP", "pixel AUROC, AUPRO"])
    for real, mine in _by(rows(name), "set"):
        joined: dict[tuple[str, ...], list[Row]] = {}
        for row in mine:
            image = f"{row['auroc']:.3f} ± {row['auroc_spread']:.3f} ({_interval(row)})"
            joined.setdefault((image, f"{row['ap']:.3f}", _pixels(row)), []).append(row)
        for cells, same in joined.items():
            names = ", and ".join(row["recipe"] for row in same)
            yield _line([real, _counts(same[0]), names, *cells])


def _by(found: list[Row], key: str) -> list[tuple[str, list[Row]]]:
    return [(value, [row for row in found if row[key] == value]) for value in dict.fromkeys(row[key] for row in found)]


def _counts(row: Row) -> str:
    return f"{row['good']} + {row['bad']}"


def _interval(row: Row) -> str:
    return f"{row['auroc_low']:.2f} to {row['auroc_high']:.2f}"


def _pixels(row: Row) -> str:
    return f"{row['pixel_auroc']:.3f}, {row['aupro']:.3f}" if "aupro" in row else "no masks"


# -- parity

STAGES = yaml.safe_load((DOCS / "parity.yaml").read_text(encoding="utf-8"))
"""By table: which arrays of tests/parity it is ``about``, and which of them each of its ``rows`` takes, as patterns."""


@cache
def measured() -> dict[str, dict[str, float]]:
    """By file and array: the largest difference that tests/parity/measure.py saw, and what is allowed."""
    files = json.loads((RESULTS / "parity.json").read_text(encoding="utf-8"))
    del files["about"]
    return {f"{file}/{name}": entry for file, names in files.items() for name, entry in names.items()}


def taken(table: str) -> dict[str, list[str]]:
    """The arrays of each row."""
    about, patterns = STAGES[table]["about"], STAGES[table]["rows"]
    return {
        row: [name for name in measured() if re.fullmatch(f"{about}({pattern})", name)]
        for row, pattern in patterns.items()
    }


def parity(table: str) -> Iterator[str]:
    """A row for each stage: how many arrays, how far off at most, how far off they may be."""
    yield from _head(["what", "arrays", "largest difference", "tolerance"])
    for stage, names in taken(table).items():
        mine = [measured()[name] for name in names]
        allowed = [min(entry["atol"] for entry in mine), max(entry["atol"] for entry in mine)]
        span = " to ".join(dict.fromkeys(map(_short, allowed)))
        yield _line([stage, str(len(mine)), _short(max(entry["difference"] for entry in mine)), span])


def _short(value: float) -> str:
    return re.sub(r"\.0(?=e)|(?<=e-)0", "", f"{value:.1e}") if value else "0"


# -- Markdown


def _head(cells: list[str]) -> list[str]:
    return [_line(cells), "|" + "---|" * len(cells)]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


TABLES: dict[str, Callable[[], Iterable[str]]] = {
    "before and now": lambda: _ACCURACY["before_and_now"](rows("presets"), rows("before")),
    "goals": lambda: _ACCURACY["goals"](rows("presets")),
    "words": lambda: _ACCURACY["by_words"](rows("presets")),
    "four normal images": lambda: _ACCURACY["with_four"](rows("presets")),
    "other numbers": lambda: _ACCURACY["by_number"](rows("presets")),
    "learned": lambda: _BENCHMARKS["learned"](rows("learned")),
    "musc": partial(unlabelled, "musc"),
    "verdicts": lambda: _VERDICTS["kept"](rows("verdicts"), "conformal"),
    "verdicts few-shot": lambda: _VERDICTS["kept"](rows("verdicts"), "leave-one-out"),
    "verdicts of usual rules": lambda: _VERDICTS["usual"](rows("verdicts")),
    "line": lambda: _LINE["alarms"](rows("line")),
    "line, frames that depend": lambda: _LINE["dependence"](rows("line")),
    "precision drift": lambda: _HARDWARE["drift"](rows("precision-drift")),
    "exported files": lambda: _HARDWARE["exported"](rows("exported")),
    **{
        f"robustness {name}": lambda name=name: _ROBUSTNESS[name](rows("robustness"))
        for name in ("corruptions", "attacks", "worst")
    },
    "foreground": partial(equal_rows_joined, "foreground"),
    **{f"parity {table}": partial(parity, table) for table in STAGES},
}

if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
