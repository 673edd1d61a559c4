"""From rows of results to means that can be trusted: over seeds, then over categories, each counted once.

A mean over fewer categories than the data set has is never passed off as a mean over all: it says what it lacks.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vlmad_core.errors import ConfigError, did_you_mean
from vlmad_core.pipeline.trained import is_named
from vlmad_core.report.render import DASH

__all__ = ["FIELDS", "METRICS", "Group", "Mean", "Row", "as_text", "check_metrics", "group"]

Row = Mapping[str, Any]
"""One line of ``rows.jsonl``."""

METRICS = {
    "image_auroc": "image AUROC",
    "image_ap": "image AP",
    "image_f1max": "image F1max",
    "pixel_auroc": "pixel AUROC",
    "pixel_ap": "pixel AP",
    "pixel_f1max": "pixel F1max",
    "aupro": "AUPRO",
    "aupro_05": "AUPRO at 0.05",
    "aupro_200": "AUPRO, 200 steps",
    "au_spro": "AU-sPRO",
}
"""Metrics of a row, 0 to 1 each, to their names."""

FIELDS = {
    "dataset": "data set",
    "method": "method",
    "recipe": "recipe",
    "backbone": "backbone",
    "weights": "weights",
    "image_size": "size",
    "extractor": "extractor",
    "prompts": "prompts",
    "scorers": "scorers",
    "shots": "shots",
}
"""Fields by which rows are grouped, to the head of their column."""

_USUAL = ("backbone", "image_size", "shots")  # shown only where they differ


@dataclass(frozen=True)
class Mean:
    """A mean in [0, 1], and what it is a mean of.

    Args:
        value: None where there is nothing to take it of.
        spread: Standard deviation over seeds (n - 1); None with fewer than two.
        seeds: How many seeds it is over.
        interval: 95 % over images, where the rows have one.
        lacks: Categories that are not in it, to the reason.
        notes: Sentences that belong to it.
    """

    value: float | None
    spread: float | None = None
    seeds: int = 0
    interval: tuple[float, float] | None = None
    lacks: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def _is_unknown(row: Row) -> bool:
    return "trained_on_this" in row and row["trained_on_this"] is None


def _perhaps_here(row: Row) -> bool:
    """Whether nothing but the name of a data set says that it was trained on this one."""
    return _is_unknown(row) and any(is_named({"data": {"name": name}}, row["dataset"]) for name in row["trained_on"])


@dataclass(frozen=True)
class Group:
    """Rows that are the same in everything but category and seed.

    Args:
        key: Field to value, the data set first.
        rows: All of them, the failed too.
        categories: All that the data set has, as far as any row knows.
    """

    key: Mapping[str, Any]
    rows: Sequence[Row]
    categories: Sequence[str]

    @property
    def done(self) -> list[Row]:
        """Those with results."""
        return [row for row in self.rows if row["status"] == "done"]

    @property
    def trained_here(self) -> bool:
        """Whether anything in it was trained on the data set that it is tested on, or on one of its name."""
        return any(row.get("trained_on_this") or _perhaps_here(row) for row in self.rows)

    @property
    def training_note(self) -> str:
        """What a reader must know of its training, in a sentence; empty where there is nothing."""
        if any(row.get("trained_on_this") for row in self.rows):
            return "Trained on the data set that it is tested on: not comparable with the others, and never the best."
        unknown = [row for row in self.rows if _is_unknown(row)]
        if not unknown:
            return ""
        never = ", so it is never the best" if self.trained_here else ""
        named = ", ".join(dict.fromkeys(name for row in unknown for name in row["trained_on"])) or "no data set"
        return (
            "Whether it was trained on what it is tested on cannot be known: its record holds no hashes of images. "
            f"It names {named}{never}."
        )

    def only(self, category: str) -> Group:
        """One category of it."""
        return Group(self.key, [row for row in self.rows if row["category"] == category], (category,))

    def label(self, fields: Iterable[str]) -> str:
        """``"winclip, pocket, 4 shots"``."""
        return ", ".join(
            f"{as_text(self.key[name])} shot{'s' * (self.key[name] != 1)}"
            if name == "shots"
            else as_text(self.key[name])
            for name in fields
        )

    def images(self) -> tuple[range, range]:
        """Good and defective images over the categories with results; fewest to most where seeds differ."""
        sums = []
        for kind in ("good", "defective"):
            counts: dict[str, list[int]] = {}
            for row in self.done:
                counts.setdefault(row["category"], []).append(row.get(kind) or 0)
            sums.append(range(sum(map(min, counts.values())), sum(map(max, counts.values())) + 1))
        return sums[0], sums[1]

    def one(self, category: str, metric: str) -> Mean:
        """Mean over the seeds of one category."""
        values = self._values(category, metric)
        if not values:
            return Mean(None, lacks={category: self._why(category, metric)})
        numbers = list(values.values())
        ends = [self._interval(row, metric) for row in self.done if row["category"] == category]
        known = [end for end in ends if end is not None]
        interval = None
        if known and len(known) == len(numbers):
            low, high = np.mean(known, axis=0)
            interval = (float(low), float(high))
        seeds = {row["seed"] for row in self.rows}
        fewer = f"{category}: {len(numbers)} of {len(seeds)} seeds." if len(numbers) < len(seeds) else ""
        return Mean(float(np.mean(numbers)), _spread(numbers), len(numbers), interval, {}, (fewer,) if fewer else ())

    def mean(self, metric: str) -> Mean:
        """Mean over seeds, then over categories, each weighing the same."""
        each = {category: self.one(category, metric) for category in self.categories}
        lacks = {category: why for mean in each.values() for category, why in mean.lacks.items()}
        there = {category: mean for category, mean in each.items() if mean.value is not None}
        if not there:
            return Mean(None, lacks=lacks)
        values = [mean.value or 0.0 for mean in there.values()]
        table = [self._values(category, metric) for category in there]
        seeds = sorted(set.intersection(*(set(row) for row in table)))
        spread = _spread([float(np.mean([row[seed] for row in table])) for seed in seeds])
        notes = tuple(note for mean in there.values() for note in mean.notes)
        return Mean(float(np.mean(values)), spread, len(seeds), _joined(list(there.values())), lacks, notes)

    def _values(self, category: str, metric: str) -> dict[int, float]:
        rows = [row for row in self.done if row["category"] == category]
        values = {row["seed"]: row.get(metric) for row in rows}
        return {seed: float(value) for seed, value in values.items() if value is not None and math.isfinite(value)}

    def _interval(self, row: Row, metric: str) -> tuple[float, float] | None:
        low, high = row.get(f"{metric}_low"), row.get(f"{metric}_high")
        return None if low is None or high is None else (float(low), float(high))

    def _why(self, category: str, metric: str) -> str:
        rows = [row for row in self.rows if row["category"] == category]
        for row in rows:
            if row["status"] != "done":
                return f"{row['status']}: {row.get('error') or 'no reason was written'}".rstrip(".")
        if not rows:
            return "not tested"
        absent = [kind for kind in ("good", "defective") if not any(row.get(kind) for row in rows)]
        if absent:
            return f"no {absent[0]} image there"
        unmasked = not metric.startswith("image") and all(row.get("pixel_exact") is None for row in rows)
        return "no masks there" if unmasked else "not defined there"


def group(rows: Iterable[Row], by: Sequence[str] | None = None) -> list[Group]:
    """Put rows together that are the same in ``by``; the data set always counts.

    Args:
        rows: Of one run or of several.
        by: Names of :data:`FIELDS`; by default the method, and backbone, size and shots where they differ.

    Raises:
        ConfigError: A name that is none, or rows that would be averaged although their settings differ.
    """
    rows = list(rows)
    if by is None:
        done = [row for row in rows if row["status"] == "done"] or rows
        by = ["method", *(name for name in _USUAL if len({_plain(row.get(name)) for row in done}) > 1)]
    for name in by:
        if name not in FIELDS:
            known = ", ".join(FIELDS)
            raise ConfigError(f"rows cannot be grouped by '{name}'; there are {known}.{did_you_mean(name, FIELDS)}")
    names = ["dataset", *(name for name in by if name != "dataset")]
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in sorted(rows, key=lambda row: row["status"] != "done"):
        key = tuple(_plain(row.get(name)) for name in names)
        found.setdefault(key if row["status"] == "done" else _home(key, list(found)), []).append(row)
    categories: dict[str, dict[str, None]] = {}
    for row in rows:
        categories.setdefault(row["dataset"], {})[row["category"]] = None
    groups = [
        Group({name: members[0].get(name) for name in names}, members, tuple(sorted(categories[members[0]["dataset"]])))
        for members in found.values()
    ]
    for one in groups:
        _check_alike(one)
    return groups


def check_metrics(metrics: Iterable[str]) -> None:
    """Refuse what is no metric.

    Raises:
        ConfigError: The text lists what there is.
    """
    for name in metrics:
        if name not in METRICS:
            known = ", ".join(METRICS)
            raise ConfigError(f"'{name}' is no metric of a row; there are {known}.{did_you_mean(name, METRICS)}")


def as_text(value: Any) -> str:
    """A setting as text: ``[224, 224]`` is 224 x 224, ``["a", "b"]`` is a + b, nothing is a dash."""
    if value is None or value == "":
        return DASH
    if isinstance(value, list | tuple):
        return (" x " if all(isinstance(item, int) for item in value) else " + ").join(map(str, value))
    return str(value)


def _home(key: tuple[str, ...], known: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Where a row belongs that failed before all of its settings were known."""
    fits = [
        one for one in known if all(value in (known_value, "null") for value, known_value in zip(key, one, strict=True))
    ]
    return fits[0] if len(fits) == 1 else key


