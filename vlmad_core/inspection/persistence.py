"""How often k alarms in n frames come from good parts: the formulas beside the filter of ``temporal``."""

from __future__ import annotations

import math

from vlmad_core.errors import ConfigError

__all__ = ["any_window_rate", "dependent_bound", "window_rate"]

_LONGEST_WINDOW = 16


def _check(rate: float, k: int, n: int) -> None:
    if not 0 <= rate <= 1 or not 1 <= k <= n:
        raise ConfigError(f"k of n needs 1 <= k <= n and a rate in [0, 1]; given were k={k}, n={n}, rate={rate}.")


def window_rate(rate: float, k: int, n: int) -> float:
    """Probability of at least k alarms in n independent frames: ``sum_{j >= k} C(n, j) a^j (1 - a)^(n - j)``.

    >>> round(window_rate(0.05, 3, 5), 6)
    0.001158
    """
    _check(rate, k, n)
    from scipy.special import bdtrc  # takes half a second, so only where it is used

    return float(bdtrc(k - 1, n, rate))


def dependent_bound(rate: float, k: int, n: int) -> float:
    """The same for frames that depend on each other in any way: at most ``min(1, n a / k)`` (Markov's inequality).

    Frames of a part that stands still are nearly copies. If they all alarm or none does, the probability is ``a``,
    whatever k and n: waiting for more frames of the same view removes nothing.
    """
    _check(rate, k, n)
    return min(1.0, n * rate / k)


def any_window_rate(rate: float, k: int, n: int, frames: int) -> float:
    """Probability that among so many independent frames some n in a row, or all before them, have at least k alarms.

    This is the rate of good parts with an alarm where a part is in view for that many frames. It is exact: the alarms
    of the last n - 1 frames are a Markov chain.

    >>> round(any_window_rate(0.05, 3, 5, 20), 6)
    0.010476

    Raises:
        ConfigError: A number is out of range, or n is above 16.
    """
    _check(rate, k, n)
    if n > _LONGEST_WINDOW or frames < 0:
        raise ConfigError(f"n must be at most {_LONGEST_WINDOW} (given {n}), and frames at least 0 (given {frames}).")
    chances = {0: 1.0}  # bits: which of the last n - 1 frames were alarms, as long as there was no k of n
    keep = (1 << (n - 1)) - 1
    for _ in range(frames):
        after: dict[int, float] = {}
        for bits, chance in chances.items():
            for alarm, weight in ((0, 1 - rate), (1, rate)):
                window = bits << 1 | alarm
                if window.bit_count() < k:
                    after[window & keep] = after.get(window & keep, 0.0) + chance * weight
        chances = after
    return 1 - math.fsum(chances.values())
