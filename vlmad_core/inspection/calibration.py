"""What is kept of the normal images of a detector: scores, where they come from, and which detector gave them.

A calibration lies beside the weights as JSON, so a threshold can be changed without touching them. It holds no
threshold: those follow from it and from the rate that is asked for, see ``rule``. Reading is strict: a file that is cut
off, edited or written for another detector is refused, not repaired.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
from pydantic import ConfigDict, TypeAdapter, ValidationError

from vlmad_core.errors import ConfigError
from vlmad_core.inspection.conformal import Numbers, as_scores, group_maxima
from vlmad_core.inspection.risk_control import TAIL_SHARES

__all__ = ["Basis", "Calibration", "Fingerprint", "ImageScore", "Outlier", "Source", "outliers"]

Source = Literal["held-out", "leave-one-out", "k-fold references"]

_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


@dataclass(frozen=True)
class ImageScore:
    """The score of one image and what else a calibration needs of it.

    Attributes:
        digest: Hash of the image's content, so that no image counts twice.
        score: As the detector gives it without having used the image.
        name: Path or other name, for messages.
        group: Images of one object share it; "" for an image by itself.
        class_nearest: Distance of its class token to the nearest one of another group's normals; None if not measured.
        class_farthest: The distance to the farthest of them.
        tail: `risk_control.map_tail` of its anomaly map; empty if not measured.
        is_chosen: It joined by feedback, after its verdict was known, so it is no random sample of good images.
        is_tiled: Whether it was read in tiles too; None: the detector has none, or an earlier version wrote it.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    digest: str
    score: float
    name: str = ""
    group: str = ""
    class_nearest: float | None = None
    class_farthest: float | None = None
    tail: tuple[float, ...] = ()
    is_chosen: bool = False
    is_tiled: bool | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be a score.

        Raises:
            ConfigError: A number is not finite, a field is missing, or the tail has another length or rises.
        """
        where = f"'{self.name or self.digest}'"
        if not self.digest:
            raise ConfigError(f"the image {where} has no content hash.")
        distances = [each for each in (self.class_nearest, self.class_farthest) if each is not None]
        as_scores([self.score, *distances, *self.tail], f"numbers of the image {where}")
        if len(distances) == 1 or (distances and not 0 <= distances[0] <= distances[1]):
            raise ConfigError(f"the image {where} has the class distances {self.class_nearest}, {self.class_farthest}.")
        if self.tail and (len(self.tail) != len(TAIL_SHARES) or (np.diff(self.tail) > 0).any()):
            raise ConfigError(f"the map tail of the image {where} must be {len(TAIL_SHARES)} values that do not rise.")


@dataclass(frozen=True)
class Fingerprint:
    """Everything of a detector that its scores depend on.

    Attributes:
        recipe: Hash of the pipeline's specification.
        size: Height and width of its input, in pixels.
        dtype: In which it computes.
        weights: Hash of the tensors that it saves: memory, learned parts.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    recipe: str
    size: tuple[int, int]
    dtype: str
    weights: str = ""

    def changes_to(self, other: Fingerprint) -> list[str]:
        """What differs, in words."""
        found = []
        if self.recipe != other.recipe:
            found.append("the recipe is another one")
        if self.size != other.size:
            found.append(f"the input size was {self.size[0]} x {self.size[1]} and is {other.size[0]} x {other.size[1]}")
        if self.dtype != other.dtype:
            found.append(f"the dtype was {self.dtype} and is {other.dtype}")
        if self.weights != other.weights:
            found.append("the memory or the learned weights are others")
        return found


@dataclass(frozen=True)
class Basis:
    """The normals that a threshold rests on: one score a group, highest first, and how they were obtained."""

    source: Source
    scores: Numbers
    images: tuple[ImageScore, ...]
    folds: int = 0


