"""Tables of the presets: every set and way to run, what was before, and which goals are met."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
_OTHERS: tuple[Way, ...] = (("patch-memory", None, 4), ("subspace", None, 4))
_BATCH: Way = ("pocket-batch", None, 0)


def by_words(rows: list[Row]) -> Iterator[str]:
    """Without normal images."""
    yield from _columns(rows, [*_WORDS, _BATCH])


def with_four(rows: list[Row]) -> Iterator[str]:
    """With four normal images, by recipe and preset."""
    yield from _columns(rows, [*_FOUR, *_OTHERS])


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
    """What was aimed at, and what was reached, by the way to run that came furthest."""
    yield from _head(["goal", "reached", ""])
    four, words = _complete(rows, [*_FOUR, *_OTHERS]), _complete(rows, _WORDS)
    found: list[tuple[str, float, list[Way], Callable[[Way], float]]] = [
        ("4 normal images, mean of all sets", 0.945, four, _mean_of(rows)),
        ("4 normal images, worst set", 0.80, four, lambda way: min(_values(rows, way))),
        ("4 normal images, mean AUPRO of the papers", 0.90, four, lambda way: _papers(rows, way)),
        ("words, mean of all sets", 0.90, words, _mean_of(rows)),
        ("words, cookies", 0.90, words[:1], lambda way: _values(rows, way)[0]),
        ("words at 448 px not below those at 224 px", mean(_values(rows, _WORDS[0])), words[1:2], _mean_of(rows)),
        ("a folder without normal images, mean", 0.88, _complete(rows, [_BATCH]), _mean_of(rows)),
    ]
    for what, goal, ways, value in found:
        if ways:
            best = max(ways, key=value)
            kept = "met" if value(best) >= goal else "**missed**"
            yield _line([f"{what}: {goal:.3f}", f"{value(best):.3f} ({_label(best)})", kept])


def _mean_of(rows: list[Row]) -> Callable[[Way], float]:
    return lambda way: mean(_values(rows, way))


def _papers(rows: list[Row], way: Way) -> float:
    return float(mean(row["aupro"] for row in rows if _way(row) == way and row["set"].startswith("piped/")))


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
