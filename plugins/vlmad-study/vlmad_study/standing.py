"""Who stands where, and what the images show of it: means with intervals, and tests that count how many they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vlmad_core.errors import ConfigError
from vlmad_core.report.compare import Comparison, compare
from vlmad_core.report.means import Group, Mean, Row, group
from vlmad_core.report.render import Cell, Table
from vlmad_core.report.tables import number

__all__ = [
    "Standing",
    "against",
    "difference",
    "is_perfect",
    "is_shown",
    "outrun",
    "points",
    "shown_table",
    "standings",
]

PERFECT = (
    "Every defective image lies above every normal one. A bootstrap has no interval then; that is no proof that the "
    "next "
    "image will not be mistaken."
)


@dataclass(frozen=True)
class Standing:
    """A method with a number of normal images, in the mean over categories.

    Args:
        method: Label.
        shots: Normal images.
        rows: Its rows.
        image: Image AUROC.
        pixel: Pixel AUROC; without a value where there are no masks.
        aupro: Likewise.
    """

    method: str
    shots: int
    rows: Group
    image: Mean
    pixel: Mean
    aupro: Mean

    @property
    def name(self) -> str:
        """For people."""
        if not self.shots:
            return f"“{self.method}” without normal images"
        return f"“{self.method}” with {self.shots} normal image{'s' * (self.shots > 1)}"

    @property
    def reference(self) -> str:
        """For :func:`vlmad_core.report.compare.compare`."""
        return f"{self.method}:{self.shots}"


def standings(rows: Iterable[Row], *, dataset: str = "") -> list[Standing]:
    """Every method and number of normal images that was judged on all categories, the best image AUROC first."""
    mine = [row for row in rows if row["status"] == "done" and dataset in ("", row["dataset"])]
    found = [
        Standing(
            str(one.key["method"]),
            int(one.key["shots"]),
            one,
            one.mean("image_auroc"),
            one.mean("pixel_auroc"),
            one.mean("aupro"),
        )
        for one in (group(mine, ["method", "shots"]) if mine else [])
    ]
    whole = [one for one in found if one.image.value is not None and not one.image.lacks]
    return sorted(whole, key=lambda one: (-(one.image.value or 0.0), -(one.aupro.value or 0.0), one.shots))


def against(folder: Path, one: Standing, two: Standing, *, dataset: str = "") -> Comparison | None:
    """The paired comparison over the same images, in the mean over categories; None where there is none."""
    try:
        found = compare(folder, one.reference, two.reference)
    except ConfigError:
        return None
    mine = [comparison for comparison in found if dataset in ("", comparison.dataset)]
    return mine[-1] if mine and mine[-1].paired is not None else None


def is_shown(comparison: Comparison | None, family: int = 1) -> bool:
    """Whether there is a difference, at 5 % over all comparisons of a family (Bonferroni)."""
    if comparison is None or comparison.paired is None or comparison.verdict not in ("first", "second"):
        return False
    return comparison.paired.p * max(1, family) < 0.05


def outrun(folder: Path, best: Standing, others: Sequence[Standing], *, dataset: str = "") -> list[Standing]:
    """Those that are shown to be worse than the best one."""
    return [
        one
        for one in others
        if (found := against(folder, best, one, dataset=dataset)) is not None
        and is_shown(found, len(others))
        and found.verdict == "first"
    ]


def points(mean: Mean) -> str:
    """``"97.1 % (95 % interval 95.0 to 98.4)"``."""
    if mean.value is None:
        return "no value"
    told = f"{100 * mean.value:.1f} %"
    if is_perfect(mean):
        return f"{told} (every defective image above every normal one)"
    if mean.interval is None:
        return told
    return f"{told} (95 % interval {100 * mean.interval[0]:.1f} to {100 * mean.interval[1]:.1f})"


def is_perfect(mean: Mean) -> bool:
    """Whether nothing was mistaken; a bootstrap has no width then, which is no proof that nothing ever will be."""
    return mean.value is not None and mean.value >= 1.0


def difference(comparison: Comparison | None, family: int = 1) -> str:
    """The difference in words, and whether it is one."""
    if comparison is None or comparison.paired is None:
        return "they could not be compared image by image"
    pair = comparison.paired
    if pair.first >= 1.0 and pair.second >= 1.0:
        return "neither makes a mistake on these images, which are too easy or too few to tell them apart"
    size = f"{100 * pair.difference:+.1f} points, 95 % interval {100 * pair.low:+.1f} to {100 * pair.high:+.1f}"
    size = size.replace("-", "\u2212")
    if is_shown(comparison, family):
        return f"the paired test shows a difference ({size})"
    if comparison.verdict in ("first", "second"):
        return f"a difference that is not shown any more once it counts that {family} were tested ({size})"
    return f"the paired test shows no difference ({size})"


def shown_table(ranked: Sequence[Standing], caption: str, worse: Sequence[Standing] | None = None) -> Table:
    """A line for each, in percent.

    Args:
        ranked: The best first.
        caption: Sentences.
        worse: Those that are shown to be worse than the first one; None: that was not tested.
    """
    masked = any(one.pixel.value is not None for one in ranked)
    several = len({one.shots for one in ranked}) > 1
    best = [_best(ranked, name) for name in ("image", "pixel", "aupro")]
    lines = []
    for one in ranked:
        count = len(one.rows.categories)
        trained = "Learned from the data set that it is judged on." if one.rows.trained_here else ""
        label = Cell(one.method, notes=(trained,) if trained else ())
        image = number(one.image, count, one in best[0])
        if is_perfect(one.image):
            image = replace(image, interval=None, spread=None, notes=(*image.notes, PERFECT))
        cells = [image]
        if masked:
            cells += [number(one.pixel, count, one in best[1]), number(one.aupro, count, one in best[2])]
        if worse is not None:
            cells.append(Cell("first" if one is ranked[0] else "worse" if one in worse else "not shown"))
        lines.append((label, *([Cell(str(one.shots))] if several else []), *cells))
    heads = ["method", *["normal images"] * several, "image AUROC (95 %)"]
    heads += ["pixel AUROC", "AUPRO"] * masked + ["against the best"] * (worse is not None)
    return Table(tuple(heads), tuple(lines), 1, caption)


def _best(ranked: Sequence[Standing], name: str) -> list[Standing]:
    values = {id(one): getattr(one, name).value for one in ranked if not one.rows.trained_here}
    top = max((round(100 * value, 1) for value in values.values() if value is not None), default=None)
    return [one for one in ranked if (v := values.get(id(one))) is not None and round(100 * v, 1) == top]
