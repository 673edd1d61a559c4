# ruff: noqa: D103 (one signature, told above; each name says what it draws)
"""Surfaces of metal, painted metal and foil; each a function of a generator and a size to [S, S, 3] in 0..1."""

import numpy as np

from pictures.noise import Array, Rng, between, cells, colour, field, grid, paint, pick, relief, step, turned


def metal(rng: Rng) -> Array:
    """A colour of bare metal: mostly steel greys, at times brass or copper."""
    if rng.random() < 0.18:
        return colour(rng, (0.05, 0.13), (0.25, 0.55), (0.5, 0.85))
    return colour(rng, (0.5, 0.65), (0.0, 0.08), (0.35, 0.8))


def cast(rng: Rng, size: int) -> Array:
    height = field(rng, size, zoom=between(rng, 0.6, 2), slope=1.0) + 0.6 * field(rng, size, zoom=3, slope=2)
    tone = 1 + rng.uniform(0.04, 0.14) * relief(height, rng.uniform(0, 6.3)) + 0.05 * field(rng, size, zoom=4, slope=2)
    pits = step(field(rng, size, zoom=between(rng, 0.7, 1.5), slope=0.6), 2.0, 2.6)
    return paint(tone * (1 - rng.uniform(0, 0.3) * pits), metal(rng))


def brushed(rng: Rng, size: int) -> Array:
    angle = pick(rng, 0, np.pi / 2, rng.uniform(0, np.pi))
    fine = field(rng, size, zoom=0.8, slope=0.6, stretch=between(rng, 15, 80), angle=angle)
    broad = field(rng, size, zoom=3, slope=1.5, stretch=30, angle=angle)
    _x, y = turned(size, angle)
    sheen = np.cos(y * rng.uniform(1, 6) + rng.uniform(0, 6.3))
    tone = 1 + rng.uniform(0.03, 0.12) * fine + rng.uniform(0.01, 0.06) * broad + rng.uniform(0, 0.15) * sheen
    return paint(tone, metal(rng))


def turned_metal(rng: Rng, size: int) -> Array:
    x, y = grid(size)
    cx, cy = (0.5, 0.5) if rng.random() < 0.6 else rng.uniform(-0.5, 1.5, 2)
    dx, dy = x - np.float32(cx), y - np.float32(cy)
    radius = np.hypot(dx, dy)
    profile = rng.standard_normal(1024).astype(np.float32)
    kernel = np.ones(int(rng.integers(1, 5)), np.float32)
    profile = np.convolve(profile, kernel / kernel.size**0.5, "same")
    rings = np.interp(radius * size * rng.uniform(0.5, 1.5), np.arange(1024), profile).astype(np.float32)
    fans = np.cos(2 * np.arctan2(dy, dx) + rng.uniform(0, 6.3)) if rng.random() < 0.7 else np.zeros_like(x)
    groove = np.sin(radius * rng.uniform(40, 260)) * (rng.random() < 0.4)
    tone = 1 + rng.uniform(0.02, 0.1) * rings + rng.uniform(0.05, 0.35) * fans * np.minimum(radius * 9, 1)
    return paint(tone + rng.uniform(0.02, 0.12) * groove, metal(rng))


def milled(rng: Rng, size: int) -> Array:
    x, y = turned(size, rng.uniform(0, 6.3))
    reach = rng.uniform(0.15, 0.8)
    phase = (x + reach * np.cos(np.clip(y / (reach * 1.3), -1.5, 1.5))) * rng.uniform(25, 90)
    tone = 1 + rng.uniform(0.03, 0.12) * np.sin(phase + 0.3 * field(rng, size, zoom=3, slope=2))
    return paint(tone + 0.03 * field(rng, size, zoom=0.7, slope=0.6), metal(rng))


def ground(rng: Rng, size: int) -> Array:
    tone = 1 + 0.03 * field(rng, size, zoom=3, slope=1.5)
    for _ in range(int(rng.integers(2, 4))):
        tone = tone + rng.uniform(0.02, 0.06) * field(rng, size, zoom=0.7, slope=0.6, stretch=between(rng, 10, 40))
    return paint(tone, metal(rng))


