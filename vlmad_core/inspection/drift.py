"""Has the camera, the light or the product changed? A test martingale over the scores of incoming images.

Vovk, Nouretdinov, Gammerman, *Testing exchangeability on-line*, ICML 2003; the bets are the Simple Jumper of Vovk
et al., *Retrain or not retrain: conformal test martingales for change-point detection*, COPA 2021. A capital of 1
is bet on each p-value being too low or too high. While the images stay exchangeable the capital is a martingale, so
by Ville's inequality it ever reaches a level c in a period with probability at most 1 / c.

Each score is ranked among all earlier ones of the period. Ranking against the same few normals for ever would let the
capital grow on their sampling error alone. A threshold is never moved by this: it raises an alarm for a person.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from vlmad_core.errors import ConfigError
from vlmad_core.inspection.conformal import as_scores

__all__ = ["ALARM_LEVEL", "DriftState", "step"]

ALARM_LEVEL = 100.0
"""Capital at which drift is reported: a false alarm in at most 1 % of the periods."""

_BETS = (-1.0, 0.0, 1.0)
_JUMP = 0.001
"""Share of the capital that is spread over the bets anew before each image; a higher one costs more without drift."""


@dataclass(frozen=True)
class DriftState:
    """All that is known after some images; plain numbers.

    Attributes:
        start: Scores with which each period starts: held-out normals, or none. Never scores of remembered images, which
            are on another scale than those of new ones.
        period: Images after which the scores and the capital start again, so that memory and time stay bounded.
        level: Capital that raises the alarm.
        seed: Of the random ranks among ties.
        n_images: In all periods.
        n_in_period: In this one.
        scores: Of this period, in ascending order, ``start`` included.
        shares: Of the capital, on each of the bets; they add up to 1.
        log_capital: Natural logarithm of the capital.
        alarm_at: Number of the image that raised the alarm, from 1; None as long as there is none. It stays.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    start: tuple[float, ...] = ()
    period: int = 5000
    level: float = ALARM_LEVEL
    seed: int = 0
    n_images: int = 0
    n_in_period: int = 0
    scores: tuple[float, ...] = ()
    shares: tuple[float, float, float] = (1 / 3, 1 / 3, 1 / 3)
    log_capital: float = 0.0
    alarm_at: int | None = None

    def __post_init__(self) -> None:
        """Refuse a state that cannot be.

        Raises:
            ConfigError: A number is out of range or the scores are not in order.
        """
        if self.level <= 1 or self.period < 1 or not 0 <= self.n_in_period <= self.period:
            raise ConfigError(
                f"drift: the level ({self.level}) must be above 1 and the period ({self.period}) above 0."
            )
        if len(self.scores) != len(self.start) + self.n_in_period or list(self.scores) != sorted(self.scores):
            raise ConfigError("drift: the scores of the state are not those of the period in ascending order.")

    @classmethod
    def begin(
        cls, start: Iterable[float] = (), *, period: int = 5000, level: float = ALARM_LEVEL, seed: int = 0
    ) -> DriftState:
        """The state before the first image."""
        first = tuple(sorted(as_scores(list(start), "scores of normal images").tolist()))
        return cls(start=first, period=period, level=level, seed=seed, scores=first)

    @property
    def capital(self) -> float:
        """What the capital of 1 has become; at most the largest float."""
        return math.exp(min(self.log_capital, 700.0))

    @property
    def is_alarm(self) -> bool:
        """The capital has reached the level at some time."""
        return self.alarm_at is not None

    def acknowledged(self) -> DriftState:
        """The same after a person has taken note: a new period, no alarm."""
        return replace(_restarted(self), alarm_at=None)

    def to_json(self) -> str:
        """As text, from which `from_json` gives an equal state."""
        return _ADAPTER.dump_json(self).decode()

    @classmethod
    def from_json(cls, text: str | bytes, *, name: str = "the drift state") -> DriftState:
        """Read what `to_json` wrote.

        Raises:
            ConfigError: It is cut off or something else.
        """
        try:
            return _ADAPTER.validate_json(text)
        except ValidationError as error:
            problem = error.errors(include_url=False, include_context=False, include_input=False)[0]["msg"]
            raise ConfigError(f"{name}: not a drift state of vlmad: {problem}. Begin again.") from None


_ADAPTER = TypeAdapter(DriftState)


def step(score: float, state: DriftState) -> tuple[float, DriftState]:
    """Take in the score of one more image.

    Args:
        score: Of any image of the stream, in the order of arrival; leave none out because of its verdict.
        state: Before it.

    Returns:
        Its smoothed p-value among the earlier scores of the period, in (0, 1], and the state after it.

    Raises:
        ConfigError: The score is not finite.
    """
    as_scores([score], "scores of the stream")
    if state.n_in_period >= state.period:
        state = _restarted(state)
    place, end = bisect_left(state.scores, score), bisect_right(state.scores, score)
    number = state.n_images + 1
    # Ties are split at random, which makes the p-values exactly uniform; the same state gives the same number again.
    draw = 1 - random.Random(f"{state.seed}:{number}").random()
    p_value = (len(state.scores) - end + draw * (end - place + 1)) / (len(state.scores) + 1)
    mixed = [(1 - _JUMP) * share + _JUMP / len(_BETS) for share in state.shares]
    grown = [share * (1 + bet * (p_value - 0.5)) for share, bet in zip(mixed, _BETS, strict=True)]
    total = math.fsum(grown)
    log_capital = state.log_capital + math.log(total)
    is_new = state.alarm_at is None and log_capital >= math.log(state.level)
    after = replace(
        state,
        n_images=number,
        n_in_period=state.n_in_period + 1,
        scores=(*state.scores[:place], float(score), *state.scores[place:]),
        shares=(grown[0] / total, grown[1] / total, grown[2] / total),
        log_capital=log_capital,
        alarm_at=number if is_new else state.alarm_at,
    )
    return p_value, after


def _restarted(state: DriftState) -> DriftState:
    return replace(state, n_in_period=0, scores=state.start, shares=(1 / 3, 1 / 3, 1 / 3), log_capital=0.0)
