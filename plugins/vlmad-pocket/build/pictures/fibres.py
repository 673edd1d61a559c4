# ruff: noqa: D103 (one signature, told above; each name says what it draws)
"""Surfaces of wood, cloth, leather, paper and nets; each a function of a generator and a size to [S, S, 3] in 0..1."""

import numpy as np

from pictures.noise import Array, Rng, between, cells, colour, field, paint, pick, relief, step, turned


def dye(rng: Rng) -> Array:
    """Any colour of cloth; pale and grey ones are frequent."""
    return colour(rng, (0, 1), (0, pick(rng, 0.1, 0.5, 0.8)), (0.2, 0.9))


def timber(rng: Rng) -> Array:
    return colour(rng, (0.05, 0.11), (0.25, 0.65), (0.35, 0.85))


def wood(rng: Rng, size: int) -> Array:
    angle = pick(rng, 0, np.pi / 2, rng.uniform(0, np.pi))
    x, y = turned(size, angle)
    wave = field(rng, size, zoom=rng.uniform(4, 9), slope=2.0, stretch=rng.uniform(2, 6), angle=angle)
    phase = y * between(rng, 15, 90) + wave * rng.uniform(0.5, 3)
    for _ in range(int(rng.integers(1, 4)) if rng.random() < 0.4 else 0):  # knots that belong to the board
        away = np.hypot((x - rng.uniform(-0.5, 0.5)) / 2, y - rng.uniform(-0.5, 0.5))
        phase = phase + rng.uniform(3, 8) * np.exp(-((away / rng.uniform(0.03, 0.08)) ** 2))
    rings = (phase / 6.2832) % 1
    tone = 1 - rng.uniform(0.05, 0.3) * rings**2 + 0.05 * field(rng, size, slope=1.0, stretch=25, angle=angle)
    pores = step(field(rng, size, zoom=0.7, slope=0.6, stretch=12, angle=angle), 1.4, 2.4)
    return paint(tone - rng.uniform(0, 0.2) * pores, timber(rng))


def chipboard(rng: Rng, size: int) -> Array:
    count = between(rng, 7, 30)
    _, gap, value = cells(rng, size, count, warp=0.15, stretch=rng.uniform(1, 3))
    tone = 0.75 + rng.uniform(0.15, 0.4) * value - 0.15 * step(-gap, -0.15, 0)
    return paint(tone + 0.05 * field(rng, size, slope=0.6, stretch=6), timber(rng))


def leather(rng: Rng, size: int) -> Array:
    _, gap, _value = cells(rng, size, between(rng, 14, 45), warp=rng.uniform(0.1, 0.35))
    height = step(gap, 0, rng.uniform(0.25, 0.6)) + 0.15 * field(rng, size, slope=1.0)
    tone = 0.85 + rng.uniform(0.1, 0.35) * relief(height, rng.uniform(0, 6.3)) + rng.uniform(0.05, 0.2) * height
    return paint(tone + 0.05 * field(rng, size, zoom=4, slope=2), colour(rng, (0, 0.1), (0.05, 0.7), (0.1, 0.7)))


def woven(rng: Rng, size: int) -> Array:
    x, y = turned(size, pick(rng, 0, 0.785, rng.uniform(0, 3.14)) + rng.normal(0, 0.03))
    count = between(rng, 14, 56)
    wave = rng.uniform(0.05, 0.25)
    u = x * count + wave * field(rng, size, zoom=4, slope=2)
    v = y * count * rng.uniform(0.7, 1.3) + wave * field(rng, size, zoom=4, slope=2)
    twill = int(pick(rng, 2, 2, 3, 4))
    over = (np.floor(u) + np.floor(v) * (1 if rng.random() < 0.5 else -1)) % twill < twill / 2
    warp = np.abs(np.sin(np.pi * u)) * (0.7 + 0.3 * np.abs(np.cos(np.pi * v)))
    weft = np.abs(np.sin(np.pi * v)) * (0.7 + 0.3 * np.abs(np.cos(np.pi * u)))
    deep = rng.uniform(0.15, 0.6)
    tone = 1 - deep + deep * np.where(over, warp, weft) + rng.uniform(0.02, 0.08) * field(rng, size, slope=0.6)
    first = dye(rng)
    second = first if rng.random() < 0.5 else dye(rng)
    return tone[..., None] * np.where(over[..., None], first, second)