def galvanised(rng: Rng, size: int) -> Array:
    _, gap, value = cells(rng, size, between(rng, 5, 18), warp=rng.uniform(0.1, 0.3))
    grain = field(rng, size, zoom=0.8, slope=0.6, stretch=6)
    tone = 0.85 + rng.uniform(0.1, 0.4) * value + 0.05 * grain * (0.5 + value) - 0.06 * step(-gap, -0.08, 0)
    return paint(tone, colour(rng, (0.5, 0.65), (0, 0.06), (0.5, 0.8)))


def primer(rng: Rng, size: int) -> Array:
    bumps = relief(field(rng, size, zoom=between(rng, 0.8, 2.5), slope=1.5), rng.uniform(0, 6.3))
    tone = 1 + rng.uniform(0.05, 0.2) * bumps + 0.06 * field(rng, size, zoom=3, slope=2)
    return paint(tone, colour(rng, (0.0, 0.06), (0.45, 0.75), (0.3, 0.6)))


def gloss(rng: Rng, size: int) -> Array:
    peel = field(rng, size, zoom=between(rng, 2, 5), slope=1.0)
    x, y = turned(size, rng.uniform(0, 6.3))
    bands = np.sin((x + 0.004 * peel) * rng.uniform(4, 14) + 2 * np.sin(y * rng.uniform(1, 4)) + rng.uniform(0, 6.3))
    shine = step(bands, rng.uniform(0.3, 0.8), 1.0) * rng.uniform(0, 0.4)
    flake = field(rng, size, zoom=0.6, slope=0.0) * pick(rng, 0, 0.02, 0.06)
    base = paint(1 + flake + 0.02 * peel, colour(rng, (0, 1), (0, 0.9), (0.12, 0.85)))
    return base + shine[..., None]


def foil(rng: Rng, size: int) -> Array:
    _, _, value = cells(rng, size, between(rng, 4, 14), warp=0.5)
    crease = 1 - np.abs(field(rng, size, zoom=between(rng, 2, 5), slope=1.5))
    tone = 0.7 + rng.uniform(0.05, 0.35) * (value - 0.5) + rng.uniform(0.02, 0.2) * crease
    tone = tone + rng.uniform(0.1, 0.5) * relief(field(rng, size, zoom=3, slope=1.5), rng.uniform(0, 6.3))
    return paint(tone, metal(rng) * np.float32(1.2))


def tread(rng: Rng, size: int) -> Array:
    x, y = turned(size, rng.uniform(0, 6.3))
    count = between(rng, 4, 12)
    u, v = x * count, y * count
    odd = (np.floor(u) + np.floor(v)) % 2
    u, v = u % 1 - 0.5, v % 1 - 0.5
    along, across = np.where(odd > 0, u, v), np.where(odd > 0, v, u)
    height = step(1 - np.hypot(along / 0.42, across / 0.14), 0, 0.5)
    tone = 1 + 3 * rng.uniform(0.3, 0.9) * relief(height, rng.uniform(0, 6.3)) + 0.1 * height
    return paint(tone + 0.05 * field(rng, size, zoom=1, slope=1), metal(rng))


def perforated(rng: Rng, size: int) -> Array:
    x, y = turned(size, pick(rng, 0, 0.785, rng.uniform(0, 1.57)))
    count = between(rng, 6, 20)
    u, v = x * count, y * count
    u = u + 0.5 * (np.floor(v) % 2) if rng.random() < 0.5 else u
    away = np.hypot(u % 1 - 0.5, v % 1 - 0.5)
    hole = rng.uniform(0.2, 0.36)
    inside = step(-away, -hole - 0.05, -hole + 0.03)
    tone = 1 + 0.05 * field(rng, size, zoom=1, slope=1) + rng.uniform(0.3, 1.2) * relief(-inside, rng.uniform(0, 6.3))
    return paint(tone * (1 - rng.uniform(0.6, 0.95) * inside), metal(rng))
