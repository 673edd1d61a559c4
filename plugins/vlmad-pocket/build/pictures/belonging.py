"""What looks like a defect and is none, because it belongs: many alike, in rows, in parallel, in pairs, as light does.

One dark spot is a fault; a hundred of a kind all over are a material. One line may be a scratch; six in parallel are
made so. Each function is given the colours of a surface [S, S, 3] and gives them back with more in them.
"""

import numpy as np

from pictures.marks import scatter, strokes, tone
from pictures.noise import Array, Rng, between, blend, colour, field, grid, pick, relief, smooth, step, turned

SHARE = 0.3


def belonging(rng: Rng, front: Array) -> Array:
    """A surface, at times with something of its own that a naive eye takes for damage."""
    if rng.random() > SHARE:
        return front
    way = (flecks, flecks, streaks, lines, fasteners, glare, contrast, contrast, mottle)[int(rng.integers(9))]
    return way(rng, front).astype(np.float32)


def flecks(rng: Rng, front: Array) -> Array:
    """Many spots of one sort, evenly spread."""
    size = len(front)
    count, radius = int(between(rng, 30, 250)), between(rng, 0.002, 0.012)
    dots = scatter(rng, size, (0.5, 0.5), 0.4, count, radius)
    body = front.mean((0, 1)) * np.float32(pick(rng, rng.uniform(0.3, 0.8), rng.uniform(1.2, 1.8)))
    return blend(front, np.zeros_like(front) + body, dots * np.float32(rng.uniform(0.3, 1)))


def streaks(rng: Rng, front: Array) -> Array:
    """Marks of rolling or polishing, all one way."""
    size, angle = len(front), rng.uniform(0, 3.14)
    line = field(rng, size, zoom=between(rng, 0.6, 1.5), slope=0.6, stretch=between(rng, 10, 60), angle=angle)
    return front * (1 + pick(rng, -1, 1) * rng.uniform(0.05, 0.35) * step(line, 0.5, 2.5))[..., None]


def lines(rng: Rng, front: Array) -> Array:
    """Straight grooves or ridges in parallel, evenly apart."""
    size = len(front)
    x, _y = turned(size, pick(rng, 0, np.pi / 2, rng.uniform(0, 3.14)))
    pitch, half = between(rng, 0.08, 0.5), between(rng, 0.002, 0.012)
    away = np.abs((x / np.float32(pitch) + np.float32(rng.random())) % 1 - 0.5) * np.float32(pitch)
    return tone(front, step(-away, -half - 1 / size, -half), pick(rng, 0.4, 0.7, 1.3))


def fasteners(rng: Rng, front: Array) -> Array:
    """Screws or holes where the drawing wants them: in the corners, or in a row."""
    size, radius = len(front), between(rng, 0.012, 0.06)
    x, y = grid(size)
    a, b = rng.uniform(0.08, 0.35, 2)
    corners = [(a, b), (1 - a, b), (a, 1 - b), (1 - a, 1 - b)]
    rows = [(k, b) for k in np.arange(a / 2, 1, rng.uniform(0.15, 0.4))]
    out, hole, steel = front, rng.random() < 0.5, rng.uniform(0.3, 0.9)
    light = rng.uniform(0, 6.3)
    for cx, cy in corners if rng.random() < 0.6 else rows:
        dx, dy = x - np.float32(cx), y - np.float32(cy)
        away = np.hypot(dx, dy)
        disc = step(-away, -radius, -radius + 1.5 / size)
        if hole:
            out = tone(out, disc, 0.12)
        else:
            turn = rng.uniform(0, 3.14)
            across = np.abs(dx * np.float32(np.cos(turn)) + dy * np.float32(np.sin(turn)))
            slot = step(-across, -radius * 0.25, -radius * 0.15)
            head = (steel * (1 - 0.6 * slot))[..., None] * np.ones(3, np.float32)
            out = blend(out, head, disc)
        out = out + (relief(smooth(disc, 0.8), light) * np.float32(0.4))[..., None]
    return out


def glare(rng: Rng, front: Array) -> Array:
    """Reflections of lamps: soft bands or spots of light."""
    size, out = len(front), front
    for _ in range(int(rng.integers(1, 4))):
        x, y = turned(size, rng.uniform(0, 6.3))
        cx, cy = rng.uniform(-0.5, 0.5, 2)
        long, wide = between(rng, 0.25, 1.5), between(rng, 0.01, 0.15)
        away = ((x - np.float32(cx)) / np.float32(long)) ** 2 + ((y - np.float32(cy)) / np.float32(wide)) ** 2
        out = out + (np.float32(rng.uniform(0.1, 0.7)) * np.exp(-away * pick(rng, 1, 1, away.mean())))[..., None]
    return out


def contrast(rng: Rng, front: Array) -> Array:
    """The same texture, stronger."""
    middle = front.mean((0, 1))
    return np.clip(middle + (front - middle) * np.float32(rng.uniform(1.3, 2.2)), 0.01, 1.2)


def mottle(rng: Rng, front: Array) -> Array:
    """Clouds of tone or colour all over."""
    size = len(front)
    cloud = step(field(rng, size, zoom=between(rng, 2, 8), slope=pick(rng, 1.0, 1.5, 2.0)), -1.5, 1.5)
    shift = colour(rng, (0, 1), (0, 0.3), (0.5, 1.0)) * np.float32(rng.uniform(0.8, 1.2))
    return front * (1 + cloud[..., None] * (shift - 1))


def clutter(rng: Rng, back: Array) -> Array:
    """Things and marks on the ground that nobody inspects, often out of focus."""
    size, soft = len(back), pick(rng, 0.5, 2.0, 5.0)
    out = back
    for _ in range(int(rng.integers(1, 5))):
        x, y = turned(size, rng.uniform(0, 6.3))
        dx, dy = np.abs(x - np.float32(rng.uniform(-0.6, 0.6))), np.abs(y - np.float32(rng.uniform(-0.6, 0.6)))
        wide, high = between(rng, 0.01, 0.4), between(rng, 0.01, 0.4)
        shape = (dx < wide) & (dy < high) if rng.random() < 0.6 else np.hypot(dx / wide, dy / high) < 1
        shown = smooth(shape.astype(np.float32), soft)
        body = colour(rng, (0, 1), (0, 0.5), (0.05, 0.9))
        out = blend(out, np.zeros_like(out) + body, shown * np.float32(rng.uniform(0.2, 0.9)))
    if rng.random() < 0.3:
        paths = [[(float(rng.uniform(-0.1, 1.1)), float(rng.uniform(-0.1, 1.1))) for _ in range(2)] for _ in range(4)]
        out = tone(out, strokes(size, paths, [0.006] * 4), rng.uniform(0.4, 1.5))
    return out.astype(np.float32)
