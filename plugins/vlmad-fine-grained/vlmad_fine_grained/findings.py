"""From statistics to words: which part, what is wrong with it, and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vlmad_fine_grained.captions import Captions
from vlmad_fine_grained.layout import Layout, Statistics

__all__ = ["Finding", "findings_of", "place_name", "sentence_of"]

_ROWS, _COLUMNS = ("top", "", "bottom"), ("left", "", "right")
_LEAST = 3.0


@dataclass(frozen=True)
class Finding:
    """One part that is not as it should be.

    Args:
        kind: ``missing``, ``extra`` or ``moved``.
        part: Its name.
        place: Such as ``"top left"``; empty without fixed places.
        deviation: In standard deviations of normal images.
        counted: Parts that were counted in the image.
        expected: In normal images.
    """

    kind: Literal["missing", "extra", "moved"]
    part: str
    place: str
    deviation: float
    counted: int
    expected: int


def findings_of(statistics: Statistics, layout: Layout, captions: Captions) -> list[Finding]:
    """What lies beyond the normal images, the largest deviation first.

    Args:
        statistics: Of an image.
        layout: Of the normal images.
        captions: For the names; a place takes the first name whose ``place`` it fits, or the only one.
    """
    limit = max(_LEAST, 1.2 * layout.limit)
    found = []
    for place, row in enumerate(statistics.deviations(layout)):
        if row.max() <= limit:
            continue
        missing, extra = float(statistics.missing[place]), float(statistics.extra[place])
        kind: Literal["missing", "extra", "moved"] = "moved"
        if missing > 0.5 or not len(layout.places):
            kind = "missing" if missing > extra else "extra"
        elif extra > 0.25:
            kind = "extra"
        where = _place(layout, place, statistics.share.shape)
        part = captions.name_at(where)
        found.append(Finding(kind, part, where, float(row.max()), statistics.count, layout.count))
    return sorted(found, key=lambda finding: -finding.deviation)


def sentence_of(findings: list[Finding]) -> str:
    """The findings as one sentence each; of none, that nothing was found."""
    if not findings:
        return "Number and places of the parts are as in the normal images."
    return " ".join(_sentence(finding) for finding in findings[:3])


def _sentence(finding: Finding) -> str:
    at = f" at the {finding.place}" if finding.place else ""
    article = "An" if finding.part[:1].lower() in "aeiou" else "A"
    if finding.kind == "missing":
        return f"{article} {finding.part} is missing{at} (normal images have {finding.expected})."
    if finding.kind == "extra":
        return f"There is an extra {finding.part}{at} (normal images have {finding.expected})."
    return f"The {finding.part}{at} is not in its place."


def _place(layout: Layout, index: int, shape: tuple[int, ...]) -> str:
    return place_name(layout.places[index], shape) if len(layout.places) else ""


def place_name(at: Sequence[float] | NDArray[np.float64], shape: tuple[int, ...]) -> str:
    """Row and column of a cell in a grid of a shape, in words.

    >>> place_name((0, 15), (16, 16)), place_name((8, 8), (16, 16))
    ('top right', 'centre')
    """
    row, column = (int(np.clip(3 * (i + 0.5) / side, 0, 2)) for i, side in zip(at, shape, strict=True))
    words = " ".join(word for word in (_ROWS[row], _COLUMNS[column]) if word)
    return words or "centre"
