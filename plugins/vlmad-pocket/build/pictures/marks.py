# ruff: noqa: E501 (tables of words are read by row)
"""Where a defect of the surface lies: thin lines, branching cracks and noise-shaped spots as soft masks [S, S]."""

import numpy as np
from PIL import Image, ImageDraw

from pictures.noise import Array, Rng, between, field, grid, pick, smooth, step

Point = tuple[float, float]


def spot_in(rng: Rng, where: Array) -> Point:
    """A point (x, y) of the frame where `where` [S, S] is set; the centre when it is nowhere."""
    size = where.shape[0]
    for _ in range(40):
        x, y = rng.random(2) * 0.96 + 0.02
        if where[int(y * size), int(x * size)] > 0.6:
            return float(x), float(y)
    found = np.flatnonzero(where > 0.6)
    if found.size == 0:
        return 0.5, 0.5
    at = int(found[int(rng.integers(found.size))])
    return (at % size + 0.5) / size, (at // size + 0.5) / size


def edge_in(rng: Rng, where: Array) -> Point:
    """A point on the border of the thing, if it has one in the frame."""
    size = where.shape[0]
    inner = where > 0.5
    border = inner.copy()
    border[1:-1, 1:-1] &= ~(inner[:-2, 1:-1] & inner[2:, 1:-1] & inner[1:-1, :-2] & inner[1:-1, 2:])
    found = np.flatnonzero(border)
    if found.size == 0:
        return spot_in(rng, where)
    at = int(found[int(rng.integers(found.size))])
    return (at % size + 0.5) / size, (at // size + 0.5) / size


def walk(rng: Rng, start: Point, length: float, curl: float, *, heading: float | None = None, jitter: float = 0.0) -> list[Point]:  # fmt: skip
    """A path of about 24 points of this length; `curl` is how much it turns in all, `jitter` how jagged it is."""
    count = 24
    turn = rng.uniform(0, 6.3) if heading is None else heading
    bends = np.cumsum(rng.normal(0, 1, count) * curl / count**0.5) * 0.5 + np.linspace(
        0, rng.normal(0, 1) * curl, count
    )
    angles = turn + bends + rng.normal(0, jitter, count)
    steps = np.stack([np.cos(angles), np.sin(angles)], 1) * (length / count)
    path = np.cumsum(steps, 0)
    path += np.array(start) - path[count // 2 if heading is None else 0]
    return [(float(px), float(py)) for px, py in path]


def strokes(size: int, paths: list[list[Point]], widths: list[float], soft: float = 0.0) -> Array:
    """Paths drawn as lines; widths in units of the frame, thin ones fade at both ends."""
    finer = 3
    image = Image.new("L", (size * finer, size * finer))
    draw = ImageDraw.Draw(image)
    weakest = 1.0
    for path, width in zip(paths, widths, strict=True):
        thick = width * size * finer
        weakest = min(weakest, thick)
        points = [(px * size * finer, py * size * finer) for px, py in path]
        draw.line(points, fill=255, width=max(1, round(thick)), joint="curve")
    mask = np.asarray(image.reduce(finer), np.float32) * np.float32(1 / 255)
    mask = np.minimum(mask * np.float32(1.6), 1)
    return smooth(mask, soft) if soft else mask


def spot(rng: Rng, size: int, at: Point, radius: float, *, rough: float = 0.4, edge: float = 0.2, flat: float = 1.0) -> Array:  # fmt: skip
    """A spot shaped by noise: `rough` is how ragged it is, `edge` how soft (both in radii), `flat` its narrowness."""
    x, y = grid(size)
    turn = rng.uniform(0, 6.3)
    dx, dy = x - np.float32(at[0]), y - np.float32(at[1])
    u = dx * np.float32(np.cos(turn)) + dy * np.float32(np.sin(turn))
    v = dy * np.float32(np.cos(turn)) - dx * np.float32(np.sin(turn))
    away = np.hypot(u * np.float32(flat**0.5), v / np.float32(flat**0.5)) / np.float32(radius)
    noise = field(rng, size, zoom=np.clip(radius * 14, 0.8, 6), slope=2.0)
    return step(1 + np.float32(rough) * noise * np.float32(0.5) - away, -edge / 2, edge / 2)


def cracks(rng: Rng, size: int, at: Point, length: float, width: float) -> Array:
    """A jagged line with branches that grow thinner."""
    heading = rng.uniform(0, 6.3)
    trunk = walk(rng, at, length, 0.5, jitter=0.5, heading=heading)
    paths, widths = [trunk], [width]
    for _ in range(int(rng.integers(0, 5))):
        root = trunk[int(rng.integers(3, 20))]
        lean = heading + pick(rng, -1, 1) * rng.uniform(0.4, 1.3)
        paths.append(walk(rng, root, length * rng.uniform(0.15, 0.6), 0.5, jitter=0.5, heading=lean))
        widths.append(width * rng.uniform(0.4, 0.8))
    return strokes(size, paths, widths)


def scatter(rng: Rng, size: int, at: Point, spread: float, count: int, radius: float) -> Array:
    """Many small dots about a point."""
    finer = 3
    image = Image.new("L", (size * finer, size * finer))
    draw = ImageDraw.Draw(image)
    for _ in range(count):
        px, py = np.array(at) + rng.normal(0, spread, 2)
        r = between(rng, 0.5, 1.6) * radius
        stretch = rng.uniform(0.7, 1.4)
        box = (px - r * stretch, py - r / stretch, px + r * stretch, py + r / stretch)
        draw.ellipse(tuple(value * size * finer for value in box), fill=255)
    return np.asarray(image.reduce(finer), np.float32) * np.float32(1 / 255)


def tone(image: Array, mask: Array, factor: float) -> Array:
    """Multiply by `factor` where the mask is one."""
    return image * (1 + mask * np.float32(factor - 1))[..., None]


def dark_or_bright(rng: Rng, image: Array, mask: Array, power: float, bright: float = 0.4) -> Array:
    """Darken or brighten; bright adds light, so that it shows on dark materials too."""
    if rng.random() < bright or image.mean() < 0.12:
        return image + (mask * np.float32(0.06 + 0.45 * power))[..., None] * (1 - image * 0.5)
    return tone(image, mask, 1 - (0.1 + 0.75 * power))
