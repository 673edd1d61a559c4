"""Tables of the presets: every set and way to run, what was before, and which goals are met."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import mean
from typing import Any

Row = dict[str, Any]
Way = tuple[str, str | None, int]
"""Recipe, preset, number of normal images."""

_CHOSEN = {"cookies/cookie": " \\*", "elpv/mono": " \\*"}
"""Sets that settings were chosen with."""
_SETS = 8
_WORDS: tuple[Way, ...] = (("pocket", "fast", 0), ("pocket", "balanced", 0), ("pocket", "best", 0))
_FOUR: tuple[Way, ...] = tuple(("pocket-few-shot", quality, 4) for quality in ("fast", "balanced", "best"))
_BATCH: Way = ("pocket-batch", None, 0)


def by_words(rows: list[Row]) -> Iterator[str]:
    """Without normal images."""
    yield from _columns(rows, [*_WORDS, _BATCH])


def with_four(rows: list[Row]) -> Iterator[str]:
    """With four normal images, by recipe and preset."""
    yield from _columns(rows, [*_FOUR, ("patch-memory", None, 4), ("subspace", None, 4)])


def by_number(rows: list[Row]) -> Iterator[str]:
    """With other numbers of normal images."""
    ways = [(recipe, quality, n) for recipe, quality, n in _ways(rows) if n and n != 4]
    yield from _columns(rows, sorted(ways, key=lambda way: (way[0] != "pocket-few-shot", way[1] != "fast", way[2])))


def before_and_now(rows: list[Row], before: list[Row]) -> Iterator[str]:
    """Image AUROC and AUPRO of the first version beside those of now, on each set."""
    ways: list[Way] = [*_WORDS[:2], *_FOUR[:2]]
    old = [("pocket", 0), ("pocket-few-shot", 4), ("patch-memory", 4)]
    heads = ["words", "words and 4 normal", "patch-memory, 4 normal"]
    yield from _head(["set", *(f"before: {head}" for head in heads), *(f"now: {_label(way)}" for way in ways)])
    for real in dict.fromkeys(row["set"] for row in before):
        first = [next(r for r in before if (r["recipe"], r["shots"], r["set"]) == (*way, real)) for way in old]
        now = {_way(row): row for row in rows if row["set"] == real}
        yield _line([real + _CHOSEN.get(real, ""), *map(_short, first), *(_short(now.get(way)) for way in ways)])
    means = [f"{mean(r['auroc'] for r in before if (r['recipe'], r['shots']) == way):.3f}" for way in old]
    yield _line(["**mean**", *means, *(_mean(rows, way) for way in ways)])


def goals(rows: list[Row]) -> Iterator[str]:
    """What was aimed at, and what was reached."""
    yield from _head(["goal", "reached", ""])
    four = max(_complete(rows, _FOUR), key=lambda way: mean(_values(rows, way)))
    words = max(_complete(rows, _WORDS), key=lambda way: mean(_values(rows, way)))
    papers = [row["aupro"] for row in rows if _way(row) == four and row["set"].startswith("piped/")]
    cookies = {row["quality"]: row["auroc"] for row in rows if _way(row) in _WORDS and row["set"].startswith("cookies")}
    found: list[tuple[str, float, float, str]] = [
        ("4 normal images, mean of all sets", 0.945, mean(_values(rows, four)), _label(four)),
        ("4 normal images, worst set", 0.80, min(_values(rows, four)), _label(four)),
        ("4 normal images, mean AUPRO of the papers", 0.90, mean(papers), _label(four)),
        ("words, mean of all sets", 0.90, mean(_values(rows, words)), _label(words)),
        ("words, cookies", 0.90, cookies["fast"], _label(_WORDS[0])),
    ]
    if _WORDS[1] in _complete(rows, _WORDS):
        fast, larger = (mean(_values(rows, way)) for way in _WORDS[:2])
        found.append((f"words at 448 px not below those at 224 px ({fast:.3f})", fast, larger, _label(_WORDS[1])))
    if _complete(rows, [_BATCH]):
        found.append(("a folder without normal images, mean", 0.88, mean(_values(rows, _BATCH)), _label(_BATCH)))
    for what, goal, value, which in found:
        aim = what if "not below" in what else f"{what}: {goal:.3f}"
        yield _line([aim, f"{value:.3f} ({which})", "met" if value >= goal else "**missed**"])


def _columns(rows: list[Row], ways: list[Way]) -> Iterator[str]:
    """A row for each set, a column for each way: image AUROC (95 % interval); AUPRO."""
    yield from _head(["set", "good + defective", *map(_label, ways)])
    for real in dict.fromkeys(row["set"] for row in rows):
        mine = [row for row in rows if row["set"] == real]
        at = {_way(row): row for row in mine}
        counts = f"{mine[0]['good']} + {mine[0]['bad']}"
        yield _line([real + _CHOSEN.get(real, ""), counts, *(_full(at.get(way)) for way in ways)])
    yield _line(["**mean**", "", *(_mean(rows, way) for way in ways)])


def _way(row: Row) -> Way:
    return row["recipe"], row["quality"], row["shots"]


def _ways(rows: list[Row]) -> list[Way]:
    return list(dict.fromkeys(map(_way, rows)))


def _values(rows: list[Row], way: Way) -> list[float]:
    return [row["auroc"] for row in rows if _way(row) == way]


def _complete(rows: list[Row], ways: list[Way] | tuple[Way, ...]) -> list[Way]:
    return [way for way in ways if len(_values(rows, way)) == _SETS]


def _label(way: Way) -> str:
    recipe, quality, n = way
    return recipe + (f", {quality}" if quality else "") + (f", {n} normal" if n else "")


def _mean(rows: list[Row], way: Way) -> str:
    values = _values(rows, way)
    if not values:
        return ""
    return f"**{mean(values):.3f}**" if len(values) == _SETS else f"{mean(values):.3f} of {len(values)} sets"


def _full(row: Row | None) -> str:
    if row is None:
        return ""
    spread = f" ± {row['auroc_spread']:.3f}" if row["draws"] > 1 else ""
    interval = f"{row['auroc_low']:.2f} to {row['auroc_high']:.2f}"
    return f"{row['auroc']:.3f}{spread} ({interval})" + (f"; {row['aupro']:.3f}" if "aupro" in row else "")


def _short(row: Row | None) -> str:
    if row is None:
        return ""
    return f"{row['auroc']:.3f}" + (f"; {row['aupro']:.3f}" if "aupro" in row else "")


def _head(cells: list[str]) -> list[str]:
    return [_line(cells), "|" + "---|" * len(cells)]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
