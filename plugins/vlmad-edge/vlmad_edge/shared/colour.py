# Copied from vlmad_core/run/colour.py by plugins/vlmad-edge/build/shared.py; edit that file.
"""A colour ramp for heat: lightness rises in even steps, so it reads without colour vision and in grey print."""

from __future__ import annotations

import numpy as np

__all__ = ["colours"]

# Derived for vlmad in OKLCh: lightness 0.16 to 0.96 in equal steps, hue 275 to 105 degrees by way of red, chroma just
# inside sRGB.
_RAMP = np.array(
    [
        (7, 1, 54),
        (33, 2, 80),
        (63, 3, 99),
        (98, 6, 110),
        (135, 8, 112),
        (173, 13, 105),
        (212, 18, 87),
        (250, 24, 43),
        (252, 103, 31),
        (253, 146, 51),
        (253, 183, 81),
        (254, 216, 114),
        (255, 247, 140),
    ],
    dtype=np.float32,
)
_STEPS = np.diff(_RAMP, axis=0)


def colours(heat: np.ndarray) -> np.ndarray:
    """Values in [0, 1], any shape, to float32 RGB in [0, 255] along a new last axis."""
    place = np.clip(heat, 0, 1).astype(np.float32) * np.float32(len(_STEPS))
    low = np.minimum(place.astype(np.intp), len(_STEPS) - 1)
    mixed: np.ndarray = np.take(_STEPS, low, axis=0)  # several times faster than an index
    mixed *= (place - low).astype(np.float32)[..., None]
    mixed += np.take(_RAMP, low, axis=0)
    return mixed
