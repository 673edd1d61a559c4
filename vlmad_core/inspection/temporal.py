"""From verdicts on frames to one verdict on each part: an average over time, and regions that must persist.

A single frame flickers: a reflection, a compression artefact, a blurred edge. Two rules take that out. The exponential
mean of the score must rise above one threshold to raise an alarm and fall to a lower one to end it (hysteresis). A
region must be found in k of the last n frames at about the same place. The filter has no state of its own: ``step``
takes a state and returns the next one, both plain numbers, so a stream continues after a restart.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from vlmad_core.errors import ConfigError
from vlmad_core.inspection.conformal import as_scores

__all__ = ["Box", "Frame", "FrameVerdict", "PartVerdict", "TemporalFilter", "TemporalState", "Track", "finish"]

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixel edges."""

_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


@dataclass(frozen=True)
class Frame:
    """What the filter needs of a frame.

    Attributes:
        score: Of the frame.
        boxes: Of its regions above the region threshold, in a fixed camera's coordinates or registered to the part.
        part: Name or number of the part in view; another one ends the part before it. "" for a stream without parts.
    """

    score: float
    boxes: tuple[Box, ...] = ()
    part: str = ""


@dataclass(frozen=True)
class Track:
    """A region over time.

    Attributes:
        box: Where it was last found.
        hits: Whether it was found in each of the last frames, the newest last, at most n of them.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    box: Box
    hits: tuple[bool, ...]


@dataclass(frozen=True)
class TemporalState:
    """All that is known of the part in view.

    Attributes:
        part: Which.
        n_frames: Of the part so far, in all states that led here.
        mean: Exponential mean of the scores; meaningless before the first frame.
        is_raised: The mean has been above the upper threshold and not yet back at the lower one.
        tracks: Regions found in the last n frames.
        n_alarms: Frames of the part with an alarm.
        best_score: Highest score of a frame of the part.
        best_frame: Its number within the part, from 0: the one to keep as evidence.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    part: str = ""
    n_frames: int = 0
    mean: float = 0.0
    is_raised: bool = False
    tracks: tuple[Track, ...] = ()
    n_alarms: int = 0
    best_score: float = 0.0
    best_frame: int = 0

    def to_json(self) -> str:
        """As text, from which `from_json` gives an equal state."""
        return _ADAPTER.dump_json(self).decode()

    @classmethod
    def from_json(cls, text: str | bytes, *, name: str = "the temporal state") -> TemporalState:
        """Read what `to_json` wrote.

        Raises:
            ConfigError: It is cut off or something else.
        """
        try:
            return _ADAPTER.validate_json(text)
        except ValidationError as error:
            problem = error.errors(include_url=False, include_context=False, include_input=False)[0]["msg"]
            raise ConfigError(f"{name}: not a temporal state of vlmad: {problem}. Begin again.") from None


_ADAPTER = TypeAdapter(TemporalState)


@dataclass(frozen=True)
class PartVerdict:
    """The one verdict on a part that has left the view: ``reject`` if any of its frames had an alarm."""

    part: str
    label: Literal["pass", "reject"]
    n_frames: int
    n_alarms: int
    best_score: float
    best_frame: int


@dataclass(frozen=True)
class FrameVerdict:
    """The verdict after one frame.

    Attributes:
        label: ``reject`` while the mean is raised or a region persists.
        mean: Exponential mean of the scores of this part.
        is_raised: The mean is the reason.
        persistent: Boxes of the regions found in k of the last n frames.
        finished: The part that this frame ended, if it is the first frame of another one.
    """

    label: Literal["pass", "reject"]
    mean: float
    is_raised: bool
    persistent: tuple[Box, ...]
    finished: PartVerdict | None = None