def knitted(rng: Rng, size: int) -> Array:
    x, y = turned(size, pick(rng, 0, 1.571) + rng.normal(0, 0.08))
    count = between(rng, 9, 32)
    u = x * count + 0.12 * field(rng, size, zoom=3, slope=2)
    v = y * count * rng.uniform(0.9, 1.5) + 0.12 * field(rng, size, zoom=3, slope=2)
    side = np.abs(u % 1 - 0.5)
    loop = np.abs(np.sin(np.pi * (v + rng.uniform(0.8, 1.4) * side)))
    tone = 0.45 + 0.55 * loop**0.7 * np.clip(np.sin(np.pi * np.clip(side * 2, 0.05, 0.95)), 0.3, 1)
    return paint(tone + 0.06 * field(rng, size, slope=0.6, stretch=3), dye(rng))


def corduroy(rng: Rng, size: int) -> Array:
    x, _y = turned(size, rng.uniform(0, 3.14))
    ribs = np.abs(np.sin(x * between(rng, 30, 120) + 0.3 * field(rng, size, zoom=4, slope=2)))
    tone = 0.55 + rng.uniform(0.2, 0.45) * ribs**0.6 + 0.06 * field(rng, size, slope=0.6)
    return paint(tone, dye(rng))


def felt(rng: Rng, size: int) -> Array:
    tone = 1 + 0.06 * field(rng, size, zoom=2, slope=1.5)
    for _ in range(4):
        strands = np.abs(field(rng, size, zoom=1.2, slope=1.0, stretch=rng.uniform(3, 9)))
        tone = tone + rng.uniform(0.03, 0.1) * (step(-strands, -0.25, 0) - 0.15)
    return paint(tone, dye(rng))


def cardboard(rng: Rng, size: int) -> Array:
    x, _y = turned(size, pick(rng, 0, 1.571) + rng.normal(0, 0.05))
    flutes = np.sin(x * between(rng, 60, 200))
    specks = step(field(rng, size, zoom=0.8, slope=0.6), 2.0, 2.8)
    tone = 1 + rng.uniform(0, 0.04) * flutes + 0.03 * field(rng, size, slope=1.0, stretch=5) - 0.2 * specks
    return paint(tone, colour(rng, (0.07, 0.1), (0.3, 0.5), (0.5, 0.75)))


def carpet(rng: Rng, size: int) -> Array:
    count = between(rng, 16, 50)
    away, _, value = cells(rng, size, count, warp=0.1)
    tufts = 1 - rng.uniform(0.4, 0.9) * np.minimum(away, 1) + 0.25 * (value - 0.5)
    first, second = dye(rng), dye(rng)
    tone = tufts + 0.1 * field(rng, size, slope=0.6)
    pick = (value > rng.uniform(0.6, 1.3)).astype(np.float32)
    return tone[..., None] * (first + pick[..., None] * (second - first))


def mesh(rng: Rng, size: int) -> Array:
    x, y = turned(size, pick(rng, 0, 0.785, rng.uniform(0, 1.57)))
    count = between(rng, 6, 26)
    skew = pick(rng, 0, 0, 0.577)
    u, v = (x + skew * y) * count, (y - skew * x) * count
    wire = rng.uniform(0.08, 0.22)
    lines = np.maximum(step(-np.abs(u % 1 - 0.5), -wire - 0.06, -wire), step(-np.abs(v % 1 - 0.5), -wire - 0.06, -wire))
    shade = 1 + 0.4 * np.cos(np.pi * (u % 1 - 0.5) / wire) * 0.3 + 0.05 * field(rng, size, slope=1.0)
    wires = paint(shade, colour(rng, (0, 1), (0, 0.3), (0.3, 0.9)))
    ground = paint(1 + 0.05 * field(rng, size, zoom=3, slope=2), colour(rng, (0, 1), (0, 0.3), (0.03, 0.9)))
    return ground + lines[..., None] * (wires - ground)


def braid(rng: Rng, size: int) -> Array:
    x, y = turned(size, rng.uniform(0, 3.14))
    count = between(rng, 5, 18)
    v = y * count
    lean = np.where(np.floor(v) % 2 > 0, 1, -1)
    strand = np.abs(np.sin(np.pi * (x * count * rng.uniform(1, 2) + lean * (v % 1) * rng.uniform(0.5, 1.2))))
    tone = 0.35 + 0.65 * strand**0.7 * np.sin(np.pi * np.clip(v % 1, 0.06, 0.94)) ** 0.6
    return paint(tone + 0.07 * field(rng, size, slope=0.6, stretch=4), dye(rng))
