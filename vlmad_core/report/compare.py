"""Is one method of a benchmark better than another? Both scored the same images, so each image is its own control."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlmad_core.errors import ConfigError, did_you_mean
from vlmad_core.files import refuse_special
from vlmad_core.metrics.image import auroc, average_precision, f1max
from vlmad_core.metrics.interval import auroc_interval
from vlmad_core.metrics.paired import Paired, delong, paired_bootstrap
from vlmad_core.report.means import METRICS, Row, as_text
from vlmad_core.report.render import DASH, Cell, Table
from vlmad_core.report.rows import read_rows

__all__ = ["Comparison", "compare", "comparison_table"]

_METRICS: dict[str, Callable[..., float]] = {"image_auroc": auroc, "image_ap": average_precision, "image_f1max": f1max}
_WIDTH = 2 * 1.959963984540054  # of a 95 % interval, in standard errors
_ALL = "mean"
_PERFECT = "Both are perfect on these images, so they say little of harder ones."


@dataclass(frozen=True)
class Comparison:
    """The difference in one category, or in the mean over all.

    Args:
        dataset: Its name.
        category: Its name; "mean" for the mean over all.
        good: Normal images that both scored.
        defective: Defective ones.
        seeds: Draws of normal images over which each side is averaged.
        paired: Values, their difference, its 95 % interval and p; None where it could not be compared.
        reason: Why not.
    """

    dataset: str
    category: str
    good: int
    defective: int
    seeds: int
    paired: Paired | None
    reason: str = ""

    @property
    def verdict(self) -> str:
        """``"first"`` or ``"second"`` is better, or ``"none"``: no difference shown; empty where not compared."""
        if self.paired is None or math.isnan(self.paired.low):
            return ""
        return "first" if self.paired.low > 0 else "second" if self.paired.high < 0 else "none"


def compare(
    folder: str | Path, first: str, second: str, *, metric: str = "image_auroc", backbone: str | None = None
) -> list[Comparison]:
    """Compare two methods of a benchmark on the images that both scored.

    One seed and AUROC: DeLong's test. Several seeds, or another metric: the paired bootstrap over images of the mean
    over seeds. The mean over categories takes them as independent.

    Args:
        folder: Of the benchmark.
        first: Label of a method; ``"label:4"`` for its runs with 4 normal images.
        second: Likewise.
        metric: "image_auroc", "image_ap" or "image_f1max".
        backbone: Label of the backbone, where the methods ran on several.

    Returns:
        Each category of each data set, each followed by its mean.

    Raises:
        ConfigError: No benchmark, no such method, several runs that could be meant, or nothing in common.
    """
    if metric not in _METRICS:
        raise ConfigError(f"images are compared by {', '.join(_METRICS)}; got '{metric}'.")
    rows: list[Row] = [row for row in read_rows(folder) if row["status"] == "done"]
    sides = []
    for name in (first, second):
        side: dict[tuple[str, str], list[Row]] = {}
        for row in _chosen(rows, name, backbone):
            side.setdefault((row["dataset"], row["category"]), []).append(row)
        sides.append(side)
    one, two = sides
    if not one.keys() & two.keys():
        raise ConfigError(f"'{first}' and '{second}' have no category in common in {folder}.")
    places = sorted(one.keys() | two.keys())
    found: list[Comparison] = []
    for dataset in dict.fromkeys(dataset for dataset, _ in places):
        chosen = [
            _category(Path(folder), place, one.get(place, []), two.get(place, []), metric)
            for place in places
            if place[0] == dataset
        ]
        found += chosen
        if len(chosen) > 1:
            found.append(_mean(dataset, chosen))
    return found


def comparison_table(found: Sequence[Comparison], first: str, second: str, metric: str = "image_auroc") -> Table:
    """The same as a table, in percent.

    Args:
        found: From :func:`compare`.
        first: What to call the first method.
        second: The second.
        metric: Which was compared.
    """
    verdicts = {"first": f"{first} better", "second": f"{second} better", "none": "no difference shown", "": DASH}
    several = len({one.dataset for one in found}) > 1
    lines = []
    for one in found:
        label = f"{one.dataset}, {as_text(one.category)}" if several else as_text(one.category)
        counts = f"{one.good} + {one.defective}"
        if one.paired is None:
            lines.append((Cell(label), Cell(counts), *[Cell()] * 3, Cell(DASH), Cell(DASH, notes=(one.reason,))))
            continue
        pair = one.paired
        interval = None if math.isnan(pair.low) else (100 * pair.low, 100 * pair.high)
        p = DASH if math.isnan(pair.p) else "<0.001" if pair.p < 0.001 else f"{pair.p:.3f}"
        notes = tuple(note for note in (one.reason, pair.caution) if note)
        lines.append(
            (
                Cell(label),
                Cell(counts),
                *(_side(value, one, metric) for value in (pair.first, pair.second)),
                Cell(value=100 * pair.difference, interval=interval, signed=True),
                Cell(p),
                Cell(verdicts[one.verdict], notes=notes, strong=one.verdict in ("first", "second")),
            )
        )
    tests = sorted({one.paired.method for one in found if one.paired is not None and one.category != _ALL})
    test = " and ".join(
        {"delong": "DeLong's test", "bootstrap": "paired bootstrap over images"}[name] for name in tests
    )
    intervals = " with its 95 % interval over images" if metric == "image_auroc" else ""
    caption = (
        f"{METRICS[metric]} in percent{intervals}; difference with its 95 % interval and p on the same images "
        f"({test}). "
        "The p of single categories are not corrected for there being several."
    )
    heads = ("category", "good + defective", first, second, "difference", "p", "verdict")
    return Table(heads, tuple(lines), 2, caption)


def _side(value: float, one: Comparison, metric: str) -> Cell:
    """One side of a comparison, with its interval over the images of one category."""
    if metric != "image_auroc" or one.category == _ALL:
        return Cell(value=100 * value)
    low, high = auroc_interval(value, one.defective, one.good)
    return Cell(value=100 * value, interval=(100 * low, 100 * high))


def _chosen(rows: Sequence[Row], name: str, backbone: str | None) -> list[Row]:
    """The rows of one side: one run for each category and seed."""
    labels = {row["method"] for row in rows}
    label, colon, shots = name.rpartition(":")
    if name in labels or not (colon and shots.isdecimal()):
        label, shots = name, ""
    longer = [one for one in labels if one.startswith(f"{label} (")]  # such as "winclip (pocket)"
    if label not in labels and len(longer) == 1:
        label = longer[0]
    if label not in labels:
        known = ", ".join(sorted(labels)) or "none"
        raise ConfigError(f"no method '{label}' was run; there are {known}.{did_you_mean(label, labels)}")
    chosen = [row for row in rows if row["method"] == label and backbone in (None, row["backbone"])]
    chosen = [row for row in chosen if not shots or row["shots"] == int(shots)]
    hints = {
        "backbone": "choose one with --backbone",
        "shots": f"choose one, such as {label}:{{}}",
        "image_size": "compare folders that hold one size",
    }
    for field, hint in hints.items():
        values = sorted({as_text(row.get(field)) for row in chosen})
        if len(values) > 1:
            raise ConfigError(f"'{name}' was run with {field} {', '.join(values)}; {hint.format(values[-1])}.")
    if not chosen:
        wanted = [f"{shots} normal images"] * bool(shots) + [f"backbone '{backbone}'"] * (backbone is not None)
        raise ConfigError(f"'{label}' was not run with {' and '.join(wanted)}.")
    return chosen


def _category(folder: Path, place: tuple[str, str], one: Sequence[Row], two: Sequence[Row], metric: str) -> Comparison:
    dataset, category = place
    if not one or not two:
        return Comparison(dataset, category, 0, 0, 0, None, "Scored by one of the two alone.")
    seeds = sorted({row["seed"] for row in one} & {row["seed"] for row in two})
    alone = min(len(one), len(two)) == 1  # zero-shot has one run, whatever the seeds of the other side
    sides = [[row for row in side if alone or row["seed"] in seeds] for side in (one, two)]
    if not all(sides):
        return Comparison(dataset, category, 0, 0, 0, None, "No seed in common.")
    runs = [[_scores(folder, row) for row in side] for side in sides]
    every = [run for side in runs for run in side]
    paths = sorted(set.intersection(*(set(run) for run in every)))
    truth = np.array([every[0][path][1] for path in paths])
    scores = [np.array([[run[path][0] for run in side] for path in paths]) for side in runs]
    most = max(len(run) for run in every)
    reason = f"On the {len(paths)} of {most} images that all runs scored." if len(paths) < most else ""
    good, bad = int((truth == 0).sum()), int((truth > 0).sum())
    if min(good, bad) < 2:
        return Comparison(dataset, category, good, bad, 0, None, "Fewer than two images of a kind in common.")
    count = max(len(side) for side in sides)
    perfect = all(_METRICS[metric](run, truth) == 1 for side in scores for run in side.T)
    if perfect:
        reason = f"{reason} {_PERFECT}".strip()

    def over_seeds(columns: NDArray[Any], labels: NDArray[Any]) -> float:
        return float(np.mean([_METRICS[metric](column, labels) for column in columns.T]))

    if metric == "image_auroc" and (count == 1 or perfect):
        pair = delong(scores[0][:, 0], scores[1][:, 0], truth)
    else:
        pair = paired_bootstrap(over_seeds, scores[0], scores[1], truth)
        if perfect:  # a resample of a perfect sample is perfect, which says nothing
            pair = replace(pair, low=math.nan, high=math.nan, p=math.nan)
    return Comparison(dataset, category, good, bad, count, pair, reason)


def _mean(dataset: str, found: Sequence[Comparison]) -> Comparison:
    """Over categories, which are independent of each other: squared errors add."""
    there = [one.paired for one in found if one.paired is not None and not math.isnan(one.paired.low)]
    good, bad = sum(one.good for one in found), sum(one.defective for one in found)
    if not there:
        return Comparison(dataset, _ALL, good, bad, 0, None, "No category could be compared.")
    first, second = (float(np.mean([getattr(pair, side) for pair in there])) for side in ("first", "second"))
    error = math.sqrt(sum(((pair.high - pair.low) / _WIDTH) ** 2 for pair in there)) / len(there)
    difference, half = first - second, error * _WIDTH / 2
    p = math.erfc(abs(difference) / error / math.sqrt(2)) if error > 0 else 1.0 if difference == 0 else math.nan
    left = len(found) - len(there)
    reason = f"Mean of {len(there)} of {len(found)} categories." if left else ""
    perfect = sum(_PERFECT in one.reason for one in found)
    if perfect:
        reason = f"{reason} In {perfect} of them both are perfect.".strip()
    caution = "Some categories have few images." if any(pair.caution for pair in there) else ""
    low, high = max(-1.0, difference - half), min(1.0, difference + half)
    pair = Paired(first, second, difference, low, high, p, "normal", caution)
    return Comparison(dataset, _ALL, good, bad, max(one.seeds for one in found), pair, reason)


def _scores(folder: Path, row: Row) -> dict[str, tuple[float, int]]:
    """Path to score and label."""
    path = folder / "scores" / f"{row['cell']}.jsonl"
    try:
        lines = [json.loads(line) for line in refuse_special(path).read_text(encoding="utf-8").splitlines()]
        return {line["path"]: (float(line["score"]), int(line["label"])) for line in lines}
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: is missing; run the benchmark again, it makes what is not there.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: does not hold scores; remove it, and run the benchmark again.") from error
