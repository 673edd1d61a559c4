"""What is tested, and with how many images: everything that fits into the time, decided before the first result."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from vlmad_robustness.corruptions import CORRUPTIONS, SEVERITIES
from vlmad_robustness.lighting import LIGHTING

__all__ = ["DIRECTIONS", "LARGE", "REMEDY", "Cell", "Plan", "Speed", "cells_of", "make_plan"]

DIRECTIONS = {"raise": 1, "hide": -1}
"""Raise a false alarm on a normal image, or hide a defect."""
LARGE = 64
"""Epsilon of 255 at which an attack that works must succeed always."""
REMEDY = ("exposure", "contrast", "hue", "saturation", "gradient light", "underexposed", "overexposed", "shadow")
"""Conditions on which the remedy is measured, at severity 3."""
WORST = {
    "rotation": (-45, -20, -10, -5, 5, 10, 20, 45, 90, 180, 270),
    "hue": (-60, -35, -20, 20, 35, 60, 120, 180),
    "saturation": (0.0, 0.3, 0.6, 1.4, 1.8),
}
"""Values that are tried on each image; the worst one counts (as arXiv 2405.07969 does for WinCLIP)."""

_SHARES = {"corruptions": 0.52, "worst": 0.10, "attacks": 0.28, "remedy": 0.10}
_LEVELS = ((50, 5), (50, 2), (30, 2), (20, 2), (20, 1), (10, 1))
_EPSILONS = (1, 2, 4, 8)


@dataclass(frozen=True)
class Speed:
    """Seconds an image on this machine: forward alone, and forward with backward."""

    forward: float
    gradient: float


@dataclass(frozen=True)
class Plan:
    """Numbers of everything; kept in the folder, so that a run that goes on does the same.

    Args:
        severities: Of every corruption.
        images: Test images of each condition.
        worst_images: Of the worst rotation, hue and saturation.
        attack_images: That are attacked, half of them normal.
        steps: Gradient steps of an attack.
        restarts: Of an attack.
        epsilons: Of 255.
        universal_steps: Steps that learn the universal perturbation.
        transfer: Recipes on which the adversarial images are tried.
        remedy_images: Of the remedy; 0: not measured.
    """

    severities: tuple[int, ...] = SEVERITIES
    images: int = 100
    worst_images: int = 60
    attack_images: int = 16
    steps: int = 50
    restarts: int = 5
    epsilons: tuple[int, ...] = _EPSILONS
    universal_steps: int = 20
    transfer: tuple[str, ...] = ()
    remedy_images: int = 100

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Plan:
        """From :meth:`record`."""
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in record.items()
        }
        return cls(**fields)


@dataclass(frozen=True)
class Cell:
    """One condition, tested as a whole.

    Args:
        kind: ``clean``, ``corruption``, ``worst``, ``attack``, ``universal``, ``transfer`` or ``remedy``.
        name: Of the condition, or of the attack.
        level: Severity, epsilon of 255, or 0.
        direction: ``raise`` or ``hide``, of attacks.
        cost: Forward passes, for the time that is left.
    """

    kind: str
    name: str
    level: int = 0
    direction: str = ""
    cost: float = field(default=1.0, compare=False)

    @property
    def id(self) -> str:
        """One word."""
        return ":".join([self.kind, self.name, *([self.direction] if self.direction else []), str(self.level)])


def make_plan(
    speed: Speed,
    seconds: float,
    labels: Sequence[bool],
    *,
    quick: bool = False,
    transfer: Sequence[str] = (),
    steps: int | None = None,
    restarts: int | None = None,
    attack_images: int | None = None,
) -> Plan:
    """The largest plan that fits.

    Args:
        speed: As measured.
        seconds: That may pass.
        labels: Of the test images.
        quick: Severities 1, 3 and 5 at most, and epsilon 2 and 8 only.
        transfer: Recipes to transfer attacks to.
        steps: Of attacks; None: what fits.
        restarts: Likewise.
        attack_images: Likewise.
    """
    most = len(labels)
    severities: tuple[int, ...] = SEVERITIES
    epsilons: tuple[int, ...] = _EPSILONS
    if quick:
        severities, epsilons = (1, 3, 5), (2, 8)
    conditions = len(CORRUPTIONS) + len(LIGHTING)
    forwards = _SHARES["corruptions"] * seconds / speed.forward
    for fewer, least in (((1, 3, 5), 16), ((3,), 8)):
        if forwards / (conditions * len(severities) + 2) < least:
            severities = fewer
    images = _between(forwards / (conditions * len(severities) + 2), min(8, most), most)
    tries = sum(map(len, WORST.values()))
    worst = _between(_SHARES["worst"] * seconds / speed.forward / tries, min(6, most), images)
    remedy = _between(_SHARES["remedy"] * seconds / speed.forward / (2 * len(REMEDY) + 2), min(6, most), images)
    budget = _SHARES["attacks"] * seconds / speed.gradient
    levels = [level for level in _LEVELS if not quick or level[0] <= 10]
    for n_steps, n_restarts in levels:
        n_steps, n_restarts = steps or n_steps, restarts or n_restarts
        each = 2 * len(epsilons) * (n_steps + 1) * n_restarts + n_steps + len(epsilons) * n_steps / 3
        count = attack_images or int((budget - 2 * 8 * n_steps) / each)
        if count >= 12 or (n_steps, n_restarts) == levels[-1]:
            break
    return Plan(
        severities=severities,
        images=images,
        worst_images=worst,
        attack_images=min(most, max(attack_images or 4, min(count, 40))),
        steps=n_steps,
        restarts=n_restarts,
        epsilons=epsilons,
        universal_steps=max(10, n_steps),
        transfer=tuple(transfer),
        remedy_images=remedy,
    )


def cells_of(plan: Plan) -> Iterator[Cell]:
    """All conditions, the most telling first."""
    yield Cell("clean", "as given", cost=plan.images)
    yield Cell("clean", "working size", cost=plan.images)
    order = [severity for severity in (3, 5, 1, 4, 2) if severity in plan.severities]
    for severity in order[:1]:
        yield from (Cell("corruption", c.name, severity, cost=plan.images) for c in (*LIGHTING, *CORRUPTIONS))
    each = 3.0 * plan.attack_images * plan.steps * plan.restarts / 2
    for epsilon in sorted(plan.epsilons, reverse=True):
        for direction in DIRECTIONS:
            yield Cell("attack", "random", epsilon, direction, each / 3 / plan.restarts)
            yield Cell("attack", "pgd", epsilon, direction, each)
            yield Cell("attack", "apgd", epsilon, direction, each)
    for direction in DIRECTIONS:
        yield Cell("attack", "pgd", LARGE, direction, each / plan.restarts)
        yield Cell("universal", "universal", 8, direction, 3.0 * 8 * plan.universal_steps + plan.images)
    for recipe in plan.transfer:
        yield from (Cell("transfer", recipe, max(plan.epsilons), d, plan.attack_images * 2) for d in DIRECTIONS)
    for name, values in WORST.items():
        yield Cell("worst", name, cost=plan.worst_images * len(values))
    if plan.remedy_images:
        yield Cell("remedy", "working size", cost=plan.remedy_images * 2)
        yield from (Cell("remedy", name, 3, cost=plan.remedy_images) for name in REMEDY)
    for severity in order[1:]:
        yield from (Cell("corruption", c.name, severity, cost=plan.images) for c in (*LIGHTING, *CORRUPTIONS))


def _between(value: float, low: int, high: int) -> int:
    return max(low, min(high, math.floor(value)))
