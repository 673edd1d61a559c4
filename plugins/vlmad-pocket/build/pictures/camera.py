# ruff: noqa: D102, D103 (one signature, told above; each name says what it draws)
"""From a scene's colours to a photograph: view, light, lens, sensor and file, drawn once and used for two pictures.

`develop` is what both the picture with and the picture without the defect go through; `finish` adds what a sensor and
a file add, once. Looks such as x-ray, thermal and electroluminescence are curves here, not other scenes.
"""

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from pictures.noise import Array, Rng, between, field, grid, pick, smooth, step

Bytes = npt.NDArray[np.uint8]
LOOKS = ("colour", "grey", "inverted", "luminescence", "x-ray", "thermal", "backlit")
EXPOSED = 0.4  # what the brightest parts of a picture reach at least
SHARES = (0.50, 0.34, 0.03, 0.05, 0.03, 0.02, 0.03)


@dataclass
class Camera:
    """One way of taking a picture of size S."""

    look: str
    view: tuple[float, ...] | None
    lighting: Array
    gain: float
    lift: float
    gamma: float
    tint: Array
    blur: float
    noise: float
    shot: float
    lines: float
    coarse: float
    quality: int

    @classmethod
    def draw(cls, rng: Rng, size: int, *, grey: bool = False) -> "Camera":
        x, y = grid(size)
        lighting = np.ones((size, size), np.float32)
        if rng.random() < 0.6:  # a gradient
            angle, depth = rng.uniform(0, 6.3), rng.uniform(0, 0.45)
            lighting = lighting + depth * (
                (x - 0.5) * np.float32(np.cos(angle)) + (y - 0.5) * np.float32(np.sin(angle))
            )
        if rng.random() < 0.35:  # a vignette, or a lamp
            cx, cy = rng.normal(0.5, 0.12, 2)
            away = (x - np.float32(cx)) ** 2 + (y - np.float32(cy)) ** 2
            lighting = lighting * (1 - np.float32(rng.uniform(0.1, 0.9)) * away)
        if rng.random() < 0.12:  # a shadow with a soft border
            angle = rng.uniform(0, 6.3)
            edge = (x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle) - rng.uniform(-0.4, 0.4)
            lighting = lighting * (1 - rng.uniform(0.1, 0.5) * step(edge, 0, between(rng, 0.01, 0.4)))
        if rng.random() < 0.12:
            lighting = lighting * (1 + rng.uniform(0.02, 0.1) * field(rng, size, zoom=14, slope=2.6))
        if rng.random() < 0.06:  # the border of the field of view, dark: strips, or the circle of a lens
            along = x if rng.random() < 0.5 else y
            rim = np.minimum(along, 1 - along + pick(rng, 0, 1))
            rim = np.float32(0.68) - np.hypot(x - 0.5, y - 0.5) if rng.random() < 0.4 else rim
            low = rng.uniform(0.01, 0.12)
            lighting = lighting * (1 - rng.uniform(0.6, 1) * step(-rim, -low - between(rng, 0.005, 0.05), -low))
        view = None
        if rng.random() < (0.15 if grey else 0.45):
            view = perspective(rng, size)
        noisy = rng.random() < 0.6
        return cls(
            look="grey" if grey else str(rng.choice(LOOKS, p=SHARES)), view=view, lighting=lighting.astype(np.float32),
            gain=float(np.exp(rng.normal(0, 0.18))), lift=pick(rng, 0, rng.uniform(-0.05, 0.12)),
            gamma=float(np.exp(rng.normal(0, 0.2))), tint=np.exp(rng.normal(0, 0.05, 3)).astype(np.float32),
            blur=pick(rng, 0, between(rng, 0.3, 1.6)), noise=between(rng, 0.003, 0.04) * noisy,
            shot=pick(rng, 0, 0, rng.uniform(0.005, 0.03)), lines=pick(rng, 0, 0, 0, 0, 0, rng.uniform(0.004, 0.02)),
            coarse=pick(rng, 1, 1, 1, rng.uniform(0.45, 0.9)), quality=int(pick(rng, 0, 0, rng.integers(35, 96))),
        )  # fmt: skip

    def expose(self, colours: Array) -> None:
        """Light what would be all but black, as whoever set the camera up would have done."""
        bright = float(np.percentile(colours[::4, ::4].max(-1) * self.lighting[::4, ::4], 97)) * self.gain
        if bright < EXPOSED:
            self.gain *= EXPOSED / max(bright, 0.02)

    def develop(self, colours: Array) -> Array:
        """What reaches the sensor, [S, S, 3] in 0..1."""
        size = len(colours)
        image = colours * (self.lighting * np.float32(self.gain))[..., None]
        image = image * self.tint if self.look == "colour" else image @ np.array([[0.3], [0.59], [0.11]], np.float32)
        if self.blur:
            image = smooth(image, self.blur * size / 224)
        image = np.clip(image, 0, 1.25)
        image = image / (1 + np.maximum(image - 0.8, 0) * np.float32(0.6))  # highlights roll off
        if self.gamma != 1:
            image = np.maximum(image, np.float32(1e-4)) ** np.float32(self.gamma)
        image = image * (1 - np.float32(self.lift)) + np.float32(self.lift)
        image = self.looked(np.clip(image, 0, 1))
        if image.shape[-1] == 1:
            image = np.repeat(image, 3, -1)
        if self.view is not None:
            image = turned_view(image, self.view)
        return image

    def looked(self, image: Array) -> Array:
        if self.look == "inverted":
            return 1 - image
        if self.look == "luminescence":
            return np.clip(image * image * 1.3 + 0.02, 0, 1)
        if self.look == "x-ray":
            return 0.9 - 0.75 * step(image, 0.0, 1.0)
        if self.look == "thermal":
            warm = np.clip(np.concatenate([image * 3, image * 3 - 1, image * 3 - 2], -1), 0, 1)
            return np.clip(warm * 0.8 + np.array([0.05, 0.02, 0.25], np.float32) * (1 - image), 0, 1)
        if self.look == "backlit":
            return step(image, 0.1, 0.55) * 0.9 + 0.05
        return image

    def finish(self, rng: Rng, image: Array) -> Bytes:
        """Noise, resolution and file: uint8 [S, S, 3]."""
        size = len(image)
        if self.noise or self.shot:
            grain = field(rng, size, slope=0.0, angle=0.0)[..., None]
            if self.look == "colour" and rng.random() < 0.6:
                grain = np.stack([grain[..., 0], np.roll(grain[..., 0], 37, 0), np.roll(grain[..., 0], 71, 1)], -1)
            image = image + grain * (np.float32(self.noise) + np.float32(self.shot) * np.sqrt(np.clip(image, 0, 1)))
        if self.lines:
            image = image + rng.normal(0, self.lines, (size, 1, 1)).astype(np.float32)
        out = (np.clip(image, 0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8)
        if self.coarse < 1:
            small = Image.fromarray(out).resize((int(size * self.coarse),) * 2, Image.Resampling.BILINEAR)
            out = np.array(small.resize((size, size), Image.Resampling.BICUBIC))
        if self.quality:
            file = io.BytesIO()
            Image.fromarray(out).save(file, "jpeg", quality=self.quality)
            out = np.array(Image.open(file).convert("RGB"))
        return out

    def threshold(self) -> float:
        """The smallest change that one can see in this camera's noise, where it is more than a few pixels."""
        return 0.03 + 0.6 * (self.noise + 0.7 * self.shot + 0.5 * self.lines)


def perspective(rng: Rng, size: int) -> tuple[float, ...]:
    """Coefficients for a slight turn, zoom and tilt that never looks beyond the frame by more than a little."""
    angle = np.radians(pick(rng, rng.normal(0, 3), rng.normal(0, 12)))
    zoom = 1 / (abs(np.cos(angle)) + abs(np.sin(angle))) * rng.uniform(0.8, 0.94)
    c, s, middle = np.cos(angle) * zoom, np.sin(angle) * zoom, size / 2
    g, h = rng.normal(0, 0.06, 2) / size
    a, b, d, e = c + g * middle, s + h * middle, -s + g * middle, c + h * middle
    offset = 1 + (g + h) * middle
    return (a, b, middle * offset - (a + b) * middle, d, e, middle * offset - (d + e) * middle, g, h)


def turned_view(image: Array, view: tuple[float, ...]) -> Array:
    size = len(image)
    bytes_ = (np.clip(image, 0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8)
    taken = Image.fromarray(bytes_).transform(
        (size, size), Image.Transform.PERSPECTIVE, view, resample=Image.Resampling.BILINEAR
    )
    return np.asarray(taken, np.float32) * np.float32(1 / 255)
