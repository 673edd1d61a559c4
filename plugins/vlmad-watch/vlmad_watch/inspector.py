"""From frames to verdicts on parts: skip what has not changed, follow the line, score, filter over time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vlmad_core.inspection.belt import Belt, BeltState
from vlmad_core.inspection.registration import phase_shift
from vlmad_core.inspection.temporal import (
    Box,
    Frame,
    FrameVerdict,
    PartVerdict,
    TemporalFilter,
    TemporalState,
    finish,
)
from vlmad_watch.frames import Pixels, VideoFrame

__all__ = ["FrameResult", "FrameScore", "Inspector", "Line"]

_WEAKEST = 0.05
"""Below this response of the registration the line is taken to move as before: the frame shows nothing to follow."""
_THUMBNAIL = 48
"""Cells of a side in which two frames are compared."""


@dataclass(frozen=True)
class FrameScore:
    """What a detector says of a picture.

    Attributes:
        score: Higher is more anomalous.
        boxes: Of the regions above the threshold of regions, in pixels of the picture.
    """

    score: float
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True)
class Line:
    """A line that moves along an axis of the frame.

    Attributes:
        belt: Its measures.
        axis: ``x`` or ``y``.
    """

    belt: Belt
    axis: Literal["x", "y"] = "x"


@dataclass(frozen=True)
class FrameResult:
    """One frame that was looked at.

    Attributes:
        frame: The frame.
        part: Which part is in view; "" without a line.
        window: Left, top, right, bottom of what was scored, in pixels of the frame; None: no part is wholly in view.
        score: None where nothing was scored.
        verdict: After this frame; None where nothing was scored.
        finished: Parts that have left.
    """

    frame: VideoFrame
    part: str = ""
    window: tuple[int, int, int, int] | None = None
    score: FrameScore | None = None
    verdict: FrameVerdict | None = None
    finished: tuple[PartVerdict, ...] = ()


@dataclass
class Inspector:
    """Takes in frames one by one.

    Args:
        predict: Scores a picture ``[H, W, 3]``.
        filter: Over the frames of a part.
        line: None: a camera that looks at one place, all frames are of one endless part.
        tolerance: A frame is unchanged if no cell of its thumbnail differs by more than this many grey values, of 255;
            0: every frame is scored.

    Attributes:
        n_scored: Frames that were scored.
        n_unchanged: Frames that were skipped.
        n_between: Frames without a part wholly in view.
    """

    predict: Callable[[Pixels], FrameScore]
    filter: TemporalFilter
    line: Line | None = None
    tolerance: float = 0.0
    n_scored: int = field(default=0, init=False)
    n_unchanged: int = field(default=0, init=False)
    n_between: int = field(default=0, init=False)
    _state: TemporalState | None = field(default=None, init=False)
    _belt: BeltState | None = field(default=None, init=False)
    _grey: NDArray[np.float32] | None = field(default=None, init=False)
    _thumbnail: NDArray[np.float32] | None = field(default=None, init=False)
    _moves: deque[float] = field(default_factory=lambda: deque(maxlen=15), init=False)

    def step(self, frame: VideoFrame) -> FrameResult | None:
        """Take in the next frame.

        Returns:
            What came of it; None for a frame that has not changed since the last one that was scored.
        """
        if self.tolerance and not self._has_changed(frame.pixels):
            self.n_unchanged += 1
            return None
        part, window = self._window(frame.pixels)
        if window is None:
            self.n_between += 1
            return FrameResult(frame, part)
        left, top, right, bottom = window
        score = self.predict(np.ascontiguousarray(frame.pixels[top:bottom, left:right]))
        self.n_scored += 1
        verdict, self._state = self.filter.step(Frame(score.score, score.boxes, part), self._state)
        finished = () if verdict.finished is None else (verdict.finished,)
        return FrameResult(frame, part, window, score, verdict, finished)

    def close(self) -> PartVerdict | None:
        """The verdict on the part that is in view when the source ends."""
        found, self._state = (None if self._state is None else finish(self._state)), None
        return found

    def _has_changed(self, pixels: Pixels) -> bool:
        now = _thumbnail_of(pixels)
        before = self._thumbnail
        if before is not None and before.shape == now.shape and np.abs(now - before).max() <= self.tolerance:
            return False
        self._thumbnail = now
        return True

    def _window(self, pixels: Pixels) -> tuple[str, tuple[int, int, int, int] | None]:
        height, width = pixels.shape[:2]
        if self.line is None:
            return "", (0, 0, width, height)
        grey: NDArray[np.float32] = pixels.mean(axis=2, dtype=np.float32)
        view, self._belt = self.line.belt.step(self._move(grey), self._belt)
        self._grey = grey
        if view is None:
            return "", None
        start, length = round(view.start), round(self.line.belt.length)
        is_x = self.line.axis == "x"
        window = (start, 0, start + length, height) if is_x else (0, start, width, start + length)
        return str(view.part), window

    def _move(self, grey: NDArray[np.float32]) -> float:
        if self._grey is None or self._grey.shape != grey.shape or self.line is None:
            return 0.0
        shift = phase_shift(self._grey, grey)
        if shift.response < _WEAKEST and self._moves:
            return median(self._moves)
        move = shift.x if self.line.axis == "x" else shift.y
        self._moves.append(move)
        return move


def _thumbnail_of(pixels: Pixels) -> NDArray[np.float32]:
    """Means of cells of grey, at most 48 x 48, so that the noise of a camera is no change."""
    grey: NDArray[np.float32] = pixels.mean(axis=2, dtype=np.float32)
    rows, columns = (np.linspace(0, side, min(side, _THUMBNAIL) + 1).astype(int)[:-1] for side in grey.shape)
    sums = np.add.reduceat(np.add.reduceat(grey, rows, axis=0), columns, axis=1)
    cells = np.outer(np.diff([*rows, grey.shape[0]]), np.diff([*columns, grey.shape[1]]))
    means: NDArray[np.float32] = (sums / cells).astype(np.float32)
    return means
