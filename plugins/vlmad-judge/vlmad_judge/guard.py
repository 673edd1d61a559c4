"""A sentence that contradicts the anomaly map does not reach a person."""

from __future__ import annotations

import re

from vlmad_judge.answer import Answer
from vlmad_judge.evidence import PLACES, Evidence

__all__ = ["contradiction"]

_ROWS = {"top": 0, "upper": 0, "above": 0, "bottom": 2, "lower": 2, "below": 2}
_COLUMNS = {"left": 0, "right": 2}
_MIDDLE = frozenset({"centre", "center", "central", "middle"})
_PHRASE = re.compile(
    r"\b(top|upper|bottom|lower|left|right|centre|center|central|middle)\b(?![- ]hand\b)", re.IGNORECASE
)


def contradiction(answer: Answer, evidence: Evidence) -> str:
    """Why the answer contradicts the map, in a sentence; empty where it does not.

    A place fits if it is one that a region touches, or next to one: what people call left does not end
    at a third of the image. Only answers that see a defect are compared; one that sees none names no place.

    Args:
        answer: Of the model.
        evidence: Of the detector.
    """
    if not answer.defect:
        return ""
    if answer.where == "nowhere":
        return "it sees a defect nowhere"
    if answer.where and not _near(PLACES.index(answer.where), evidence):
        return f"it sees the defect at the {answer.where}, the map at the {evidence.places[0]}"
    named = _named(answer.why)
    if named is not None and not _near(named, evidence):
        return f"its sentence says {PLACES[named]}, the map says {evidence.places[0]}"
    return ""


def _near(place: int, evidence: Evidence) -> bool:
    row, column = divmod(place, 3)
    cells = (divmod(PLACES.index(name), 3) for name in evidence.places)
    return any(abs(row - r) + abs(column - c) <= 1 for r, c in cells)


def _named(sentence: str) -> int | None:
    """The place that a sentence names, if it names exactly one."""
    words = {word.lower() for word in _PHRASE.findall(sentence)}
    rows, columns = {_ROWS[w] for w in words if w in _ROWS}, {_COLUMNS[w] for w in words if w in _COLUMNS}
    if len(rows) > 1 or len(columns) > 1 or not words:
        return None
    if not rows and not columns:
        return 4 if words <= _MIDDLE else None
    return 3 * next(iter(rows), 1) + next(iter(columns), 1)
