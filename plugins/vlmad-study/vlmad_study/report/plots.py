"""Plots of a report: methods as dots with intervals, and the effect of each state and template."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vlmad_core.files import write_whole
from vlmad_core.report.canvas import FAINT, GRID, INK, figure, shorten
from vlmad_study.ablation import Effect
from vlmad_study.ranking import Ranked

__all__ = ["LEGEND", "draw_effects", "draw_ranking"]

_FIRST, _OPEN, _WORSE, _UNTESTED = "#0072B2", "#56B4E9", "#9a9a9a", "#5c4a72"
_EFFECTS = {"helps": "#0072B2", "hurts": "#D55E00", "": "#9a9a9a"}
_TITLES = {"image_auroc": "image AUROC", "pixel_auroc": "pixel AUROC", "aupro": "AUPRO"}
LEGEND = (
    "Image AUROC, dark blue: the first; light blue: not shown to be worse; grey: shown to be worse. AUPRO, purple: not "
    "tested. Hollow: trained on this data."
)


def draw_ranking(ranked: Sequence[Ranked], worse: Sequence[Ranked], out: Path) -> Path:
    """Image AUROC and, where there are masks, AUPRO: a dot for each method, lines for 95 % intervals.

    The axis covers the values and not 0 to 100, so that differences are seen; dots, unlike bars, allow that.

    Args:
        ranked: The best image AUROC first.
        worse: Those that are shown to be worse than the first.
        out: A ``.png`` file.
    """
    panels = ["image", "aupro"] if any(one.aupro.value is not None for one in ranked) else ["image"]
    several = len({one.shots for one in ranked}) > 1
    with figure(9, 1.3 + 0.27 * len(ranked)) as made:
        axes_of = made.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, name in zip(axes_of, panels, strict=True):
            axes.grid(axis="x", color=GRID)
            axes.set_axisbelow(True)
            ends: list[float] = []
            for y, one in enumerate(ranked):
                mean = getattr(one, name)
                if mean.value is None:
                    continue
                colour = _FIRST if one is ranked[0] else _WORSE if one in worse else _OPEN
                colour = colour if name == "image" else _UNTESTED
                low, high = mean.interval or (mean.value, mean.value)
                if mean.interval is None and mean.spread is not None:
                    low, high = mean.value - mean.spread, mean.value + mean.spread
                axes.plot([100 * low, 100 * high], [y, y], color=colour, linewidth=2, alpha=0.7, solid_capstyle="butt")
                fill = "white" if one.rows.trained_here else colour
                axes.plot(100 * mean.value, y, "o", color=colour, markerfacecolor=fill, markersize=6)
                ends += [100 * low, 100 * high]
            _axis(axes, ends, chance=name == "image")
            title = "image AUROC [%], 95 % intervals" if name == "image" else "AUPRO [%]"
            axes.set_title(title, fontsize=10, color=INK, loc="left")
            axes.set_ylim(len(ranked) - 0.4, -0.6)
        labels = [f"{one.method}, {one.shots}" if several else one.method for one in ranked]
        axes_of[0].set_yticks(range(len(ranked)), [shorten(label) for label in labels], fontsize=8.5)
        return _save(made, out)


def _axis(axes: Any, ends: Sequence[float], *, chance: bool) -> None:
    """From just below the lowest value to just above the highest; chance where it is in sight."""
    low, high = min(ends), max(ends)
    pad = max(0.5, 0.06 * (high - low))
    axes.set_xlim(max(0.0, low - pad), min(100.6, high + pad))
    if chance and low - pad < 50:
        axes.axvline(50, color=FAINT, linewidth=1, linestyle="--", zorder=0)
        axes.annotate("chance", (50, 0.02), xycoords=("data", "axes fraction"), rotation=90, fontsize=7.5, color=FAINT)


def draw_effects(effects: Sequence[Effect], out: Path) -> Path:
    """Side by side for each metric, in points; those with the largest effects first.

    Args:
        effects: Of all parts and metrics.
        out: A ``.png`` file.
    """
    metrics = [name for name in _TITLES if any(effect.metric == name for effect in effects)]
    size = {
        (e.kind, e.text): max(abs(o.value) for o in effects if (o.kind, o.text) == (e.kind, e.text)) for e in effects
    }
    parts = sorted(size, key=lambda part: -size[part])
    with figure(9, 1.4 + 0.235 * len(parts)) as made:
        panels = made.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
        for axes, metric in zip(panels, metrics, strict=True):
            axes.grid(axis="x", color=GRID)
            axes.axvline(0, color=FAINT, linewidth=1)
            for effect in effects:
                if effect.metric == metric:
                    y, colour = parts.index((effect.kind, effect.text)), _EFFECTS[effect.verdict]
                    axes.plot([100 * effect.low, 100 * effect.high], [y, y], color=colour, linewidth=2, alpha=0.6)
                    axes.plot(100 * effect.value, y, "o", color=colour, markersize=5)
            axes.set_title(f"{_TITLES[metric]} with it, less without it", fontsize=10, color=INK, loc="left")
            axes.locator_params(axis="x", nbins=5)  # numbers of many digits would overlap
            axes.set_xlabel("points")
            axes.set_ylim(len(parts) - 0.4, -0.6)
        panels[0].set_yticks(range(len(parts)), [f"{shorten(text, 40)}  ({kind})" for kind, text in parts], fontsize=8)
        return _save(made, out)


def _save(made: Any, out: Path) -> Path:
    out.parent.mkdir(parents=True, exist_ok=True)
    data = io.BytesIO()
    made.savefig(data, format="png", dpi=130)
    write_whole(out, data.getvalue())
    return out
