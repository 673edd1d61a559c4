"""From scores with and without a phrase to what that phrase does: what is dead, what is harmful. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vlmad_core.metrics.image import auroc
from vlmad_core.metrics.paired import delong

__all__ = ["DEAD", "Control", "Effect", "control_of", "effect_of"]

DEAD = 0.02
"""An item is dead where leaving it out moves no score by more than this share of the spread of all scores."""

Finding = Literal["dead", "harmful", "useful", ""]


@dataclass(frozen=True)
class Effect:
    """What an item does, as the difference of the scores with it and without it.

    Attributes:
        normal: Mean over the normal images, in units of the score.
        defect: Mean over the defects; None without them.
        largest: Largest change of any image, without sign.
        auroc: How much higher the AUROC is with it; None without defects.
        low: Lower end of the 95 % interval of that (DeLong); None likewise, or with one image of a kind.
        high: Upper end.
        finding: ``dead``: it changes nothing. ``harmful``, ``useful``: the interval is below or above 0. "": neither is
            certain.
    """

    normal: float
    defect: float | None
    largest: float
    auroc: float | None
    low: float | None
    high: float | None
    finding: Finding


@dataclass(frozen=True)
class Control:
    """AUROC with words that mean nothing.

    Attributes:
        auroc: Of the prompts as they are.
        nonsense: Of each draw of nonsense words, ascending.
        share_below: Of the draws, those with a lower AUROC than the prompts as they are.
    """

    auroc: float
    nonsense: tuple[float, ...]
    share_below: float


def effect_of(whole: NDArray[np.float64], without: NDArray[np.float64], is_defect: Sequence[bool]) -> Effect:
    """Compare the scores with an item and without it.

    Args:
        whole: ``[N]`` with all items.
        without: ``[N]`` without this one.
        is_defect: ``[N]``.
    """
    labels = np.asarray(is_defect, dtype=bool)
    change = whole - without
    largest = float(np.abs(change).max())
    spread = float(whole.std())
    normal = float(change[~labels].mean())
    is_dead = largest <= DEAD * spread
    if not labels.any():
        return Effect(normal, None, largest, None, None, None, "dead" if is_dead else "")
    gain = auroc(whole, labels) - auroc(without, labels)
    low = high = None
    finding: Finding = "dead" if is_dead else ""
    if min(int(labels.sum()), int((~labels).sum())) >= 2:
        paired = delong(whole, without, labels)
        if "independent" not in paired.caution:  # with no spread of the difference nothing is known of it
            low, high = paired.low, paired.high
            if not is_dead and (low > 0 or high < 0):
                finding = "useful" if low > 0 else "harmful"
    return Effect(normal, float(change[labels].mean()), largest, gain, low, high, finding)


def control_of(whole: NDArray[np.float64], nonsense: NDArray[np.float64], is_defect: Sequence[bool]) -> Control | None:
    """The prompts beside nonsense words; None without defects or without draws.

    Args:
        whole: ``[N]`` with the prompts as they are.
        nonsense: ``[K, N]``.
        is_defect: ``[N]``.
    """
    labels = np.asarray(is_defect, dtype=bool)
    if not labels.any() or not len(nonsense):
        return None
    own, others = auroc(whole, labels), sorted(auroc(row, labels) for row in nonsense)
    return Control(own, tuple(others), float(np.mean([other < own for other in others])))
