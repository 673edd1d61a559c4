"""Which images of a whole folder to report so that few of the reported are good: Benjamini-Hochberg.

Benjamini and Hochberg, JRSS B 1995. Conformal p-values that share their normals depend on each other in a way
that the procedure allows, if the images of the folder are independent and the normals were held out: Bates et al.,
*Testing for outliers with conformal p-values*, Annals of Statistics 2023, Theorem 2.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlmad_core.errors import ConfigError
from vlmad_core.inspection.conformal import Numbers, as_scores, check_rate

__all__ = ["adjusted_p_values", "discoveries", "fewest_discoveries"]


def adjusted_p_values(p_values: ArrayLike) -> Numbers:
    """The lowest false-discovery rate at which each image would be reported, ``min_{j >= i} p_(j) m / j``, at most 1.

    >>> adjusted_p_values([0.01, 0.5, 0.04]).round(3).tolist()
    [0.03, 0.5, 0.06]

    Raises:
        ConfigError: A value is not in (0, 1].
    """
    values = as_scores(p_values, "p-values")
    if ((values <= 0) | (values > 1)).any():
        raise ConfigError("p-values must be above 0 and at most 1.")
    order = np.argsort(values, kind="stable")
    ranked = values[order] * values.size / np.arange(1, values.size + 1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum.accumulate(ranked[::-1])[::-1]
    return np.minimum(adjusted, 1.0)


def discoveries(p_values: ArrayLike, false_discoveries: float) -> NDArray[np.bool_]:
    """Which images to report, so that on average at most this share of the reported ones are good.

    Args:
        p_values: Of all images of the folder.
        false_discoveries: Rate, in (0, 1).
    """
    check_rate(false_discoveries, "the false-discovery rate")
    values = as_scores(p_values, "p-values")
    adjusted_p_values(values)
    ordered = np.sort(values)
    # Products, not quotients: 0.05 * 2 / 4 compares with 0.025 as the paper writes it.
    passing = np.flatnonzero(ordered <= false_discoveries * np.arange(1, values.size + 1) / max(1, values.size))
    return values <= (ordered[passing[-1]] if passing.size else -math.inf)


def fewest_discoveries(normals: int, images: int, false_discoveries: float) -> int:
    """How many images must be above all normals before any can be reported; p-values stop at ``1 / (normals + 1)``.

    With 99 normals and 1,000 images, a rate of 5 % reports nothing unless 200 images are above all normals. More than
    ``images`` means that nothing can ever be reported: calibrate with more normals.

    >>> fewest_discoveries(99, 1000, 0.05)
    200
    """
    check_rate(false_discoveries, "the false-discovery rate")
    smallest = 1 / (normals + 1)
    count = max(1, math.floor(images * smallest / false_discoveries))
    while smallest > false_discoveries * count / images:
        count += 1
    return count
