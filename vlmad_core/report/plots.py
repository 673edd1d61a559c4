"""Plots of results, each as PNG and SVG: bars with intervals, curves over shots, accuracy against speed.

In curves and points a method has the same colour and marker everywhere; what is not a mean over all categories is drawn
so that it shows. The background is white, which reads on light and on dark pages.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path

from vlmad_core.errors import ConfigError
from vlmad_core.report.canvas import EDGE, FAINT, GRID, INK, figure, setting_colour, shorten, styles, write
from vlmad_core.report.labels import place
from vlmad_core.report.means import METRICS, Group, Mean, Row, as_text, check_metrics, group
from vlmad_core.report.speed import Speed
from vlmad_core.report.tables import rules_of

__all__ = ["bars", "shots", "speed"]

_HOLLOW = ["Hollow: trained on this data set, or on one of its name."]


def bars(
    rows: Iterable[Row], out: str | Path, *, metric: str = "image_auroc", by: Sequence[str] | None = None
) -> tuple[Path, Path]:
    """A bar for each group, the mean over categories, with its 95 % interval or its spread over seeds.

    The axis starts where the differences can be seen, and says so where that is not 0. The colour is the setting:
    zero-shot, the number of normal images, trained.

    Args:
        rows: As in ``rows.jsonl``.
        out: Without suffix; ``.png`` and ``.svg`` are written.
        metric: Which.
        by: What a bar is; see :func:`~vlmad_core.report.means.group`.

    Returns:
        Both files.

    Raises:
        ConfigError: matplotlib is not installed, nothing to draw, or rows that must not be averaged.
    """
    every = list(zip(*_means(rows, by, metric), strict=True))
    groups, means = zip(*([one for one in every if one[1].value is not None] or every), strict=True)
    named = _fields([one for one, _ in every])
    settings = [_setting(one) for one in groups]
    start = _start(means)
    with figure(9, 1.6 + 0.34 * len(groups)) as made:
        axes = made.subplots()
        axes.set_axisbelow(True)
        axes.grid(axis="x", color=GRID)
        kinds = set()
        for i, (one, mean) in enumerate(zip(groups, means, strict=True)):
            if mean.value is None:
                continue
            value, (low, high), kind = 100 * mean.value, *_ends(mean)
            kinds.add(kind)
            colour = setting_colour(settings[i][1], trained=settings[i][0])
            whole = not mean.lacks and not one.trained_here
            style = {"color": colour} if whole else {"facecolor": "white", "edgecolor": colour, "hatch": "////"}
            axes.barh(i, value - start, left=start, height=0.66, linewidth=1, **style)
            if kind:
                axes.errorbar(value, i, xerr=[[low], [high]], color=INK, capsize=3, linewidth=1.2)
            box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.85}
            axes.text(value + high + (100 - start) / 100, i, f"{value:.1f}", va="center", fontsize=8.5, bbox=box)
        if metric.endswith("auroc") and start < 50:
            axes.axvline(50, color=FAINT, linewidth=1, linestyle="--", zorder=0)
            axes.text(50, -0.62, "chance", ha="center", va="bottom", color=FAINT, fontsize=8)
        axes.set_yticks(
            range(len(groups)),
            [shorten(one.label(named)) + _lack(one, mean) for one, mean in zip(groups, means, strict=True)],
        )
        axes.set(ylim=(len(groups) - 0.4, -0.65), xlim=(start, 100 + 0.09 * (100 - start)))
        axes.set_xticks([tick for tick in axes.get_xticks() if start <= tick <= 100])
        notes = [f"The axis starts at {start}."] if start else []
        notes += [f"Left out, without a value: {len(every) - len(groups)}."] if len(groups) < len(every) else []
        axes.set_xlabel(" ".join([f"{METRICS[metric]} [%].", *sorted(kind for kind in kinds if kind), *notes]))
        for trained, count in sorted(set(settings)):
            label = ("trained, " if trained else "") + _shots(count)
            axes.barh([0], [0], color=setting_colour(count, trained=trained), label=label)
        made.legend(loc="outside upper right", ncols=min(5, len(set(settings))), frameon=False, fontsize=8.5)
        made.supxlabel(rules_of(groups, [metric]), fontsize=8.5, color=FAINT)
        return write(made, out, f"{METRICS[metric]} of {len(groups)} methods")


def shots(
    rows: Iterable[Row], out: str | Path, *, metric: str = "image_auroc", methods: Iterable[str] = ()
) -> tuple[Path, Path]:
    """A curve for each method and backbone over the number of normal images, with its spread over seeds.

    Args:
        rows: As in ``rows.jsonl``.
        out: Without suffix; ``.png`` and ``.svg`` are written.
        metric: Which.
        methods: All labels that the reader finds elsewhere too, so that each looks the same everywhere.

    Returns:
        Both files.

    Raises:
        ConfigError: As :func:`bars`.
    """
    rows = list(rows)
    usual = [name for name in group(rows)[0].key if name not in ("dataset", "shots")] if rows else []
    groups, means = _means(rows, [*usual, "shots"], metric)
    named = [name for name in _fields(groups) if name != "shots"]
    style = styles([*(as_text(one.key["method"]) for one in groups), *methods])
    numbers = sorted({int(one.key["shots"]) for one in groups})
    curves: dict[str, list[tuple[Group, Mean]]] = {}
    for one, mean in zip(groups, means, strict=True):
        curves.setdefault(one.label(named), []).append((one, mean))
    left_out = sum(mean.value is None or bool(mean.lacks) for mean in means)
    with figure(9, max(4.6, 1 + 0.26 * len(curves))) as made:
        axes = made.subplots()
        axes.grid(color=GRID)
        lines = ("-", "--", ":", "-.")
        counts: dict[str, int] = {}
        for label, points in curves.items():
            method = as_text(points[0][0].key["method"])
            counts[method] = counts.get(method, -1) + 1
            line = {"color": style[method].colour, "marker": style[method].marker, "markersize": 7}
            line |= {"markeredgecolor": EDGE, "markeredgewidth": 0.6, "label": shorten(label)}
            line |= {"linestyle": lines[counts[method] % len(lines)]}
            line |= {"markerfacecolor": "white"} if any(one.trained_here for one, _ in points) else {}
            drawn = sorted(
                (numbers.index(int(one.key["shots"])), 100 * mean.value, 100 * (mean.spread or 0))
                for one, mean in points
                if mean.value is not None and not mean.lacks
            )
            if drawn:
                x, y, spread = zip(*drawn, strict=True)
                low, high = ([a + sign * b for a, b in zip(y, spread, strict=True)] for sign in (-1, 1))
                axes.fill_between(x, low, high, color=style[method].colour, alpha=0.14, linewidth=0)
                axes.plot(x, y, **line)
        axes.set_xticks(range(len(numbers)), list(map(str, numbers)))
        axes.set_xlim(-0.3, len(numbers) - 0.7)
        axes.set(xlabel="normal images", ylabel=f"{METRICS[metric]} [%]")
        notes = ["Bands: standard deviation over seeds."] if any(mean.spread for mean in means) else []
        notes += _HOLLOW if any(one.trained_here for one in groups) else []
        notes += [f"Left out, without all categories: {left_out}."] if left_out else []
        axes.set_title(" ".join(notes), fontsize=9, color=FAINT, loc="left")
        if axes.lines:
            made.legend(loc="outside right upper", frameon=False, fontsize=9)
        made.supxlabel(rules_of(groups, [metric]), fontsize=8.5, color=FAINT)
        return write(made, out, f"{METRICS[metric]} over the number of normal images")


def speed(
    rows: Iterable[Row],
    speeds: Iterable[Speed],
    out: str | Path,
    *,
    metric: str = "image_auroc",
    by: Sequence[str] | None = None,
    methods: Iterable[str] = (),
) -> tuple[Path, Path]:
    """Accuracy against images a second, a point for each group with both.

    Args:
        rows: As in ``rows.jsonl``.
        speeds: As in ``speed.jsonl``, of one machine; the fastest batch of each method counts.
        out: Without suffix; ``.png`` and ``.svg`` are written.
        metric: Which.
        by: What a point is; see :func:`~vlmad_core.report.means.group`.
        methods: All labels that the reader finds elsewhere too, so that each looks the same everywhere.

    Returns:
        Both files.

    Raises:
        ConfigError: As :func:`bars`; or speeds of several machines.
    """
    speeds = list(speeds)
    places = {f"{one.machine}, {one.device}, {one.threads} thread{'s' * (one.threads > 1)}" for one in speeds}
    if len(places) > 1:
        raise ConfigError(f"speeds of several machines cannot share a plot: {'; '.join(sorted(places))}. Pick one.")
    groups, means = _means(rows, by, metric)
    named = _fields(groups)
    names = [as_text(one.key["method"]) if "method" in one.key else one.label(named) for one in groups]
    style = styles([*names, *methods])
    points = []
    for one, mean, name in zip(groups, means, names, strict=True):
        rates = [fast.images_per_second for fast in speeds if _is_of(fast, one)]
        if rates and mean.value is not None and not mean.lacks:
            points.append((max(rates), 100 * mean.value, shorten(one.label(named)), style[name], one.trained_here))
    if not points:
        raise ConfigError("no method has both a whole mean and a speed; measure speed with the labels of the rows.")
    with figure(9, max(5.0, 2 + 0.22 * len(points))) as made:
        axes = made.subplots()
        axes.grid(color=GRID, which="both", linewidth=0.6)
        axes.set_axisbelow(True)
        for rate, value, _, drawn, trained in points:
            axes.plot(
                *(rate, value, drawn.marker),
                color="white" if trained else drawn.colour,
                markersize=10,
                markeredgecolor=drawn.colour if trained else EDGE,
                markeredgewidth=2 if trained else 1,
            )
        axes.set_xscale("log")
        axes.margins(0.16)
        low, high = axes.get_ylim()
        axes.set_ylim(max(-1.0, min(low, 95.0)), min(101.5, high))  # there is nothing above 100
        axes.tick_params(which="both", length=3.5, pad=4)
        low, high = axes.get_xlim()
        wider = max(1.0, 6 * low / high) ** 0.5  # at least two of 1, 2, 5 times a power of ten are visible
        rates = [c * 10.0**e for e in range(-5, 6) for c in (1, 2, 5) if low / wider <= c * 10.0**e <= high * wider]
        axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
        axes.set_xticks([], minor=True)
        axes.set_xlim(low / wider, high * wider)
        axes.set(xlabel="images a second", ylabel=f"{METRICS[metric]} [%]")
        notes = [f"On {next(iter(places))}.", *(_HOLLOW if any(point[4] for point in points) else [])]
        axes.set_title(" ".join(notes), fontsize=9, color=FAINT, loc="left")
        made.supxlabel(rules_of(groups, [metric]), fontsize=8.5, color=FAINT)  # first: it moves the rest
        place(axes, [(rate, value, label, drawn.colour) for rate, value, label, drawn, _ in points], ink=INK)
        return write(made, out, f"{METRICS[metric]} against images a second")


def _means(rows: Iterable[Row], by: Sequence[str] | None, metric: str) -> tuple[list[Group], list[Mean]]:
    if find_spec("matplotlib") is None:
        raise ConfigError("plots need matplotlib: pip install 'vlmad-core[evaluation]'.")
    check_metrics([metric])
    groups = [one for one in group(rows, by) if any(row["status"] != "skipped" for row in one.rows)]
    if not groups:
        raise ConfigError("there are no rows to draw; run the benchmark first.")
    return groups, [one.mean(metric) for one in groups]


def _setting(one: Group) -> tuple[bool, int]:
    """Whether it is trained, and on how many normal images it is fitted: the meaning of a bar's colour."""
    row = (one.done or one.rows)[0]
    return bool(row.get("trained_on")), int(row.get("shots") or 0)


