"""Random fields at the price of an image resize: a cached bank of spectral noise, cut out, turned and stretched.

A transform of a full frame per field would cost more than the rest of a picture, so every process computes a few
periodic tiles once, from a fixed seed, and each picture looks at them through its own affine window.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

Array = npt.NDArray[np.float32]
Rng = np.random.Generator

TILE = 384
FRAME = 224  # the size at which a zoom of one shows the bank pixel for pixel
SLOPES = (0.0, 0.6, 1.0, 1.5, 2.0, 2.6)


@lru_cache(maxsize=1)
def bank() -> dict[float, list[Image.Image]]:
    """Four periodic tiles for each spectral slope, each laid out twice in both directions."""
    rng = np.random.default_rng(20260101)
    frequency = np.hypot(np.fft.fftfreq(TILE)[:, None], np.fft.rfftfreq(TILE)[None, :])
    frequency[0, 0] = 1.0
    tiles: dict[float, list[Image.Image]] = {}
    for slope in SLOPES:
        tiles[slope] = []
        for _ in range(4):
            spectrum = np.fft.rfft2(rng.standard_normal((TILE, TILE))) / frequency**slope
            spectrum[0, 0] = 0
            tile = np.fft.irfft2(spectrum, s=(TILE, TILE))
            tile = (tile / tile.std()).astype(np.float32)
            tiles[slope].append(Image.fromarray(np.tile(tile, (2, 2))))
    return tiles


def field(
    rng: Rng, size: int, *, zoom: float = 1.0, slope: float = 1.5, stretch: float = 1.0, angle: float | None = None
) -> Array:
    """A random field with mean 0 and deviation 1, [S, S].

    Args:
        rng: where the window on the bank is drawn from.
        size: S.
        zoom: above one: coarser. 0.5 to 20 or so.
        slope: steepness of the spectrum: 0 is white, 1 rough, 2 cloudy.
        stretch: above one: features are longer along `angle`.
        angle: radians; drawn at random when not given.
    """
    tile = bank()[min(SLOPES, key=lambda have: abs(have - slope))][int(rng.integers(4))]
    turn = rng.uniform(0, 2 * np.pi) if angle is None else angle
    step = FRAME / size / max(zoom, 0.5)
    along, across = step / stretch, step
    cosine, sine = np.cos(turn), np.sin(turn)
    a, b, d, e = cosine * along, sine * along, -sine * across, cosine * across
    corners = np.array([[0, 0], [size, 0], [0, size], [size, size]]) @ np.array([[a, d], [b, e]])
    low, high = corners.min(0), corners.max(0)
    room = np.maximum(2 * TILE - 2 - (high - low), 1)
    shift = rng.random(2) * room - low + 1
    way = Image.Resampling.BICUBIC if zoom > 2.5 else Image.Resampling.BILINEAR
    window = tile.transform((size, size), Image.Transform.AFFINE, (a, b, shift[0], d, e, shift[1]), resample=way)
    out = np.array(window, dtype=np.float32)
    return (out - out.mean()) / (out.std() + np.float32(1e-6))


@lru_cache(maxsize=4)
def grid(size: int) -> tuple[Array, Array]:
    """Pixel centres x, y in [0, 1], each [S, S]; shared, so never written to."""
    line = (np.arange(size, dtype=np.float32) + 0.5) / size
    x, y = np.meshgrid(line, line)
    x.flags.writeable = y.flags.writeable = False
    return x, y


def turned(size: int, angle: float) -> tuple[Array, Array]:
    """Coordinates of `grid` about the centre, turned by `angle`."""
    x, y = grid(size)
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return (x - 0.5) * c + (y - 0.5) * s, (y - 0.5) * c - (x - 0.5) * s


def cells(rng: Rng, size: int, count: float, *, warp: float = 0.0, stretch: float = 1.0) -> tuple[Array, Array, Array]:
    """Voronoi cells of a jittered lattice: distance to the nearest point, gap to the second, a value per cell.

    Distances are in units of a cell; all [S, S]. `count` is the number of cells along a side.
    """
    x, y = turned(size, rng.uniform(0, np.pi))
    x, y = x * np.float32(count), y * np.float32(count * stretch)
    if warp:
        x = x + np.float32(warp) * field(rng, size, zoom=2.0, slope=1.5)
        y = y + np.float32(warp) * field(rng, size, zoom=2.0, slope=1.5)
    x, y = x - x.min() + 1, y - y.min() + 1
    column, row = x.astype(np.int32), y.astype(np.int32)
    wide, high = int(column.max()) + 3, int(row.max()) + 3
    px = (rng.random((high, wide)) + np.arange(wide)).astype(np.float32).ravel()
    py = (rng.random((high, wide)) + np.arange(high)[:, None]).astype(np.float32).ravel()
    values = rng.random(high * wide).astype(np.float32)
    index = row * wide + column
    first = np.full(x.shape, 99, np.float32)
    second = first.copy()
    owner = index
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            near = index + (dy * wide + dx)
            away = (x - px.take(near)) ** 2 + (y - py.take(near)) ** 2
            closer = away < first
            second = np.minimum(second, np.maximum(away, first))
            first = np.minimum(first, away)
            owner = np.where(closer, near, owner)
    first, second = np.sqrt(first), np.sqrt(second)
    return first, second - first, values.take(owner)


def smooth(image: Array, sigma: float) -> Array:
    """Gaussian-like blur over the first two axes, made of box filters, so that its price hardly grows with `sigma`."""
    if sigma < 0.3:
        return image
    axes = (0, 1)
    if sigma < 1.2:
        return ndimage.gaussian_filter(image, sigma, axes=axes, truncate=2.5, mode="nearest")
    width = max(2, round(sigma * 1.73 * 1.4))
    once = ndimage.uniform_filter(image, width, axes=axes, mode="nearest")
    return ndimage.uniform_filter(once, width | 1, axes=axes, mode="nearest")


def relief(height: Array, angle: float) -> Array:
    """How much a surface of this height faces a low light from `angle`, [S, S]; 0 where it is flat."""
    out = np.zeros_like(height)
    out[:, 1:-1] += np.float32(np.cos(angle) / 2) * (height[:, :-2] - height[:, 2:])
    out[1:-1] += np.float32(np.sin(angle) / 2) * (height[:-2] - height[2:])
    return out


def step(value: Array, low: float, high: float) -> Array:
    """Rises smoothly from 0 at `low` to 1 at `high`."""
    t = np.clip((value - np.float32(low)) / np.float32(high - low), 0, 1)
    return t * t * (3 - 2 * t)


def paint(tone: Array, colour: Array) -> Array:
    """A tone [S, S] times a colour [3]: [S, S, 3]."""
    return tone[..., None] * colour


def colour(rng: Rng, hue: tuple[float, float], saturation: tuple[float, float], value: tuple[float, float]) -> Array:
    """A random colour [3] in 0..1 from ranges of hue (in turns), saturation and value."""
    h, s, v = rng.uniform(*hue), rng.uniform(*saturation), rng.uniform(*value)
    wheel = np.abs((h + np.array([0, 2 / 3, 1 / 3])) % 1 * 6 - 3) - 1
    return (v * (1 - s + s * np.clip(wheel, 0, 1))).astype(np.float32)


def between(rng: Rng, low: float, high: float) -> float:
    """A number between two positive ones, uniform in its logarithm: small ones are as frequent as large ones."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def blend(under: Array, over: Array, weight: Array) -> Array:
    """`over` where `weight` [S, S] is one, `under` where it is zero; [S, S, 3]."""
    return under + weight[..., None] * (over - under)


def pick(rng: Rng, *options: float) -> float:
    """One of some numbers, as a Python float: a NumPy one would turn every array that it meets into float64."""
    return float(options[int(rng.integers(len(options)))])