@dataclass(frozen=True)
class TemporalFilter:
    """The rules; at least one of the mean and the regions must be on.

    Attributes:
        high: The mean must rise above this to raise an alarm, in units of the score; None: the mean raises none.
        low: An alarm ends when the mean is at or below this; None: the same as ``high``, no hysteresis.
        weight: Of the newest frame in the mean, in (0, 1]; 1 is no averaging. The mean remembers about ``1 / weight``
            frames.
        k: A region must be found in so many ...
        n: ... of the last so many frames; None for both: regions raise no alarm.
        min_overlap: Regions of two frames are the same if their boxes have this intersection over union, in (0, 1] ...
        max_distance: ... or if their centres are so near, in pixels; small regions do not overlap when they jitter.
    """

    high: float | None = None
    low: float | None = None
    weight: float = 0.3
    k: int | None = None
    n: int | None = None
    min_overlap: float = 0.3
    max_distance: float = 0.0

    def __post_init__(self) -> None:
        """Refuse rules that contradict each other.

        Raises:
            ConfigError: Both are off, or a number is out of range.
        """
        if self.high is None and self.k is None:
            raise ConfigError(
                "a temporal filter needs a threshold for the mean (high), or k and n for regions, or both."
            )
        if (self.k is None) != (self.n is None) or (self.k is not None and not 1 <= self.k <= (self.n or 0)):
            raise ConfigError(f"k of n needs both numbers and 1 <= k <= n; given were k={self.k}, n={self.n}.")
        if self.low is not None and (self.high is None or self.low > self.high):
            raise ConfigError(f"the lower threshold ({self.low}) must be at or below the upper one ({self.high}).")
        if not (0 < self.weight <= 1 and 0 < self.min_overlap <= 1 and self.max_distance >= 0):
            raise ConfigError(
                f"weight ({self.weight}) and min_overlap ({self.min_overlap}) must be in (0, 1], and max_distance "
                f"({self.max_distance}) at least 0."
            )

    def step(self, frame: Frame, state: TemporalState | None = None) -> tuple[FrameVerdict, TemporalState]:
        """Take in one frame.

        Args:
            frame: The next one.
            state: After the frame before it; None before the first.

        Returns:
            The verdict after this frame, and the state after it. The first frame of another part ends the one before
            it: ``verdict.finished``, and everything starts again.

        Raises:
            ConfigError: A number is not finite.
        """
        as_scores([frame.score, *(side for box in frame.boxes for side in box)], "numbers of the frame")
        finished = None
        if state is None or state.n_frames == 0 or state.part != frame.part:
            finished = None if state is None else finish(state)
            state = TemporalState(part=frame.part, mean=frame.score, best_score=frame.score)
        mean = state.mean + self.weight * (frame.score - state.mean)
        is_raised = self._is_raised(mean, state.is_raised)
        tracks = self._follow(frame.boxes, state.tracks) if self.n is not None else ()
        persistent = tuple(track.box for track in tracks if self.k is not None and sum(track.hits) >= self.k)
        is_alarm = is_raised or bool(persistent)
        is_best = frame.score > state.best_score
        after = replace(
            state,
            n_frames=state.n_frames + 1,
            mean=mean,
            is_raised=is_raised,
            tracks=tracks,
            n_alarms=state.n_alarms + is_alarm,
            best_score=frame.score if is_best else state.best_score,
            best_frame=state.n_frames if is_best else state.best_frame,
        )
        return FrameVerdict("reject" if is_alarm else "pass", mean, is_raised, persistent, finished), after

    def _is_raised(self, mean: float, was_raised: bool) -> bool:
        if self.high is None:
            return False
        low = self.high if self.low is None else self.low
        return mean > (low if was_raised else self.high)

    def _follow(self, boxes: Iterable[Box], tracks: tuple[Track, ...]) -> tuple[Track, ...]:
        """Give each box to the track it overlaps most or is nearest to, one to one; the best pairs first."""
        boxes = tuple(boxes)
        pairs = []
        for i, box in enumerate(boxes):
            for j, track in enumerate(tracks):
                overlap, distance = _overlap(box, track.box), _distance(box, track.box)
                if overlap >= self.min_overlap or distance <= self.max_distance:
                    pairs.append((-overlap, distance, i, j))
        box_of: dict[int, int] = {}
        for *_, i, j in sorted(pairs):
            if i not in box_of.values() and j not in box_of:
                box_of[j] = i
        followed = []
        for j, track in enumerate(tracks):
            hits = (*track.hits, j in box_of)[-(self.n or 1) :]
            if any(hits):
                followed.append(Track(boxes[box_of[j]] if j in box_of else track.box, hits))
        new = [Track(box, (True,)) for i, box in enumerate(boxes) if i not in box_of.values()]
        return (*followed, *new)


def finish(state: TemporalState) -> PartVerdict | None:
    """The verdict on the part in view, when it has left or the stream ends; None if no frame was taken in."""
    if not state.n_frames:
        return None
    label: Literal["pass", "reject"] = "reject" if state.n_alarms else "pass"
    return PartVerdict(state.part, label, state.n_frames, state.n_alarms, state.best_score, state.best_frame)


def _overlap(a: Box, b: Box) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def _distance(a: Box, b: Box) -> float:
    x, y = a[0] + a[2] - b[0] - b[2], a[1] + a[3] - b[1] - b[3]
    return float((x * x + y * y) ** 0.5) / 2
