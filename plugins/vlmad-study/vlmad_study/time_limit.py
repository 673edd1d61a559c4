"""The time limit of a study: how many images fit into it at the pace that was measured, and a stop when it is over."""

from __future__ import annotations

import time
from dataclasses import dataclass

__all__ = ["FEWEST", "Fit", "TimeIsUpError", "TimeLimit", "fit_images", "minutes"]

FEWEST = 8
"""Test images of each label and category below which a comparison shows nothing."""
_REPORT = 0.08
"""Share of the limit that is kept for plots and the report, which must always be written."""
_REPORT_SECONDS = 10.0


class TimeIsUpError(Exception):
    """Raised in the middle of a step; what it has measured so far is safe."""


class TimeLimit:
    """Counts from its construction.

    Args:
        seconds: All that one call may take.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds, self.started = seconds, time.perf_counter()
        self._end = self.started + seconds - min(0.5 * seconds, _REPORT * seconds + _REPORT_SECONDS)
        self._step_end = self._end

    @property
    def passed(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.started

    @property
    def left(self) -> float:
        """Seconds until the report must begin; below 0 when it is late."""
        return self._end - time.perf_counter()

    def start_step(self, seconds: float) -> None:
        """The next step may take so long, and never longer than all may."""
        self._step_end = min(self._end, time.perf_counter() + seconds)

    def check(self) -> None:
        """Call it often.

        Raises:
            TimeIsUpError: The step has had its time.
        """
        if time.perf_counter() > self._step_end:
            raise TimeIsUpError


@dataclass(frozen=True)
class Fit:
    """What fits.

    Args:
        max_images: Test images of each label and category; None: all.
        seconds: About how long it takes.
        cut: What was reduced; empty where nothing was.
    """

    max_images: int | None
    seconds: float
    cut: str = ""


def fit_images(seconds: float, room: float, images: int, limit: int | None) -> Fit:
    """As many test images as fit, and never fewer than a comparison needs.

    Args:
        seconds: That all of them take.
        room: Seconds that they may take.
        images: Test images of one label in the category that has the most.
        limit: Asked for, of each label and category; None: all.
    """
    available = max(1, min(images, limit or images))
    if seconds <= room or available <= FEWEST:
        return Fit(limit, seconds)
    count = max(FEWEST, int(available * room / seconds))
    cut = f"at most {count} test images of each label and category in place of {available}"
    return Fit(count, seconds * count / available, cut)


def minutes(seconds: float) -> str:
    """``"50 s"`` or ``"4 min"``."""
    return f"{max(1, round(seconds))} s" if seconds < 90 else f"{round(seconds / 60)} min"
