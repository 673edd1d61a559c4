"""Tables of results: means over categories, or every category by itself. Whatever is missing or special is marked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from vlmad_core.errors import ConfigError
from vlmad_core.report.means import FIELDS, METRICS, Group, Mean, Row, as_text, check_metrics, group
from vlmad_core.report.render import DASH, Cell, Table, page

__all__ = ["Table", "by_category", "number", "page", "rules_of", "table"]

_USUAL = tuple(name for name in METRICS if name != "aupro_200")
_COUNTS = "good + defective"


def table(rows: Iterable[Row], *, by: Sequence[str] | None = None, metrics: Sequence[str] | None = None) -> Table:
    """Means over seeds and categories, in percent; the best of each data set and number of normal images is bold.

    Args:
        rows: As in ``rows.jsonl``.
        by: What a line of the table is; see :func:`~vlmad_core.report.means.group`.
        metrics: Columns; by default all that the rows have, but AUPRO in 200 steps.

    Raises:
        ConfigError: No rows, no such field or metric, both kinds of AUPRO, or rows that must not be averaged.
    """
    groups = _groups(rows, by)
    metrics = _metrics(groups, metrics)
    columns = [[one.mean(name) for one in groups] for name in metrics]
    best = [_best(groups, column) for column in columns]
    common, special = _split([_facts(one, metrics) for one in groups])
    labels = _labels(groups)
    lines = []
    for i, one in enumerate(groups):
        cells = [
            number(column[i], len(one.categories), i in winners) for column, winners in zip(columns, best, strict=True)
        ]
        shared = [note for note in (cells[0].notes if cells else ()) if all(note in cell.notes for cell in cells)]
        cells = [replace(cell, notes=tuple(n for n in cell.notes if n not in shared)) for cell in cells]
        named = [Cell(as_text(one.key[name])) for name in labels]
        named[0] = replace(named[0], notes=(*shared, *special[i], *_own(one)))
        lines.append((*named, Cell(_counts([one])), *cells))
    sizes = {len(one.categories) for one in groups}
    over = "" if sizes == {1} else f" over {_range(range(min(sizes), max(sizes) + 1))} categories, unweighted"
    bold = _bold(groups) if any(best) else ""
    caption = f"Means{over}, in percent. {_intervals(lines)} {_spreads(groups)} {' '.join(common)} {bold}"
    heads = (*(FIELDS[name] for name in labels), _COUNTS, *(METRICS[name] for name in metrics))
    return Table(heads, tuple(lines), len(labels) + 1, " ".join(caption.split()))


def by_category(rows: Iterable[Row], metric: str, *, by: Sequence[str] | None = None) -> Table:
    """One metric, in percent: a line for each category and their mean, a column for each group with a value.

    Args:
        rows: As in ``rows.jsonl``.
        metric: Which.
        by: What a column is; see :func:`~vlmad_core.report.means.group`. Data sets are below each other.

    Raises:
        ConfigError: As :func:`table`.
    """
    every = _groups(rows, by)
    check_metrics([metric])
    groups = [one for one in every if one.mean(metric).value is not None] or every
    named = [name for name in groups[0].key if name != "dataset"]
    column = [one.label(named) or METRICS[metric] for one in groups]
    columns = list(dict.fromkeys(column))
    common, special = _split([_facts(one, [metric]) for one in groups])
    own = [(*special[i], *_own(one)) for i, one in enumerate(groups)]
    datasets = list(dict.fromkeys(one.key["dataset"] for one in groups))
    lines = []
    for dataset in datasets:
        there = {i: one for i, one in enumerate(groups) if one.key["dataset"] == dataset}
        of = f"{as_text(dataset)}, " if len(datasets) > 1 else ""
        categories = next(iter(there.values())).categories
        for name in categories:
            means = {i: one.one(name, metric) for i, one in there.items()}
            counts = _counts([one.only(name) for one in there.values()])
            lines.append((Cell(f"{of}{as_text(name)}"), Cell(counts), *_line(groups, means, 1)))
        if len(categories) > 1:
            means = {i: one.mean(metric) for i, one in there.items()}
            counts = _counts(list(there.values()))
            lines.append((Cell(f"{of}mean"), Cell(counts), *_line(groups, means, len(categories))))
        label, total, *cells = lines[-1]  # a column's own facts stand at the foot of it
        noted = [replace(cell, notes=(*own[i], *cell.notes)) if i in there else cell for i, cell in enumerate(cells)]
        lines[-1] = (label, total, *noted)
    lines = [(*line[:2], *_merged(line[2:], column, columns)) for line in lines]
    bold = _bold(groups) if any(cell.strong for line in lines for cell in line) else ""
    empty = list(dict.fromkeys(one.label(named) for one in every if one.label(named) not in columns))
    left = f"Without a value, so without a column: {'; '.join(empty)}." if empty and named else ""
    caption = f"{METRICS[metric]}, in percent. {_intervals(lines)} {_spreads(groups)} {' '.join(common)} {bold} {left}"
    return Table(("category", _COUNTS, *columns), tuple(lines), 2, " ".join(caption.split()))


def number(mean: Mean, categories: int, strong: bool = False) -> Cell:
    """A mean in percent, with what it lacks as a note.

    Args:
        mean: In [0, 1].
        categories: How many it should be over.
        strong: Shown bold.
    """
    notes = [*mean.notes]
    if mean.lacks:
        left = categories - len(mean.lacks)
        over = (
            f"Mean of {left} of {categories} categories, not comparable with the others; without" if left else "None:"
        )
        notes.insert(0, f"{over} {_some(mean.lacks)}.")
    return Cell(
        value=None if mean.value is None else 100 * mean.value,
        spread=None if mean.spread is None else 100 * mean.spread,
        interval=(100 * mean.interval[0], 100 * mean.interval[1]) if mean.interval else None,
        strong=strong,
        notes=tuple(notes),
    )


def rules_of(groups: Sequence[Group], metrics: Sequence[str]) -> str:
    """How the numbers of all groups were computed, as sentences.

    Args:
        groups: Of rows.
        metrics: Which are shown.
    """
    common, special = _split([_facts(one, metrics) for one in groups])
    return " ".join([*common, *(["Rules differ; see the table."] if any(special) else [])])


def _line(groups: Sequence[Group], means: Mapping[int, Mean], categories: int) -> list[Cell]:
    places = list(means)
    best = {places[i] for i in _best([groups[i] for i in places], list(means.values()))}
    return [number(means[i], categories, i in best) if i in means else Cell("") for i in range(len(groups))]


def _merged(cells: Sequence[Cell], column: Sequence[str], columns: Sequence[str]) -> list[Cell]:
    """Cells of groups in their columns: groups that differ in the data set alone share one."""
    found = {name: cell for name, cell in zip(column, cells, strict=True) if cell.text is None}
    return [found.get(name, Cell("")) for name in columns]


def _groups(rows: Iterable[Row], by: Sequence[str] | None) -> list[Group]:
    groups = group(rows, by)
    if not groups:
        raise ConfigError("there are no rows to make a table of; run the benchmark first.")
    return groups


def _metrics(groups: Sequence[Group], wanted: Sequence[str] | None) -> list[str]:
    if wanted is None:
        there = [name for name in _USUAL if any(row.get(name) is not None for one in groups for row in one.done)]
        return there or ["image_auroc"]  # a column for the reasons
    check_metrics(wanted)
    if {"aupro", "aupro_200"} <= set(wanted):
        raise ConfigError(
            "'aupro' is exact and 'aupro_200' the variant in 200 steps that papers print; they differ by points, so a "
            "table shows one of them. Make two tables."
        )
    return list(wanted)


def _best(groups: Sequence[Group], means: Sequence[Mean]) -> list[int]:
    """The highest of each block, as shown; only whole means of what was not trained on this data set compete."""
    blocks: dict[tuple[str, str], list[tuple[float, int]]] = {}
    for i, (one, mean) in enumerate(zip(groups, means, strict=True)):
        if mean.value is not None and not mean.lacks and not one.trained_here:
            block = (as_text(one.key["dataset"]), as_text(one.key.get("shots")))
            blocks.setdefault(block, []).append((round(100 * mean.value, 1), i))
    return [i for some in blocks.values() if len(some) > 1 for value, i in some if value == max(some)[0]]


def _bold(groups: Sequence[Group]) -> str:
    fields = {"dataset": "data set", "shots": "number of normal images"}
    several = [name for field, name in fields.items() if len({as_text(one.key.get(field)) for one in groups}) > 1]
    return f"Bold: the best{' of each ' * bool(several)}{' and '.join(several)}."


def _labels(groups: Sequence[Group]) -> list[str]:
    """Fields that are shown; the data set only where there are several."""
    names = list(groups[0].key)
    return names if len({as_text(one.key["dataset"]) for one in groups}) > 1 or len(names) == 1 else names[1:]


def _facts(one: Group, metrics: Sequence[str]) -> list[str]:
    """How it was computed, as sentences."""
    if not one.done:
        return []
    facts = [f"Image score: {_all(one, 'image_rule')}."] if any(name.startswith("image") for name in metrics) else []
    pixels = [name for name in metrics if not name.startswith("image")]
    if any(row.get(name) is not None for row in one.done for name in pixels):
        at = (
            f"{_all(one, 'resolution')} pixels"
            if any(row.get("resolution") for row in one.done)
            else "their masks' size"
        )
        facts += [f"Maps scored at {at}, masks: {_all(one, 'mask_rule')}."]
        streamed = [row for row in one.done if row.get("pixel_exact") is False]
        bound = max((row.get("pixel_bound") or 0.0 for row in streamed), default=0.0)
        off = f"Pixel metrics of {len(streamed)} of {len(one.done)} runs are streamed, at most {100 * bound:.2g} off."
        facts += [off if streamed else "Pixel metrics are exact."]
    return facts


def _all(one: Group, name: str) -> str:
    values = list(dict.fromkeys(as_text(row[name]) for row in one.done if row.get(name))) or [DASH]
    return " or ".join(values) if len(values) < 4 else f"{values[0]} and {len(values) - 1} others"


def _own(one: Group) -> tuple[str, ...]:
    """Notes of a group wherever it is shown."""
    paths = {(row["category"], file["path"]) for row in one.done for file in row.get("unreadable") or ()}
    unread = f"{len(paths)} image{'s' * (len(paths) > 1)} could not be read." if paths else ""
    problems = dict.fromkeys(f"{row['category']}: {text}" for row in one.done for text in row.get("problems") or ())
    return tuple(note for note in (one.training_note, unread, *problems) if note)


def _split(facts: Sequence[Sequence[str]]) -> tuple[list[str], list[tuple[str, ...]]]:
    """Sentences that hold for all groups, for the caption, and those of some, for their notes."""
    there = [some for some in facts if some]
    common = [fact for fact in (there[0] if there else ()) if all(fact in some for some in there)]
    return common, [tuple(fact for fact in some if fact not in common) for some in facts]


def _intervals(lines: Sequence[Sequence[Cell]]) -> str:
    found = any(cell.interval for line in lines for cell in line)
    return "In brackets: 95 % interval over images, for the draws of normal images at hand." if found else ""


def _spreads(groups: Sequence[Group]) -> str:
    seeds = sorted({count for one in groups if (count := len({row["seed"] for row in one.done})) > 1})
    return f"\u00b1: standard deviation over {' or '.join(map(str, seeds))} seeds (n - 1)." if seeds else ""


def _some(lacks: Mapping[str, str], most: int = 4) -> str:
    reasons: dict[str, list[str]] = {}
    for category, why in lacks.items():
        reasons.setdefault(why, []).append(as_text(category))
    texts = []
    for why, names in reasons.items():
        more = f" and {len(names) - most} more" if len(names) > most else ""
        texts.append(f"{', '.join(names[:most])}{more} ({why})")
    return "; ".join(texts)


def _counts(groups: Sequence[Group]) -> str:
    counts = [tuple(_range(numbers) for numbers in one.images()) for one in groups if one.done]
    return " / ".join(dict.fromkeys(f"{good} + {bad}" for good, bad in counts)) or DASH


def _range(numbers: range) -> str:
    return str(numbers.start) if len(numbers) == 1 else f"{numbers.start} to {numbers.stop - 1}"
