"""For evaluation alone: the image score of the few-shot paper, which needs the whole test set of a category at once.

A detector scores each image by itself, so no recipe gives this score. It is here to repeat the paper's tables. Mark the
results *transductive*: they are not comparable with those of methods that see one image at a time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vlmad_core.errors import ConfigError

__all__ = ["rescale"]


def rescale(probability: Sequence[float] | np.ndarray, peak: Sequence[float] | np.ndarray) -> np.ndarray:
    """Half of the zero-shot probability and the map's maximum, min-max normalised over the given images.

    Args:
        probability: ``[N]``, image scores of the zero-shot detector.
        peak: ``[N]``, maxima of the few-shot detector's maps of the same images, all test images of one category.

    Returns:
        ``[N]`` float64 in [0, 1]. Where all maxima are equal they say nothing and count as 0.

    Raises:
        ConfigError: Lengths that differ, or fewer than two images.

    >>> rescale([0.2, 0.8, 0.5], [1.0, 3.0, 2.0])
    array([0.1, 0.9, 0.5])
    """
    chance, height = (np.asarray(values, dtype=np.float64) for values in (probability, peak))
    if chance.ndim != 1 or chance.shape != height.shape:
        raise ConfigError(f"needs one probability and one maximum an image; got {chance.shape} and {height.shape}.")
    if len(height) < 2:
        raise ConfigError("one image has no range to be normalised by; give all test images of a category.")
    span = height.max() - height.min()
    position = (height - height.min()) / span if span > 0 else np.zeros_like(height)
    result: np.ndarray = (chance + position) / 2
    return result