def _check_alike(one: Group) -> None:
    for name, title in FIELDS.items():
        values = {_plain(row.get(name)): row.get(name) for row in one.done}
        if name not in one.key and len(values) > 1:
            some = " and ".join(sorted(as_text(value) for value in values.values())[:2])
            raise ConfigError(
                f"rows of {one.label(one.key)} differ in {title} ({some}), and a mean over them would say nothing. "
                f"Group by '{name}' too."
            )
    pairs: set[tuple[Any, Any]] = set()
    for row in one.done:
        if (row["category"], row["seed"]) in pairs:
            raise ConfigError(
                f"two rows of {one.label(one.key)} have category {row['category']} and seed {row['seed']}. Give "
                "methods that differ labels that differ, and the rows of one run alone."
            )
        pairs.add((row["category"], row["seed"]))


def _joined(means: Sequence[Mean]) -> tuple[float, float] | None:
    """The interval of a mean of independent numbers: half widths add as squares."""
    known = [(mean.value, *mean.interval) for mean in means if mean.value is not None and mean.interval is not None]
    if not known or len(known) < len(means):
        return None
    value, low, high = np.array(known).T
    centre, count = value.mean(), len(known)
    down, up = (math.sqrt(float(np.sum(np.square(side)))) / count for side in (value - low, high - value))
    return max(0.0, float(centre - down)), min(1.0, float(centre + up))


def _spread(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _plain(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
