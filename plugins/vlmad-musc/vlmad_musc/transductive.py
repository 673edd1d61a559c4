"""For a finished batch: MuSc's re-scoring of images by those that look alike, which needs all their scores at once.

A detector scores each image by itself, so no recipe gives these scores. Mark such results *transductive*: they are not
comparable with those of methods that see one image at a time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vlmad_core.errors import ConfigError

__all__ = ["rescore"]


def rescore(scores: Sequence[float] | np.ndarray, vectors: np.ndarray, sizes: Sequence[int] = (1, 2, 3)) -> np.ndarray:
    """Each score becomes a mean over the images most alike, weighed by their cosine (RsCIN).

    The authors scale the scores to [0, 1] first; since the weights of an image sum to 1, that changes the scale alone.

    Args:
        scores: ``[N]``, of the images of one kind of object.
        vectors: ``[N, D]``, each a whole image; any length.
        sizes: How many images, the one itself among them, are looked at; the mean over these. The paper takes 1, 2, 3
            on MVTec AD and 1, 8, 9 on VisA.

    Returns:
        ``[N]`` float64, on the scale of the scores.

    Raises:
        ConfigError: Lengths that differ, or a size that is below 1 or above N.

    >>> rescore([0.9, 0.1, 0.2], [[1.0, 0.0], [0.0, 1.0], [0.0, 2.0]], sizes=[2])
    array([0.9 , 0.15, 0.15])
    """
    old, whole = np.asarray(scores, dtype=np.float64), np.asarray(vectors, dtype=np.float64)
    if old.ndim != 1 or whole.ndim != 2 or len(old) != len(whole):
        raise ConfigError(f"needs one score and one vector an image; got {old.shape} and {whole.shape}.")
    if not sizes or not all(1 <= size <= len(old) for size in sizes):
        raise ConfigError(f"sizes must lie between 1 and the number of images, {len(old)}; got {list(sizes)}.")
    whole = whole / np.linalg.norm(whole, axis=1, keepdims=True).clip(1e-12)
    alike = (whole @ whole.T).clip(0)
    np.fill_diagonal(alike, 1.0)
    order = np.argsort(-alike, axis=1, kind="stable")
    found = []
    for size in sizes:
        near = order[:, :size]  # [N, size]
        weights = np.take_along_axis(alike, near, axis=1)
        found.append((weights * old[near]).sum(1) / weights.sum(1))
    result: np.ndarray = np.mean(found, axis=0)
    return result