def _shots(count: int) -> str:
    return f"{count} normal image{'s' * (count > 1)}" if count else "zero-shot"


def _start(means: Sequence[Mean]) -> int:
    """Where the axis of bars begins, in percent: a little below the lowest end, a multiple of 5; 0 below 50."""
    lowest = min((100 * mean.value - _ends(mean)[0][0] for mean in means if mean.value is not None), default=0.0)
    start = int((lowest - 0.25 * (100 - lowest)) // 5 * 5)
    return max(0, min(start, 95)) if start >= 50 else 0


def _fields(groups: Sequence[Group]) -> list[str]:
    several = len({as_text(one.key["dataset"]) for one in groups}) > 1
    return [name for name in groups[0].key if several or name != "dataset"] or ["dataset"]


def _ends(mean: Mean) -> tuple[tuple[float, float], str]:
    """How far to the left and right, in percent, and what that is."""
    if mean.value is not None and mean.interval is not None:
        low, high = mean.interval
        return (max(0.0, 100 * (mean.value - low)), max(0.0, 100 * (high - mean.value))), "Lines: 95 % over images."
    if mean.spread is not None:
        return (100 * mean.spread, 100 * mean.spread), "Lines: standard deviation over seeds."
    return (0.0, 0.0), ""


def _lack(one: Group, mean: Mean) -> str:
    """A second line for a label, where the number is not like the others."""
    left = len(one.categories) - len(mean.lacks)
    if mean.value is None:
        return "\n(no value)"
    lacking = f"\n({left} of {len(one.categories)} categories)" if mean.lacks else ""
    return lacking or ("\n(trained on this data set)" if one.trained_here else "")


def _is_of(fast: Speed, one: Group) -> bool:
    row = (one.done or one.rows)[0]
    size = row.get("image_size")
    same = (fast.method, fast.backbone) == (row["method"], row["backbone"]) and fast.shots in (None, row["shots"])
    return same and (not size or tuple(size) == fast.image_size)
