"""How sure is an AUROC: an interval that holds for few images, and for scores that separate them perfectly."""

from __future__ import annotations

import math
from statistics import NormalDist

__all__ = ["auroc_interval"]


def auroc_interval(auroc: float, abnormal: int, normal: int, *, level: float = 0.95) -> tuple[float, float]:
    """Confidence interval of an AUROC (Newcombe, Statistics in Medicine 2006, 25:559-573, method 5).

    The interval holds every area ``a`` that the observed one does not contradict: those with
    ``|a - auroc| <= z sqrt(V(a))``, where ``V`` is the variance of Hanley and McNeil (Radiology 1982) at ``a``, with
    both ``abnormal - 1`` and ``normal - 1`` replaced by ``(abnormal + normal) / 2 - 1``:

    ``V(a) = a (1 - a) / (abnormal normal) (1 + ((abnormal + normal) / 2 - 1) ((1 - a) / (2 - a) + a / (1 + a)))``

    In simulations with 10 + 10 to 100 + 100 images and areas of 0.85 to 0.995 a 95 % interval covers the true area 95
    to 99 % of the time (``tests/metrics/test_auroc_interval.py``), where a bootstrap covers it 25 to 94 %. It needs no
    scores and no random draw.

    Args:
        auroc: As observed, in [0, 1].
        abnormal: Abnormal images.
        normal: Normal images.
        level: Coverage, in (0, 1).

    Returns:
        Lower and upper end, in [0, 1]; NaN twice where the area is NaN. A perfect sample has an upper end of 1 and a
        lower end below it.

    Raises:
        ValueError: A number out of range.

    >>> low, high = auroc_interval(1.0, abnormal=10, normal=10)
    >>> round(low, 3), high
    (0.8, 1.0)
    """
    if math.isnan(auroc):
        return math.nan, math.nan
    if not 0 <= auroc <= 1 or min(abnormal, normal) < 1 or not 0 < level < 1:
        raise ValueError(
            "an interval needs an area in [0, 1], images of both kinds and a level in (0, 1); got "
            f"{auroc}, {abnormal} abnormal, {normal} normal and level {level}."
        )
    z2 = NormalDist().inv_cdf((1 + level) / 2) ** 2
    weight = (abnormal + normal) / 2 - 1

    def contradicted(area: float) -> bool:
        spread = 1 + weight * ((1 - area) / (2 - area) + area / (1 + area))
        return (area - auroc) ** 2 > z2 * area * (1 - area) * spread / (abnormal * normal)

    def end(outside: float) -> float:
        """Between an end of [0, 1], which the observed area contradicts, and the observed area."""
        if not contradicted(outside):
            return outside
        inside = auroc
        while True:
            middle = (outside + inside) / 2
            if middle in (outside, inside):
                return inside
            if contradicted(middle):
                outside = middle
            else:
                inside = middle

    return end(0.0), end(1.0)
