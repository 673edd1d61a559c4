"""The time limit of a study: how many images fit into it at the pace that was measured, and a stop when it is over."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["FEWEST", "Fit", "TimeIsUpError", "TimeLimit", "drop_slowest", "fit", "minutes"]

FEWEST = 8
"""Test images of each label and category below which a comparison shows nothing."""
_ONE_DRAW = 0.6
"""Work that is left with one draw of normal images in place of three: features are computed once in both cases."""
_REPORT = 0.06
"""Share of the limit that is kept for plots and the report, which must always be written."""
_REPORT_SECONDS = 8.0


Name = TypeVar("Name")


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
        seeds: Draws of normal images.
        seconds: About how long it takes.
        cut: What was reduced, as part of a sentence; empty where nothing was.
    """

    max_images: int | None
    seeds: int
    seconds: float
    cut: str


def fit(seconds: float, room: float, images: int, *, limit: int | None, seeds: int) -> Fit:
    """The largest comparison that fits: one draw in place of several first, then fewer test images.

    Args:
        seconds: That everything takes, at the pace measured so far.
        room: Seconds that it may take.
        images: Test images of one label in the category that has the most.
        limit: Asked for, of each label and category; None: all.
        seeds: Draws of normal images, at most.
    """
    available = max(1, min(images, limit or images))
    cuts = []
    if seconds > room and seeds > 1:
        cuts.append(f"one draw of normal images is made in place of {seeds}")
        seeds, seconds = 1, seconds * _ONE_DRAW
    if seconds > room and available > FEWEST:
        count = max(FEWEST, int(available * room / seconds))
        seconds *= count / available
        cuts.append(f"at most {count} test images of each label and category are used, of up to {available}")
        limit = count
    return Fit(limit, seeds, seconds, " and ".join(cuts))


def drop_slowest(costs: Mapping[Name, float], share: float) -> list[Name]:
    """Names to leave out, the most expensive first, so that the rest costs no more than a share of all.

    The cheapest always stays.

    >>> drop_slowest({"windows": 0.8, "patches": 0.1, "second path": 0.1}, 0.5)
    ['windows']
    """
    order = sorted(costs, key=lambda name: -costs[name])
    total = rest = sum(costs.values())
    dropped: list[Name] = []
    while len(dropped) < len(order) - 1 and rest > share * total:
        dropped.append(order[len(dropped)])
        rest -= costs[dropped[-1]]
    return dropped


def minutes(seconds: float) -> str:
    """``"50 s"`` or ``"4 min"``."""
    return f"{max(1, round(seconds))} s" if seconds < 90 else f"{round(seconds / 60)} min"
