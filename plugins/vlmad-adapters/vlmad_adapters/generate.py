"""Generated defects: parts of a normal image moved or blended into it, each with its mask.

Two kinds, so that one can be learned from and the other held out: :func:`cut_paste` (Li et al., CutPaste, CVPR 2021)
and :func:`noise_blend` (after DRAEM, Zavrtanik et al., ICCV 2021, with smooth noise in place of Perlin's and the image
itself as the foreign texture). They are no real defects; what is good at finding them may find nothing else.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["KINDS", "cut_paste", "noise_blend"]

_AREA = (0.01, 0.1)
"""Share of the image that a pasted patch has; CutPaste has 0.02 to 0.15."""
_ASPECT = (0.3, 3.3)

Generated = tuple[Image.Image, NDArray[np.bool_]]


def cut_paste(image: Image.Image, seed: int) -> Generated:
    """A rectangle of the image with other brightness and contrast, pasted at another place.

    Args:
        image: RGB.
        seed: Decides size, places and light.

    Returns:
        The image, and ``[height, width]`` bool, where it was changed.
    """
    rng, pixels = np.random.default_rng((0, seed)), np.asarray(image.convert("RGB"))
    height, width = pixels.shape[:2]
    area, aspect = rng.uniform(*_AREA) * height * width, np.exp(rng.uniform(*np.log(_ASPECT)))
    h = int(np.clip(round((area * aspect) ** 0.5), 2, height - 1))
    w = int(np.clip(round((area / aspect) ** 0.5), 2, width - 1))
    (top, to_top), (left, to_left) = rng.integers(0, height - h + 1, 2), rng.integers(0, width - w + 1, 2)
    patch = _relit(pixels[top : top + h, left : left + w], rng)
    changed, mask = pixels.copy(), np.zeros((height, width), bool)
    changed[to_top : to_top + h, to_left : to_left + w] = patch
    mask[to_top : to_top + h, to_left : to_left + w] = True
    return Image.fromarray(changed), mask


def noise_blend(image: Image.Image, seed: int) -> Generated:
    """The image blended with a turned copy of itself in other light, where smooth noise is high.

    Args:
        image: RGB.
        seed: Decides shape, place and light.

    Returns:
        The image, and ``[height, width]`` bool, where it was changed.
    """
    rng, pixels = np.random.default_rng((1, seed)), np.asarray(image.convert("RGB"))
    height, width = pixels.shape[:2]
    coarse = rng.standard_normal((int(rng.integers(3, 9)),) * 2).astype(np.float32)
    noise = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    mask = noise > np.quantile(noise, 1 - rng.uniform(*_AREA))
    other = _relit(np.asarray(image.convert("RGB").rotate(180)), rng)
    share = rng.uniform(0.5, 1.0)
    blended = pixels + share * mask[..., None] * (other.astype(np.float32) - pixels)
    return Image.fromarray(blended.round().clip(0, 255).astype(np.uint8)), mask


KINDS: dict[str, Callable[[Image.Image, int], Generated]] = {"cut-paste": cut_paste, "noise-blend": noise_blend}
"""The generators by name."""


def _relit(pixels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Other contrast about its mean, and other brightness: at least a visible step either way."""
    mean, shift = pixels.mean((0, 1)), rng.choice([-1, 1]) * rng.uniform(20, 60)
    changed = (pixels - mean) * rng.uniform(0.6, 1.4) + mean + shift
    return np.asarray(changed.round().clip(0, 255), np.uint8)
