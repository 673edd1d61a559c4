"""Shifts of the light, after the test sets of MVTec AD 2 (arXiv 2503.21622), whose cameras, lamps and parts stay.

That data set was photographed anew under each light: too dark, too bright, and with another lamp. These are simulations
in linear light of the same three, and of a shadow; they have no new highlights, so a real lamp can be harder.
"""

from __future__ import annotations

import numpy as np

from vlmad_robustness.corruptions import Corruption, Pixels

__all__ = ["LIGHTING"]

_GAMMA = 2.2


def underexposed(image: Pixels, share: float, rng: np.random.Generator) -> Pixels:
    """This share of the light is missing, and the sensor's noise stays."""
    noise = rng.normal(0, 0.004, image.shape)
    return _display(image**_GAMMA * (1 - share) + noise)


def overexposed(image: Pixels, share: float, rng: np.random.Generator) -> Pixels:
    """This share more light; the sensor saturates."""
    return _display(image**_GAMMA * (1 + share))


def second_lamp(image: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """A warm spot at a random place beside the centre adds up to this share of light there."""
    centre, width = rng.uniform(-0.9, 0.9, 2), rng.uniform(0.5, 0.9)
    spot = _bump(image, centre, width)[..., None] * np.array([1.0, 0.92, 0.8])
    return _display(image**_GAMMA * (1 + strength * spot))


def shadow(image: Pixels, depth: float, rng: np.random.Generator) -> Pixels:
    """A soft straight edge at a random place and angle, behind which this share of the light is missing."""
    height, width = image.shape[:2]
    rows, columns = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None]
    angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-0.4, 0.4)
    side = 1 / (1 + np.exp(-(np.cos(angle) * columns + np.sin(angle) * rows - offset) / 0.06))
    return _display(image**_GAMMA * (1 - depth * side)[..., None])


def _bump(image: Pixels, centre: np.ndarray, width: float) -> np.ndarray:
    height, columns = image.shape[:2]
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, columns)[None]
    bump: np.ndarray = np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / (2 * width**2))
    return bump


def _display(linear: np.ndarray) -> Pixels:
    values: Pixels = (np.clip(linear, 0, 1) ** (1 / _GAMMA)).astype(np.float32)
    return values


LIGHTING = (
    Corruption(
        "underexposed", underexposed, (0.2, 0.4, 0.55, 0.7, 0.82), "share of the light that is missing", "lighting"
    ),
    Corruption("overexposed", overexposed, (0.2, 0.5, 0.9, 1.5, 2.5), "share of light that is added", "lighting"),
    Corruption("second lamp", second_lamp, (0.2, 0.4, 0.7, 1.1, 1.7), "share of light added in its spot", "lighting"),
    Corruption("shadow", shadow, (0.15, 0.3, 0.45, 0.6, 0.75), "share of the light missing in it", "lighting"),
)
