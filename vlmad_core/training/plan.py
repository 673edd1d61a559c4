"""Which image comes when: functions of seed, epoch and place alone, so that a training goes on exactly where it was."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vlmad_core.datasets.base import Sample

__all__ = ["Draw", "epoch_steps", "hold_out", "share_of", "step_seed"]

_ORDER, _MOSAIC, _HELD, _STEP = range(4)


@dataclass(frozen=True)
class Draw:
    """One image of an epoch.

    Args:
        index: Of the sample.
        mosaic: Seed of its mosaic; None: the image as it is.
    """

    index: int
    mosaic: int | None = None


def epoch_steps(indices: Sequence[int], size: int, *, seed: int, epoch: int, mosaic: float = 0.0) -> list[list[Draw]]:
    """Every image once, in a new order each epoch, cut into steps of ``size`` images over all devices together.

    >>> [[draw.index for draw in step] for step in epoch_steps([0, 1, 2], 2, seed=0, epoch=0)]
    [[2, 0], [1]]
    """
    order = np.random.default_rng((_ORDER, seed, epoch)).permutation(np.asarray(indices))
    luck = np.random.default_rng((_MOSAIC, seed, epoch))
    chosen = luck.random(len(order)) < mosaic
    seeds = luck.integers(2**62, size=len(order))
    draws = [Draw(int(index), int(s) if c else None) for index, c, s in zip(order, chosen.tolist(), seeds, strict=True)]
    return [draws[start : start + size] for start in range(0, len(draws), size)]


def share_of(step: Sequence[Draw], index: int, count: int, batch_size: int) -> list[list[Draw]]:
    """What process ``index`` of ``count`` does of a step, in batches; nothing, perhaps, of a last short step."""
    own = list(step[index::count])
    return [own[start : start + batch_size] for start in range(0, len(own), batch_size)]


def hold_out(samples: Sequence[Sample], share: float, *, seed: int) -> tuple[list[int], list[int]]:
    """Indices to learn from and indices to validate on, each category and label divided by the same share."""
    groups: dict[tuple[str, bool | None], list[int]] = defaultdict(list)
    for i, sample in enumerate(samples):
        groups[sample.category, sample.label].append(i)
    rng = np.random.default_rng((_HELD, seed))
    held: set[int] = set()
    for group in groups.values():
        # Rounded by chance: were it by rule, ten categories of three images would hold out nothing of any.
        count = min(int(share * len(group) + rng.random()), len(group) - 1)
        held.update(int(i) for i in rng.permutation(group)[:count])
    return [i for i in range(len(samples)) if i not in held], sorted(held)


def step_seed(seed: int, epoch: int, step: int, process: int) -> int:
    """What torch is seeded with before a step, so that no generator's state need be saved."""
    return int(np.random.SeedSequence((_STEP, seed, epoch, step, process)).generate_state(1)[0])
