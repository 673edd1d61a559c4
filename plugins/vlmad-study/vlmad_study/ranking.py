"""Methods ranked by image AUROC, with intervals, and paired tests at a level that holds for all of them together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vlmad_core.errors import ConfigError
from vlmad_core.report import Comparison, Group, Mean, Row, Table, group, number
from vlmad_core.report.compare import compare
from vlmad_core.report.render import Cell

__all__ = [
    "Ranked",
    "compared",
    "difference",
    "is_significant",
    "percent",
    "rank",
    "ranking_table",
    "shown_worse",
]

NO_INTERVAL = (
    "Every defective image scores above every normal one, and a bootstrap has no width then. It does not follow that "
    "the next image is scored right."
)


@dataclass(frozen=True)
class Ranked:
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
        """``"“winclip (pocket)” with 4 normal images"``."""
        if not self.shots:
            return f"“{self.method}” without normal images"
        return f"“{self.method}” with {self.shots} normal image{'s' * (self.shots > 1)}"

    @property
    def reference(self) -> str:
        """For :func:`vlmad_core.report.compare.compare`."""
        return f"{self.method}:{self.shots}"

    @property
    def is_learned(self) -> bool:
        """Whether it was trained."""
        return any(row.get("trained_on") for row in self.rows.done)

    @property
    def is_perfect(self) -> bool:
        """Whether no pair of images is in the wrong order."""
        return self.image.value is not None and self.image.value >= 1.0

    @property
    def images(self) -> tuple[int, int]:
        """Normal and defective images that it was tested on."""
        good, bad = self.rows.images()
        return good.stop - 1, bad.stop - 1


def rank(rows: Iterable[Row], *, dataset: str = "") -> list[Ranked]:
    """Every method and number of normal images that was tested on all categories, the best image AUROC first."""
    done = [row for row in rows if row["status"] == "done" and dataset in ("", row["dataset"])]
    found = [
        Ranked(
            str(one.key["method"]),
            int(one.key["shots"]),
            one,
            *(one.mean(metric) for metric in ("image_auroc", "pixel_auroc", "aupro")),
        )
        for one in (group(done, ["method", "shots"]) if done else [])
    ]
    whole = [one for one in found if one.image.value is not None and not one.image.lacks]
    return sorted(whole, key=lambda one: (-(one.image.value or 0.0), -(one.aupro.value or 0.0), one.shots))


def compared(folder: Path, one: Ranked, two: Ranked, *, dataset: str = "") -> Comparison | None:
    """The paired comparison over the same images, in the mean over categories; None where there is none."""
    try:
        found = compare(folder, one.reference, two.reference)
    except ConfigError:
        return None
    own = [comparison for comparison in found if dataset in ("", comparison.dataset)]
    return own[-1] if own and own[-1].paired is not None else None


def is_significant(comparison: Comparison | None, family: int = 1) -> bool:
    """Whether there is a difference, at 5 % over all comparisons of a family (Bonferroni)."""
    if comparison is None or comparison.paired is None or comparison.verdict not in ("first", "second"):
        return False
    return comparison.paired.p * max(1, family) < 0.05


def shown_worse(folder: Path, best: Ranked, others: Sequence[Ranked], *, dataset: str = "") -> list[Ranked]:
    """Those that the paired test shows to be worse than the best one."""
    return [
        one
        for one in others
        if (found := compared(folder, best, one, dataset=dataset)) is not None
        and is_significant(found, len(others))
        and found.verdict == "first"
    ]


def percent(mean: Mean) -> str:
    """``"97.1 % (95 % interval 95.0 to 98.4)"``."""
    if mean.value is None:
        return "no value"
    text = f"{100 * mean.value:.1f} %"
    if mean.interval is None or mean.interval[0] >= mean.interval[1]:
        return f"{text} (no interval)"
    return f"{text} (95 % interval {100 * mean.interval[0]:.1f} to {100 * mean.interval[1]:.1f})"


def difference(comparison: Comparison | None, family: int = 1) -> str:
    """The difference in a sentence, and whether it is significant."""
    if comparison is None or comparison.paired is None:
        return "they could not be compared image by image"
    pair = comparison.paired
    if pair.first >= 1.0 and pair.second >= 1.0:
        return "neither makes a mistake, so these images are too easy or too few to separate them"
    size = f"{100 * pair.difference:+.1f} points, 95 % interval {100 * pair.low:+.1f} to {100 * pair.high:+.1f}"
    size = size.replace("-", "\u2212")
    if is_significant(comparison, family):
        return f"the paired test shows a difference ({size})"
    if comparison.verdict in ("first", "second"):
        return f"no difference is shown once it counts that {family} pairs were tested ({size})"
    return f"the paired test shows no difference ({size})"


def ranking_table(ranked: Sequence[Ranked], caption: str, worse: Sequence[Ranked] | None = None) -> Table:
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
        trained = (one.rows.training_note,) if one.rows.training_note else ()
        image = number(one.image, count, one in best[0])
        if one.image.interval is not None and one.image.interval[0] >= one.image.interval[1]:
            image = replace(image, interval=None, spread=None, notes=(*image.notes, NO_INTERVAL))
        cells = [image]
        if masked:
            cells += [number(one.pixel, count, one in best[1]), number(one.aupro, count, one in best[2])]
        if worse is not None:
            cells.append(Cell("first" if one is ranked[0] else "worse" if one in worse else "not shown"))
        shots = [Cell(str(one.shots))] if several else []
        lines.append((Cell(one.method, notes=trained), *shots, *cells))
    heads = ["method", *["normal images"] * several, "image AUROC (95 %)"]
    heads += ["pixel AUROC", "AUPRO"] * masked + ["against the first"] * (worse is not None)
    return Table(tuple(heads), tuple(lines), 1, caption)


def _best(ranked: Sequence[Ranked], name: str) -> list[Ranked]:
    values = {id(one): getattr(one, name).value for one in ranked if not one.rows.trained_here}
    top = max((round(100 * value, 1) for value in values.values() if value is not None), default=None)
    return [one for one in ranked if (v := values.get(id(one))) is not None and round(100 * v, 1) == top]
