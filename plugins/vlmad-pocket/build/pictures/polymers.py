# ruff: noqa: D103 (one signature, told above; each name says what it draws)
"""Surfaces of plastic, rubber, foam, film, food and pressed powder; generator and size to [S, S, 3] in 0..1."""

import numpy as np

from pictures.noise import Array, Rng, between, blend, cells, colour, field, paint, pick, relief, step, turned


def pigment(rng: Rng) -> Array:
    return colour(rng, (0, 1), (0, pick(rng, 0.08, 0.9)), (0.06, 0.95))


def plastic(rng: Rng, size: int) -> Array:
    spark = relief(field(rng, size, zoom=between(rng, 0.6, 2), slope=1.0), rng.uniform(0, 6.3))
    tone = 1 + rng.uniform(0.01, 0.1) * spark + 0.02 * field(rng, size, zoom=6, slope=2)
    shine = step(field(rng, size, zoom=14, slope=2.6), 0.8, 2.4) * rng.uniform(0, 0.2)
    return paint(tone, pigment(rng)) + shine[..., None]


def ribbed(rng: Rng, size: int) -> Array:
    x, _y = turned(size, pick(rng, 0, 1.571, rng.uniform(0, 3.14)))
    ribs = np.sin(x * between(rng, 25, 150))
    ribs = step(ribs, -0.4, 0.4) if rng.random() < 0.5 else ribs
    tone = 0.9 + rng.uniform(0.05, 0.3) * ribs + 0.03 * field(rng, size, slope=1.0)
    return paint(tone.astype(np.float32), pigment(rng))


def rubber(rng: Rng, size: int) -> Array:
    tone = 1 + rng.uniform(0.03, 0.12) * field(rng, size, zoom=between(rng, 0.6, 1.5), slope=0.6)
    dust = step(field(rng, size, zoom=0.7, slope=0.6), 2.2, 2.8) * rng.uniform(0, 0.2)
    return (
        paint(tone + 0.05 * field(rng, size, zoom=4, slope=2), colour(rng, (0, 1), (0, 0.2), (0.07, 0.35)))
        + dust[..., None]
    )


def foam(rng: Rng, size: int) -> Array:
    away, gap, value = cells(rng, size, between(rng, 14, 55), warp=0.15)
    wall = step(-gap, -rng.uniform(0.2, 0.4), 0)
    tone = 0.55 + 0.45 * wall + 0.2 * (value - 0.5) + 0.05 * field(rng, size, zoom=4, slope=2)
    return paint(tone - 0.15 * step(-away, -0.4, 0), pigment(rng))


def film(rng: Rng, size: int) -> Array:
    folds = field(rng, size, zoom=between(rng, 4, 9), slope=2, stretch=rng.uniform(1, 5))
    shine = step(relief(folds, rng.uniform(0, 6.3)) * 12, 0.3, 2.0)
    tone = 1 + 0.06 * folds + 0.01 * field(rng, size, slope=1.0)
    return paint(tone, colour(rng, (0, 1), (0, 0.5), (0.3, 0.85))) + (rng.uniform(0, 0.3) * shine)[..., None]


def crust(rng: Rng, size: int) -> Array:
    height = field(rng, size, zoom=between(rng, 1.5, 4), slope=1.5) + 0.4 * field(rng, size, slope=1.0)
    brown = step(height, -1.5, 1.8)
    pale, dark = colour(rng, (0.06, 0.12), (0.3, 0.6), (0.65, 0.9)), colour(rng, (0.04, 0.08), (0.5, 0.8), (0.3, 0.55))
    shade = 1 + rng.uniform(0.1, 0.4) * relief(height, rng.uniform(0, 6.3))
    return blend(paint(shade, pale), paint(shade, dark), rng.uniform(0.3, 1) * brown)


def crumb(rng: Rng, size: int) -> Array:
    away, _gap, value = cells(rng, size, between(rng, 8, 30), warp=0.3)
    hole = step(-away, -0.45 * rng.uniform(0.6, 1.1), -0.15) * (value > rng.uniform(0.2, 0.6))
    tone = 1 - rng.uniform(0.2, 0.45) * hole + 0.07 * field(rng, size, slope=1.0)
    return paint(tone.astype(np.float32), colour(rng, (0.07, 0.13), (0.15, 0.5), (0.6, 0.9)))


def powder(rng: Rng, size: int) -> Array:
    """Pressed powder, as of tablets: chalky, at times speckled."""
    tone = 1 + rng.uniform(0.01, 0.05) * field(rng, size, zoom=between(rng, 0.6, 1.5), slope=0.6)
    specks = step(field(rng, size, zoom=between(rng, 0.8, 1.6), slope=1.0), 1.8, 2.4) * pick(rng, 0, 0, 0.25)
    return paint(tone.astype(np.float32) - specks, colour(rng, (0, 1), (0, pick(rng, 0.06, 0.6)), (0.6, 0.97)))


def husk(rng: Rng, size: int) -> Array:
    streaks = field(rng, size, zoom=1.5, slope=1.5, stretch=rng.uniform(2, 8))
    tone = 1 + rng.uniform(0.04, 0.15) * streaks + 0.04 * field(rng, size, slope=0.6)
    return paint(tone, colour(rng, (0.03, 0.25), (0.2, 0.8), (0.25, 0.85)))


def chocolate(rng: Rng, size: int) -> Array:
    shine = step(field(rng, size, zoom=8, slope=2), 0.5, 2.2) * rng.uniform(0.02, 0.2)
    tone = 1 + 0.04 * field(rng, size, zoom=3, slope=2) + 0.02 * field(rng, size, slope=1.0)
    return paint(tone, colour(rng, (0.03, 0.08), (0.4, 0.75), (0.15, 0.5))) + shine[..., None]


def pattern(rng: Rng, size: int) -> Array:
    """A printed pattern that repeats: dots, checks or waves on a plain sheet."""
    x, y = turned(size, rng.uniform(0, 3.14))
    count = between(rng, 4, 18)
    u, v = x * count, y * count
    kind = int(rng.integers(4))
    if kind == 0:
        ink = step(-np.hypot(u % 1 - 0.5, v % 1 - 0.5), -0.33, -0.27)
    elif kind == 1:
        ink = ((np.floor(u) + np.floor(v)) % 2).astype(np.float32)
    elif kind == 2:
        ink = step(np.sin(u * 6.28 + 2 * np.sin(v * 3.14)), -0.1, 0.1)
    else:
        ink = np.maximum(step(-np.abs(u % 1 - 0.5), -0.12, -0.08), step(-np.abs(v % 1 - 0.5), -0.08, -0.04))
    sheet = paint(1 + 0.02 * field(rng, size, slope=1.0), pigment(rng))
    return blend(sheet, sheet * 0 + pigment(rng), ink.astype(np.float32) * np.float32(rng.uniform(0.4, 1)))
