"""Which part is in view on a line that moves? The movement adds up, and parts follow each other at a known distance.

Pure and serialisable as ``temporal``: ``Belt.step(shift, state) -> (view, state)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from vlmad_core.errors import ConfigError

__all__ = ["Belt", "BeltState", "PartView"]


@dataclass(frozen=True)
class BeltState:
    """How far the line has moved.

    Attributes:
        travel: In pixels, in the direction of the line.
        n_frames: Taken in so far.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    travel: float = 0.0
    n_frames: int = 0

    def to_json(self) -> str:
        """As text, from which `from_json` gives an equal state."""
        return _ADAPTER.dump_json(self).decode()

    @classmethod
    def from_json(cls, text: str | bytes, *, name: str = "the state of the belt") -> BeltState:
        """Read what `to_json` wrote.

        Raises:
            ConfigError: It is cut off or something else.
        """
        try:
            return _ADAPTER.validate_json(text)
        except ValidationError as error:
            problem = error.errors(include_url=False, include_context=False, include_input=False)[0]["msg"]
            raise ConfigError(f"{name}: not a state of a belt: {problem}. Begin again.") from None


_ADAPTER = TypeAdapter(BeltState)


@dataclass(frozen=True)
class PartView:
    """A part that is wholly in view.

    Attributes:
        part: Its number, from 0.
        start: Where it begins along the line, in pixels of the frame.
    """

    part: int
    start: float


@dataclass(frozen=True)
class Belt:
    """A line on which parts follow each other.

    Attributes:
        view: Length of the frame along the line, in pixels.
        length: Of a part, in pixels; at most the view.
        pitch: From the beginning of a part to that of the next one, in pixels; at least the length.
        first: Where part 0 begins in the first frame: at or beyond the end of the view where it has yet to enter.
        direction: -1: parts move to the left (or up), towards lower coordinates; 1: to the right (or down).
    """

    view: float
    length: float
    pitch: float
    first: float
    direction: int = -1

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            ConfigError: A number is out of range.
        """
        if not 0 < self.length <= self.view or self.pitch < self.length or self.direction not in (-1, 1):
            raise ConfigError(
                f"a part ({self.length}) must fit into the view ({self.view}) and the pitch ({self.pitch}) be at least "
                f"its length; the direction is -1 or 1, not {self.direction}."
            )

    def step(self, shift: float, state: BeltState | None = None) -> tuple[PartView | None, BeltState]:
        """Take in one frame.

        Args:
            shift: Movement since the frame before along the line, in pixels, with the sign of the coordinates.
            state: After the frame before; None before the first, whose shift is not used.

        Returns:
            The part that is wholly in view, the one furthest along where there are several, and the state after it.

        Raises:
            ConfigError: The shift is not finite.
        """
        if not math.isfinite(shift):
            raise ConfigError(f"the movement of the line must be a finite number, not {shift}.")
        after = (
            BeltState(0.0, 1) if state is None else BeltState(state.travel + self.direction * shift, state.n_frames + 1)
        )
        # Along the direction of movement, part i is i pitches behind part 0.
        ahead = self.direction * self.first + after.travel
        low, high = (0.0, self.view - self.length) if self.direction > 0 else (self.length - self.view, 0.0)
        part = max(0, math.ceil((ahead - high) / self.pitch - 1e-9))
        place = ahead - part * self.pitch
        if place < low - 1e-9:
            return None, after
        return PartView(part, min(max(self.direction * place, 0.0), self.view - self.length)), after
