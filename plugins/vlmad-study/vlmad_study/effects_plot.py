"""A picture of what each state and template brings: a dot with its interval, coloured where it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vlmad_core.report.canvas import FAINT, GRID, INK, figure, shorten, write
from vlmad_study.leave_out import Effect

__all__ = ["draw_effects"]

_COLOURS = {"helps": "#0072B2", "hurts": "#D55E00", "": "#8a8a8a"}
_TITLES = {"image_auroc": "image AUROC", "pixel_auroc": "pixel AUROC"}


def draw_effects(effects: Sequence[Effect], out: Path) -> Path:
    """Side by side for each metric, in points; the order is that of the list.

    Args:
        effects: Of all parts and metrics.
        out: Without suffix.
    """
    metrics = [name for name in _TITLES if any(effect.metric == name for effect in effects)]
    parts = list(dict.fromkeys((effect.what, effect.words) for effect in effects))
    with figure(9, 1.4 + 0.235 * len(parts)) as made:
        panels = made.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
        for axes, metric in zip(panels, metrics, strict=True):
            axes.grid(axis="x", color=GRID)
            axes.axvline(0, color=FAINT, linewidth=1)
            for effect in effects:
                if effect.metric == metric:
                    y, colour = parts.index((effect.what, effect.words)), _COLOURS[effect.verdict]
                    axes.plot([100 * effect.low, 100 * effect.high], [y, y], color=colour, linewidth=2, alpha=0.6)
                    axes.plot(100 * effect.value, y, "o", color=colour, markersize=5)
            axes.set_title(_TITLES[metric], fontsize=10, color=INK, loc="left")
            axes.locator_params(axis="x", nbins=5)  # figures of many digits would run into each other
            axes.set_xlabel("points with it, less without it")
            axes.set_ylim(len(parts) - 0.4, -0.6)
        panels[0].set_yticks(
            range(len(parts)), [f"{shorten(words, 40)}  ({what})" for what, words in parts], fontsize=8
        )
        made.suptitle("Blue: helps.  Orange: hurts.  Grey: not shown.", fontsize=9, color=FAINT, x=0.99, ha="right")
        return write(made, out, "What each state and template brings")[0]
