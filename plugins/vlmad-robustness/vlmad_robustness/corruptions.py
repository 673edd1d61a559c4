"""Corruptions of an image at five severities: what cameras, lenses, lamps and conveyors do.

An image is ``[H, W, 3]`` float32 in [0, 1]. A corruption is a pure function of the image, one number (its strength) and
a random generator. Strengths follow ImageNet-C (Hendrycks and Dietterich, ICLR 2019) in spirit: 1 is hardly visible, 5
is strong but a person still recognises the part. Lengths are shares of the shorter side, so that they mean the same at
any size.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

__all__ = ["CORRUPTIONS", "SEVERITIES", "Corruption", "Pixels", "hue", "rotation", "saturation"]

Pixels = NDArray[np.float32]
"""``[H, W, 3]`` in [0, 1]; masks of the same functions are ``[H, W, 1]``."""
SEVERITIES = (1, 2, 3, 4, 5)


def noise(image: Pixels, sigma: float, rng: np.random.Generator) -> Pixels:
    """Gaussian noise, independent in each pixel and channel, with this standard deviation."""
    return _clipped(image + rng.normal(0, sigma, image.shape))


def blur(image: Pixels, sigma: float, rng: np.random.Generator) -> Pixels:
    """Gaussian blur, as of a lens out of focus; sigma as a share of the shorter side."""
    pixels = sigma * min(image.shape[:2])
    return _clipped(ndimage.gaussian_filter(image, (pixels, pixels, 0)))


def jpeg(image: Pixels, quality: float, rng: np.random.Generator) -> Pixels:
    """JPEG compression at this quality of libjpeg, 1 to 100."""
    stream = io.BytesIO()
    _picture(image).save(stream, "JPEG", quality=round(quality))
    return _clipped(np.asarray(Image.open(stream).convert("RGB")) / 255)


def exposure(image: Pixels, stops: float, rng: np.random.Generator) -> Pixels:
    """Exposure changed by this number of stops, in linear light (gamma 2.2); too bright is cut."""
    return _clipped((image**2.2 * 2.0**stops) ** (1 / 2.2))


def contrast(image: Pixels, factor: float, rng: np.random.Generator) -> Pixels:
    """Distance to the mean colour times this factor."""
    mean = image.mean((0, 1), keepdims=True)
    return _clipped(mean + (image - mean) * factor)


def hue(image: Pixels, degrees: float, rng: np.random.Generator) -> Pixels:
    """Hue turned by this angle: a rotation about the grey axis of RGB, which keeps the mean of the channels."""
    angle = np.deg2rad(degrees)
    c, s = np.cos(angle), np.sin(angle)
    a, b, d = c + (1 - c) / 3, (1 - c) / 3 - s / np.sqrt(3), (1 - c) / 3 + s / np.sqrt(3)
    return _clipped(image @ np.array([[a, b, d], [d, a, b], [b, d, a]]).T)


def saturation(image: Pixels, factor: float, rng: np.random.Generator) -> Pixels:
    """Distance of the channels to their mean times this factor; 0 is grey."""
    grey = image.mean(2, keepdims=True)
    return _clipped(grey + (image - grey) * factor)


def gradient_light(image: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """Light that falls off across the image, from ``1 + strength`` to ``1 - strength``, in a random direction."""
    rows, columns = _grid(image)
    angle = rng.uniform(0, 2 * np.pi)
    ramp = np.cos(angle) * columns + np.sin(angle) * rows
    ramp = ramp / max(float(np.abs(ramp).max()), 1e-6)
    return _clipped(image * (1 + strength * ramp)[..., None])


def rotation(image: Pixels, degrees: float, rng: np.random.Generator) -> Pixels:
    """The whole image turned about its centre; what comes in from outside is mirrored at the border."""
    turned = ndimage.rotate(image, degrees, axes=(1, 0), reshape=False, order=1, mode="reflect")
    return _clipped(turned)


def shift(image: Pixels, share: float, rng: np.random.Generator) -> Pixels:
    """The whole image moved by this share of the shorter side, in a random direction; mirrored at the border."""
    angle, length = rng.uniform(0, 2 * np.pi), share * min(image.shape[:2])
    return _clipped(ndimage.shift(image, (length * np.sin(angle), length * np.cos(angle), 0), order=1, mode="reflect"))


def dust(image: Pixels, share: float, rng: np.random.Generator) -> Pixels:
    """Soft dark spots on the lens, at most this share of the image; the same spots in every image."""
    fixed = np.random.default_rng(7)  # dust stays on the lens while parts go by
    height, width = image.shape[:2]
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    shade = np.zeros((height, width), np.float32)
    covered = 0.0
    while covered < share:
        radius = fixed.uniform(0.01, 0.035) * min(height, width)
        row, column, depth = fixed.uniform(0, height), fixed.uniform(0, width), fixed.uniform(0.25, 0.7)
        distance = np.hypot(rows - row, columns - column) / radius
        shade = np.maximum(shade, depth * np.clip(1.5 - distance, 0, 1))
        covered += np.pi * radius**2 / (height * width)
    return _clipped(image * (1 - shade)[..., None])


@dataclass(frozen=True)
class Corruption:
    """A corruption with its five strengths.

    Args:
        name: Of the condition in the report.
        apply: ``(image, strength, rng) -> image``.
        strengths: For severities 1 to 5.
        unit: What the strength is, in words.
        group: ``corruption`` or ``lighting``.
        two_sided: The sign of the strength is drawn for each image.
        moves: Also applied to the masks of defects, since it moves them.
    """

    name: str
    apply: Callable[[Pixels, float, np.random.Generator], Pixels]
    strengths: tuple[float, float, float, float, float]
    unit: str
    group: str = "corruption"
    two_sided: bool = False
    moves: bool = False

    def __call__(self, image: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
        """The image at a severity of 1 to 5; the same generator state gives the same image."""
        sign = rng.choice((-1.0, 1.0)) if self.two_sided else 1.0
        return self.apply(image, sign * self.strengths[severity - 1], rng)


CORRUPTIONS = (
    Corruption("noise", noise, (0.02, 0.04, 0.06, 0.09, 0.13), "standard deviation, white is 1"),
    Corruption("blur", blur, (0.003, 0.006, 0.01, 0.015, 0.022), "sigma, shares of the shorter side"),
    Corruption("jpeg", jpeg, (60, 40, 25, 15, 8), "quality"),
    Corruption("exposure", exposure, (0.25, 0.5, 0.8, 1.2, 1.7), "stops, up or down", two_sided=True),
    Corruption("contrast", contrast, (0.85, 0.7, 0.55, 0.4, 0.25), "factor"),
    Corruption("hue", hue, (6, 12, 20, 35, 60), "degrees, either way", two_sided=True),
    Corruption("saturation", saturation, (0.8, 0.6, 0.4, 0.2, 0.0), "factor"),
    Corruption("gradient light", gradient_light, (0.1, 0.2, 0.3, 0.45, 0.6), "change at the border"),
    Corruption("rotation", rotation, (2, 5, 10, 20, 45), "degrees, either way", two_sided=True, moves=True),
    Corruption("shift", shift, (0.02, 0.04, 0.07, 0.11, 0.16), "shares of the shorter side", moves=True),
    Corruption("dust", dust, (0.005, 0.01, 0.02, 0.035, 0.06), "share of the image"),
)


def _clipped(image: NDArray[np.floating]) -> Pixels:
    clipped: Pixels = np.clip(image, 0, 1).astype(np.float32)
    return clipped


def _picture(image: Pixels) -> Image.Image:
    return Image.fromarray((image * 255).round().astype(np.uint8))


def _grid(image: Pixels) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Rows and columns of the pixels, each from -1 to 1."""
    height, width = image.shape[:2]
    rows = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    columns = np.linspace(-1, 1, width, dtype=np.float32)[None]
    return np.broadcast_to(rows, (height, width)), np.broadcast_to(columns, (height, width))
