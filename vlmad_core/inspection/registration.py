"""How far has a picture moved since the one before? Phase correlation, so that a moving part is compared with itself.

Kuglin, Hines, *The phase correlation image alignment method*, 1975; the peak is refined to a fraction of a pixel by a
parabola through its neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlmad_core.errors import ConfigError

__all__ = ["Shift", "phase_shift"]


@dataclass(frozen=True)
class Shift:
    """A movement between two pictures.

    Attributes:
        x: To the right, in pixels.
        y: Down, in pixels.
        response: Share of the correlation at its peak, in [0, 1]: near 0 where the pictures have nothing in common.
    """

    x: float
    y: float
    response: float


def phase_shift(before: ArrayLike, after: ArrayLike) -> Shift:
    """How far ``after`` has moved against ``before``.

    Args:
        before: ``[H, W]`` grey values.
        after: Of the same shape.

    Raises:
        ConfigError: The shapes differ, or a picture is smaller than 8 pixels.
    """
    one, other = (np.asarray(picture, dtype=np.float64) for picture in (before, after))
    if one.ndim != 2 or one.shape != other.shape or min(one.shape) < 8:
        raise ConfigError(
            f"registration needs two grey pictures of one size, at least 8 x 8; got {one.shape} and {other.shape}."
        )
    window = np.outer(np.hanning(one.shape[0]), np.hanning(one.shape[1]))  # the frame stands still, what it shows moves
    spectra = [np.fft.rfft2((picture - picture.mean()) * window) for picture in (one, other)]
    cross = spectra[1] * np.conj(spectra[0])
    size = np.abs(cross)
    found = np.fft.irfft2(cross / np.maximum(size, 1e-12 * max(1.0, float(size.max()))), s=one.shape)
    row, column = np.unravel_index(int(np.argmax(found)), found.shape)
    y, x = _refined(found[:, column], int(row)), _refined(found[row], int(column))
    return Shift(x, y, float(np.clip(found[row, column], 0, 1)))


def _refined(values: NDArray[np.float64], peak: int) -> float:
    """The place of a peak of periodic values, with sign, by a parabola through three of them."""
    n = len(values)
    left, middle, right = values[peak - 1], values[peak], values[(peak + 1) % n]
    curve = left - 2 * middle + right
    place = peak + (0.5 * (left - right) / curve if curve < 0 else 0.0)
    return float(place - n if place > n / 2 else place)