@dataclass(frozen=True)
class Calibration:
    """Scores of normal images, and of known defects apart from them.

    Attributes:
        detector: Which one gave the scores.
        held_out: Normal images that the detector did not use in any way.
        references: Normal images that it remembers, each scored without its own fold.
        folds: Number of folds of the references; their number of groups means leave-one-out; 0 without references.
        is_monotone: More references can only lower a score of this detector; the bound for references needs that.
        defects: Never used for a threshold; only to report how many would be missed.
        date: ISO 8601, when the scores were computed.
        version: Of vlmad, which computed them.
        format: Of the file.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    detector: Fingerprint
    held_out: tuple[ImageScore, ...] = ()
    references: tuple[ImageScore, ...] = ()
    folds: int = 0
    is_monotone: bool = False
    defects: tuple[ImageScore, ...] = ()
    date: str = ""
    version: str = ""
    format: Literal[1] = 1

    def __post_init__(self) -> None:
        """Refuse numbers that contradict each other.

        Raises:
            ConfigError: An image counts twice, a group is on both sides, or the folds do not fit the references.
        """
        digests = [image.digest for image in (*self.held_out, *self.references, *self.defects)]
        if len(set(digests)) < len(digests):
            raise ConfigError(f"{len(digests) - len(set(digests))} images of the calibration are there twice.")
        groups = [{image.group for image in side} - {""} for side in (self.held_out, self.references)]
        if shared := sorted(groups[0] & groups[1]):
            raise ConfigError(
                f"the group '{shared[0]}' has images that the detector remembers and images that were held out; "
                "frames of one object are not independent, so keep them together."
            )
        n = _count_groups(self.references)
        if not (self.folds == n == 0 or 2 <= self.folds <= n):
            raise ConfigError(f"{n} references (groups) cannot be scored in {self.folds} folds; 2 to {n} folds can.")

    @property
    def bases(self) -> tuple[Basis, ...]:
        """What a threshold can rest on, the stronger promise first; empty without normals."""
        found = []
        if self.held_out:
            found.append(Basis("held-out", _one_a_group(self.held_out), self.held_out))
        if self.references:
            is_single = self.folds == _count_groups(self.references)
            source: Source = "leave-one-out" if is_single else "k-fold references"
            found.append(Basis(source, _one_a_group(self.references), self.references, self.folds))
        return tuple(found)

    def check_detector(self, detector: Fingerprint) -> None:
        """Refuse a stale calibration.

        Raises:
            ConfigError: The scores come from another detector than this one; the text names what changed.
        """
        if changes := self.detector.changes_to(detector):
            raise ConfigError(
                f"the calibration of {self.date or 'unknown date'} belongs to another detector: {'; '.join(changes)}. "
                "Its thresholds mean nothing here; calibrate this detector with normal images."
            )

    def with_held_out(self, images: Iterable[ImageScore]) -> tuple[Calibration, tuple[ImageScore, ...]]:
        """Add normal images that the detector did not use.

        Returns:
            The new calibration, and the images that were passed over because their content is already in it.

        Raises:
            ConfigError: An image is also among the defects.
        """
        held_out, passed_over = self._new(images, "a normal image", self.defects, "a defect")
        return replace(self, held_out=(*self.held_out, *held_out)), passed_over

    def with_defects(self, images: Iterable[ImageScore]) -> tuple[Calibration, tuple[ImageScore, ...]]:
        """Add images of known defects; as `with_held_out`, and no threshold changes."""
        normals = (*self.held_out, *self.references)
        defects, passed_over = self._new(images, "a defect", normals, "a normal image")
        return replace(self, defects=(*self.defects, *defects)), passed_over

    def _new(
        self, images: Iterable[ImageScore], kind: str, others: Iterable[ImageScore], other_kind: str
    ) -> tuple[list[ImageScore], tuple[ImageScore, ...]]:
        there = {image.digest for image in (*self.held_out, *self.references, *self.defects)}
        contrary = {image.digest: image for image in others}
        added: list[ImageScore] = []
        passed_over: list[ImageScore] = []
        for image in images:
            if image.digest in contrary:
                same = contrary[image.digest]
                raise ConfigError(
                    f"'{image.name or image.digest}' is given as {kind} and has the same content as "
                    f"'{same.name or same.digest}', which is there as {other_kind}. Correct one of them."
                )
            (passed_over if image.digest in there else added).append(image)
            there.add(image.digest)
        return added, tuple(passed_over)

    def to_json(self) -> str:
        """As text; `from_json` gives an equal calibration, to the last bit of each number."""
        return _ADAPTER.dump_json(self, indent=1).decode()

    @classmethod
    def from_json(cls, text: str | bytes, *, name: str = "the calibration") -> Calibration:
        """Read what `to_json` wrote.

        Args:
            text: The whole file.
            name: For messages, such as its path.

        Raises:
            ConfigError: It is cut off, has an unknown or missing field, a wrong type, or impossible numbers.
        """
        try:
            return _ADAPTER.validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            problem = first["msg"].removeprefix("Value error, ").rstrip(".")
            raise ConfigError(
                f"{name}: not a whole calibration of vlmad: {where + ': ' if where else ''}{problem}. "
                "Restore the file, or calibrate again."
            ) from None


_ADAPTER = TypeAdapter(Calibration)


def _count_groups(images: Iterable[ImageScore]) -> int:
    return len({(image.group, "") if image.group else ("", image.digest) for image in images})


def _one_a_group(images: tuple[ImageScore, ...]) -> Numbers:
    highest = group_maxima([image.score for image in images], [image.group for image in images])
    return np.sort(highest)[::-1]


@dataclass(frozen=True)
class Outlier:
    """A normal image whose score stands out: perhaps it has a defect.

    Attributes:
        image: Which.
        median: Of the scores of all normals.
        spreads: How many robust standard deviations (1.4826 x the median absolute deviation) it is above the median.
    """

    image: ImageScore
    median: float
    spreads: float


def outliers(images: Iterable[ImageScore], *, spreads: float = 5.0) -> tuple[Outlier, ...]:
    """Normal images that stand out, the farthest first; a hint for a person, nothing is removed.

    The median and the median absolute deviation are not moved by a few defects among the normals. With fewer than five
    images, or where more than half have one score, there is no spread to compare with and nothing stands out.

    Args:
        images: Normal images.
        spreads: From how many robust standard deviations above the median on.
    """
    images = tuple(images)
    scores = np.asarray([image.score for image in images], dtype=np.float64)
    if len(images) < 5:
        return ()
    median = float(np.median(scores))
    spread = 1.4826 * float(np.median(np.abs(scores - median)))
    if spread == 0:
        return ()
    distances = ((scores - median) / spread).tolist()
    found = [Outlier(image, median, far) for image, far in zip(images, distances, strict=True) if far > spreads]
    return tuple(sorted(found, key=lambda outlier: -outlier.spreads))
