"""Why an image has its score: contributions that add up to it, where they come from, and the nearest normal place.

Plain numbers and text; `vlmad_core.pipeline.explain` computes them. What a contribution means is on the page
``docs/howto/explain.md``.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

__all__ = ["Box", "Cause", "Contribution", "Evidence", "NearestNormal", "Place", "Reason", "SentenceShare", "Split"]

_Key = TypeVar("_Key", bound=Hashable)

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels of the image as it was given, or as shares of an image where that is said."""

Cause = Literal["normals", "text", "even odds", "scorer"]
"""``normals``: distance to normal images; ``text``: agreement with text; ``even odds``: what the softmax over the
states gives without any agreement, 0.5 for two states; ``scorer``: a scorer that offers no reasons of its own."""


@dataclass(frozen=True)
class Contribution:
    """A part of a score.

    Args:
        scorer: Name of the scorer.
        level: Name of the level, such as ``"block9"`` or ``"window3"``; ``"whole image"``; "" for all levels.
        cause: See `Cause`.
        value: In units of the score; below 0 where it lowers the score.
        text: The phrase with the class name, such as "damaged nut"; "" where the cause is not text.
        is_abnormal: Whether the phrase is one of the abnormal states; None where the cause is not text.
        box: Where most of it comes from.
        is_exact: False: the scorer's contribution is exact and its split over levels is in proportion to their maps.
    """

    scorer: str
    level: str
    cause: Cause
    value: float
    text: str = ""
    is_abnormal: bool | None = None
    box: Box | None = None
    is_exact: bool = True


@dataclass(frozen=True)
class SentenceShare:
    """What one sentence contributes.

    Args:
        scorer: Name of the scorer.
        level: As in `Contribution`.
        text: The whole sentence.
        phrase: The state in it, with the class name.
        template: What is around the phrase.
        is_abnormal: Whether its state is an abnormal one.
        value: In units of the score.
    """

    scorer: str
    level: str
    text: str
    phrase: str
    template: str
    is_abnormal: bool
    value: float


@dataclass(frozen=True)
class Reason:
    """One line for a person: a text, and what it contributes in units of the score."""

    label: str
    value: float


@dataclass(frozen=True)
class Split:
    """A number as a sum of contributions.

    Args:
        value: The number.
        contributions: They add up to it, up to rounding; the largest first.
        sentences: The contributions of cause ``text`` once more, each sentence by itself.
    """

    value: float
    contributions: tuple[Contribution, ...]
    sentences: tuple[SentenceShare, ...] = ()

    def by_phrase(self) -> dict[str, float]:
        """Phrase to what it contributes over all templates, levels and scorers; the largest first."""
        return _summed((one.phrase, one.value) for one in self.sentences)

    def by_template(self) -> dict[str, float]:
        """Template to what it contributes over all phrases, levels and scorers; the largest first."""
        return _summed((one.template, one.value) for one in self.sentences)

    def by_level(self) -> dict[tuple[str, str], float]:
        """Scorer and level to what they contribute; the largest first."""
        return _summed(((one.scorer, one.level), one.value) for one in self.contributions)

    def reasons(self, most: int = 8) -> list[Reason]:
        """A few lines that add up to the value as well: phrases over all levels, distances, and the rest in one line.

        Args:
            most: Lines, at least 2.
        """
        lines = _summed((_key(one), one.value) for one in self.contributions)
        found = [Reason(_label(key, value), value) for key, value in lines.items()]
        if len(found) <= max(2, most):
            return found
        kept, rest = found[: max(2, most) - 1], found[max(2, most) - 1 :]
        return [*kept, Reason(f"{len(rest)} smaller contributions", sum(one.value for one in rest))]


@dataclass(frozen=True)
class Place:
    """The area around the highest value of the map: pixels connected to it, above half its height over the median.

    Args:
        box: In pixels of the image.
        polygon: The outline along pixels of the map, then holes, in pixels of the image.
        area_share: Of the image, in [0, 1].
    """

    box: Box
    polygon: tuple[tuple[tuple[float, float], ...], ...]
    area_share: float


@dataclass(frozen=True)
class NearestNormal:
    """The normal region that is nearest to the most suspicious one.

    Args:
        scorer: Whose memory it is in.
        level: In which level.
        value: Of the suspicious region, in units of its map.
        box: The suspicious region, in pixels of the image.
        path: File of the normal image; "" where it is not known.
        sha256: Of that file when the detector was fitted; "" where it is not known.
        normal_box: The place in the normal image, as shares of its width and height; None where it is not known.
    """

    scorer: str
    level: str
    value: float
    box: Box
    path: str = ""
    sha256: str = ""
    normal_box: Box | None = None

    @property
    def is_known(self) -> bool:
        """Whether the file and the place in it are known; not for detectors of earlier versions."""
        return bool(self.path) and self.normal_box is not None


@dataclass(frozen=True)
class Evidence:
    """Why an image has its score.

    Args:
        score: The image score as a sum.
        peak: The highest value of the map as a sum: why that place, also where the score is of the whole image.
        place: The area around that highest value.
        nearest: The nearest normal region; None where no memory names one.
        score_without_place: The score if the regions of `place` were their nearest normal ones, in the levels that are
            remembered; None likewise.
        path: The file, where there was one.
    """

    score: Split
    peak: Split
    place: Place
    nearest: NearestNormal | None = None
    score_without_place: float | None = None
    path: str | None = None

    @property
    def contributions(self) -> tuple[Contribution, ...]:
        """Those of the score."""
        return self.score.contributions

    def reasons(self, most: int = 8) -> list[Reason]:
        """See `Split.reasons`, of the score."""
        return self.score.reasons(most)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data for JSON."""
        split = [
            {
                "value": one.value,
                "contributions": [dict(vars(part)) for part in one.contributions],
                "sentences": [dict(vars(part)) for part in one.sentences],
            }
            for one in (self.score, self.peak)
        ]
        return {  # by hand: dataclasses.asdict copies every number, which takes as long as the picture
            "score": split[0],
            "peak": split[1],
            "place": dict(vars(self.place)),
            "nearest": None if self.nearest is None else dict(vars(self.nearest)),
            "score_without_place": self.score_without_place,
            "path": self.path,
        }


def _key(one: Contribution) -> tuple[Cause, str, bool]:
    """Contributions with one key are one line."""
    where = f"{one.scorer} {one.level}" if one.level else one.scorer
    return one.cause, {"text": one.text, "even odds": ""}.get(one.cause, where), bool(one.is_abnormal)


def _label(key: tuple[Cause, str, bool], value: float) -> str:
    cause, text, is_abnormal = key
    if cause == "text" and text:
        return f'{"more" if (value > 0) == is_abnormal else "less"} like "{text}"'
    if cause == "even odds":
        return "even odds, before any text agrees"
    return f"unlike the normals ({text})" if cause == "normals" else text or "text"


def _summed(pairs: Iterable[tuple[_Key, float]]) -> dict[_Key, float]:
    found: dict[_Key, float] = {}
    for key, value in pairs:
        found[key] = found.get(key, 0.0) + value
    return dict(sorted(found.items(), key=lambda item: -abs(item[1])))
