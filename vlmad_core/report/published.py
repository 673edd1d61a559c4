"""Published results as data, and beside them what was measured here.

Only what is the same thing is compared: means over all categories of the data set, the same number of normal images,
and AUPRO computed the same way.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from vlmad_core.datasets import published as known
from vlmad_core.errors import ConfigError, did_you_mean
from vlmad_core.report.means import FIELDS, METRICS, Group, Row, as_text, group
from vlmad_core.report.render import Cell, Table
from vlmad_core.report.tables import number

__all__ = ["Published", "against", "lookup", "results"]

_FACTS = {"mvtec-ad": known.MVTEC_AD, "visa": known.VISA}
_UNKNOWN = "aupro_unknown"


@dataclass(frozen=True)
class Published:
    """A number that somebody published.

    Args:
        method: Such as "winclip".
        dataset: "mvtec-ad" or "visa"; the mean over its categories.
        shots: Normal images; 0 for none.
        metric: As in rows; "aupro_unknown" where nobody says how AUPRO was computed.
        value: In percent.
        std: Over seeds, where it is published.
        by: Whose number: "paper", or who implemented it again.
        setting: What was known beforehand; numbers of different settings are not rivals.
        source: Where it was read.
    """

    method: str
    dataset: str
    shots: int
    metric: str
    value: float
    std: float | None
    by: str
    setting: str
    source: str


def results() -> tuple[Published, ...]:
    """Every number there is."""
    data = _data()
    return tuple(
        Published(
            one["method"],
            one["dataset"],
            one["shots"],
            metric,
            numbers[0],
            numbers[1] if len(numbers) > 1 else None,
            one["by"],
            one["setting"],
            data["sources"][one["source"]],
        )
        for one in data["results"]
        for metric, numbers in one["values"].items()
    )


def lookup(method: str, dataset: str, shots: int = 0, *, by: str | None = None) -> tuple[Published, ...]:
    """Published results of a method; nothing where there are none.

    Args:
        method: Such as "winclip"; or the name of its recipe.
        dataset: "mvtec-ad" or "visa".
        shots: Normal images.
        by: Whose numbers: "paper" or another; None for all.

    Raises:
        ConfigError: A method or a data set of which nothing at all is published here.

    >>> [(one.value, one.std) for one in lookup("april-gan", "visa", 4) if one.metric == "aupro_200"]
    [(90.2, 0.1)]
    """
    name = _method(method) or method
    for given, there in ((name, _data()["methods"]), (dataset, _FACTS)):
        if given not in there:
            hint = did_you_mean(given, there)
            raise ConfigError(f"nothing published is known of '{given}'; there are {', '.join(there)}.{hint}")
    return tuple(
        one
        for one in results()
        if (one.method, one.dataset, one.shots) == (name, dataset, shots) and by in (None, one.by)
    )


def against(rows: Iterable[Row], *, margin: float = 1.0, by: str | None = None) -> Table | None:
    """Ours, theirs and the difference, for rows of MVTec AD and VisA by recipes that stand for a paper.

    Args:
        rows: As in ``rows.jsonl``.
        margin: Points that a difference may have; or twice the published standard deviation, where that is more.
        by: Whose numbers; by default those that the recipe stands for, mostly the paper's.

    Returns:
        None where nothing is published that could stand beside the rows.

    Raises:
        ConfigError: A margin below 0, or rows that must not be averaged.
    """
    if margin < 0:
        raise ConfigError(f"margin must be at least 0 points, got {margin}.")
    rows = [row for row in rows if row["status"] != "skipped"]
    categories: dict[str, set[str]] = {}
    for row in rows:
        categories.setdefault(row["dataset"], set()).add(row["category"])
    names = {dataset: _dataset(dataset, there) for dataset, there in categories.items()}
    matching = [row for row in rows if names[row["dataset"]] and _method(row["recipe"])]
    found: list[tuple[Group, Published]] = []
    for one in group(matching):
        dataset, method = names[one.key["dataset"]] or "", _method(one.rows[0]["recipe"]) or ""
        whose = by or _data()["methods"][method]["recipes"][one.rows[0]["recipe"]]
        found += [(one, theirs) for theirs in lookup(method, dataset, one.rows[0]["shots"], by=whose)]
    if not found:
        return None
    settings = list(_data()["settings"])
    found.sort(key=lambda pair: (pair[1].dataset, settings.index(pair[1].setting)))  # stable: settings stay apart
    keys = [name for name in found[0][0].key if name not in ("dataset", "shots")]
    heads = ("data set", *(FIELDS[name] for name in keys), "setting", "shots", "metric")
    lines = [_line(one, theirs, keys, margin) for one, theirs in found]
    caption = (
        "Means over all categories, in percent, beside published ones. Bold: further off than "
        f"{margin:g} points and than twice the published standard deviation. Zero-shot, trained on auxiliary data and "
        "few-shot are different settings, and not rivals."
    )
    return Table((*heads, "ours", "published", "difference", "by"), tuple(lines), len(heads), caption)


def _line(one: Group, theirs: Published, keys: Sequence[str], margin: float) -> tuple[Cell, ...]:
    # The data set has its own list of categories, whatever the rows know.
    whole = Group(one.key, one.rows, tuple(_FACTS[theirs.dataset].counts))
    mean = whole.mean(theirs.metric)
    published = Cell(value=theirs.value, spread=theirs.std, notes=(f"Read in {theirs.source}.",))
    refusal = _refusal(whole, theirs)
    if mean.value is None or refusal:
        ours, difference = Cell(notes=(refusal or "Not measured here.",)), Cell()
    else:
        off = 100 * mean.value - theirs.value
        strong = abs(off) > max(margin, 2 * (theirs.std or 0.0))
        ours, difference = number(mean, len(whole.categories)), Cell(value=off, signed=True, strong=strong)
    metric = "AUPRO, unknown variant" if theirs.metric == _UNKNOWN else METRICS[theirs.metric]
    named = [Cell(theirs.dataset), *(Cell(as_text(one.key[name])) for name in keys)]
    named[1] = Cell(named[1].text, notes=_departures(whole, theirs))
    columns = (Cell(theirs.setting), Cell(str(theirs.shots)), Cell(metric))
    return (*named, *columns, ours, published, difference, Cell(theirs.by))


def _refusal(one: Group, theirs: Published) -> str:
    """Why there is nothing to compare."""
    if theirs.metric == _UNKNOWN:
        return "Not compared: it is not known how the published AUPRO was computed, and its variants differ by points."
    there = {row["category"] for row in one.done}
    gone = [category for category in one.categories if category not in there]
    if gone:
        some = ", ".join(gone[:4]) + (f" and {len(gone) - 4} more" if len(gone) > 4 else "")
        return (
            f"Not compared: {len(gone)} of {len(one.categories)} categories are missing ({some}), and only the mean "
            "over all is published."
        )
    lacks = one.mean(theirs.metric).lacks
    if lacks and theirs.metric == "aupro_200":
        return "Not compared: the published AUPRO is the variant in 200 steps, which was not measured here."
    return f"Not compared: {len(lacks)} of {len(one.categories)} categories have no value." if lacks else ""


def _departures(one: Group, theirs: Published) -> tuple[str, ...]:
    """What differs from the setting of the paper."""
    row, paper = (one.done or one.rows)[0], _data()["methods"][theirs.method]
    model = ((row.get("spec") or {}).get("backbone") or {}).get("config", {}).get("model") or row.get("backbone")
    size = row.get("image_size")
    changes = []
    if not str(model).startswith(paper["model"]):
        changes.append(f"backbone {as_text(model)} in place of {paper['model']}")
    if size and list(size) != [paper["image_size"]] * 2:
        changes.append(f"{as_text(size)} pixels in place of {paper['image_size']}")
    changes += [
        f"{part} {as_text(row.get(part))} in place of {paper[part]}"
        for part in ("extractor", "prompts")
        if row.get(part) != paper[part]
    ]
    notes = [f"Not the published setting: {'; '.join(changes)}."] if changes else []
    if one.training_note:
        notes.append(one.training_note)
    counts = _FACTS[theirs.dataset].counts
    other = [
        row["category"]
        for row in one.done
        if (row.get("good"), row.get("defective"))
        != (counts[row["category"]]["test/good"], counts[row["category"]]["test/defective"])
    ]
    if other:
        notes.append(f"Not tested on all images of {', '.join(dict.fromkeys(other))}.")
    return tuple(notes)


def _dataset(name: str, categories: set[str]) -> str | None:
    """Which of the published data sets it is: by its name, or by having all of the categories of one."""
    plain = name.lower().replace("_", "-")
    for known_as, facts in _FACTS.items():
        if categories <= set(facts.counts) and (
            plain in (known_as, *_data()["datasets"][known_as]) or categories == set(facts.counts)
        ):
            return known_as
    return None


def _method(recipe: str) -> str | None:
    short = (recipe or "").rpartition(":")[2]
    return next((name for name, method in _data()["methods"].items() if short in (name, *method["recipes"])), None)


@cache
def _data() -> Mapping[str, Any]:
    text = files("vlmad_core.report").joinpath("published.json").read_text(encoding="utf-8")
    data: Mapping[str, Any] = json.loads(text)
    return data
