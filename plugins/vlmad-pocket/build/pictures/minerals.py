# ruff: noqa: D103 (one signature, told above; each name says what it draws)
"""Surfaces of stone, tile, concrete, glass, wafers and boards; generator and size to [S, S, 3] in 0..1."""

import numpy as np
from PIL import Image, ImageDraw

from pictures.noise import Array, Rng, between, blend, cells, colour, field, paint, pick, relief, step, turned


def stone(rng: Rng) -> Array:
    return colour(rng, (0, 1), (0, 0.2), (0.2, 0.9))


def tile(rng: Rng, size: int) -> Array:
    body = paint(1 + 0.03 * field(rng, size, zoom=2, slope=1.5), stone(rng))
    for _ in range(int(rng.integers(1, 4))):  # speckle belongs to it
        specks = step(field(rng, size, zoom=between(rng, 0.6, 2.5), slope=1.0), rng.uniform(1.0, 2.0), 2.4)
        body = blend(body, paint(np.ones_like(specks), stone(rng)), specks * np.float32(rng.uniform(0.3, 1)))
    return body


def glazed(rng: Rng, size: int) -> Array:
    flow = field(rng, size, zoom=between(rng, 3, 10), slope=2)
    first, second = colour(rng, (0, 1), (0, 0.7), (0.2, 0.95)), colour(rng, (0, 1), (0, 0.7), (0.2, 0.95))
    mixed = first + (second - first) * (rng.uniform(0, 0.5) * step(flow, -1.5, 1.5))[..., None]
    shine = step(field(rng, size, zoom=12, slope=2), 0.8, 2.4) * rng.uniform(0, 0.35)
    return mixed * (1 + 0.015 * field(rng, size, slope=1.0))[..., None] + shine[..., None]


def marble(rng: Rng, size: int) -> Array:
    cloud = field(rng, size, zoom=between(rng, 3, 8), slope=1.5)
    vein = step(-np.abs(field(rng, size, zoom=between(rng, 3, 9), slope=1.5, stretch=rng.uniform(1, 3))), -0.2, 0)
    fine = step(-np.abs(field(rng, size, zoom=4, slope=1.5)), -0.08, 0)
    base = paint(1 + 0.08 * cloud, stone(rng))
    return blend(base, base * 0 + stone(rng), rng.uniform(0.2, 0.8) * vein + rng.uniform(0, 0.3) * fine)


def granite(rng: Rng, size: int) -> Array:
    _, _, value = cells(rng, size, between(rng, 25, 70), warp=0.3)
    palette = np.stack([stone(rng) for _ in range(4)])
    return palette[np.minimum((value * 4).astype(np.int32), 3)] * (1 + 0.06 * field(rng, size, slope=0.6))[..., None]


def concrete(rng: Rng, size: int) -> Array:
    tone = 1 + 0.07 * field(rng, size, zoom=4, slope=1.5) + 0.05 * field(rng, size, slope=0.6)
    pores = step(field(rng, size, zoom=between(rng, 1, 2.5), slope=1.0), 2.1, 2.6)
    rough = relief(field(rng, size, zoom=1.5, slope=1.0), 0.8)
    return paint(tone + 0.06 * rough - 0.25 * pores, colour(rng, (0.08, 0.15), (0, 0.12), (0.4, 0.75)))


def asphalt(rng: Rng, size: int) -> Array:
    away, _, value = cells(rng, size, between(rng, 25, 60), warp=0.2)
    tone = 0.5 + 0.6 * value * step(-away, -0.7, -0.3) + 0.12 * field(rng, size, slope=0.6)
    return paint(tone, colour(rng, (0.5, 0.7), (0, 0.08), (0.25, 0.5)))


def glass(rng: Rng, size: int) -> Array:
    base = paint(1 + 0.05 * field(rng, size, zoom=10, slope=2), colour(rng, (0.3, 0.65), (0, 0.3), (0.15, 0.85)))
    x, y = turned(size, rng.uniform(0, 6.3))
    bend = rng.uniform(0, 0.04) * field(rng, size, zoom=10, slope=2)
    for _ in range(int(rng.integers(0, 4))):  # reflections of windows and lamps
        middle, half, soft = rng.uniform(-0.6, 0.6), between(rng, 0.01, 0.2), between(rng, 0.004, 0.06)
        band = step(-np.abs(x + bend - middle), -half - soft, -half)
        base = base + (rng.uniform(0.05, 0.35) * band * step(y, -1.2, rng.uniform(-0.6, 0.5)))[..., None]
    return base


def grains(rng: Rng, size: int) -> Array:
    """A wafer grown of many crystals: each grain its own tone, boundaries thin."""
    _, gap, value = cells(rng, size, between(rng, 4, 18), warp=rng.uniform(0.1, 0.5), stretch=rng.uniform(1, 2))
    tone = 1 - rng.uniform(0.1, 0.5) * value - rng.uniform(0, 0.3) * step(-gap, -0.06, 0)
    dark = step(field(rng, size, zoom=6, slope=1.5), 0.5, 2.5) * rng.uniform(0, 0.4)  # dislocations that belong to it
    tone = tone - dark + 0.03 * field(rng, size, slope=0.6)
    return paint(tone, colour(rng, (0.55, 0.68), (0, 0.7), (0.3, 0.85)))


def wafer(rng: Rng, size: int) -> Array:
    """A single crystal: even, with a slow gradient."""
    tone = 1 + rng.uniform(0.02, 0.12) * field(rng, size, zoom=12, slope=2.6) + 0.015 * field(rng, size, slope=0.6)
    return paint(tone, colour(rng, (0.55, 0.7), (0, 0.7), (0.2, 0.85)))


def board(rng: Rng, size: int) -> Array:
    """A printed circuit: tracks, pads and parts on a coated board."""
    lacquer = colour(rng, (0.3, 0.65), (0.4, 0.9), (0.15, 0.5))
    copper = np.minimum(lacquer * np.float32(rng.uniform(1.3, 2.0)), 1)
    solder = colour(rng, (0.08, 0.15), (0, 0.5), (0.6, 0.9))
    big = 2 * size
    image = Image.new("RGB", (big, big), tuple((lacquer * 255).astype(int)))
    draw = ImageDraw.Draw(image)
    lane = between(rng, 0.025, 0.06) * big
    lanes = int(big / lane)
    wide = int(max(2, lane * rng.uniform(0.2, 0.5)))
    for _ in range(int(rng.integers(15, 50))):
        at = rng.integers(0, lanes, 2) * lane
        points = [tuple(at)]
        for _ in range(int(rng.integers(1, 4))):
            turn = [(1, 0), (0, 1), (-1, 0), (0, -1), (1, 1), (1, -1)][int(rng.integers(6))]
            at = at + np.array(turn) * lane * int(rng.integers(1, 8))
            points.append(tuple(at))
        draw.line(points, fill=tuple((copper * 255).astype(int)), width=wide, joint="curve")
        radius = lane * 0.38
        for px, py in (points[0], points[-1]):
            draw.ellipse((px - radius, py - radius, px + radius, py + radius), fill=tuple((solder * 255).astype(int)))
            hole = radius * 0.4
            draw.ellipse((px - hole, py - hole, px + hole, py + hole), fill=(20, 20, 20))
    for _ in range(int(rng.integers(0, 6))):
        px, py = rng.integers(0, lanes, 2) * lane
        wx, wy = rng.integers(2, 7, 2) * lane * 0.8
        part = tuple((colour(rng, (0, 1), (0, 0.3), (0.05, 0.7)) * 255).astype(int))
        for pin in np.arange(px + lane / 4, px + wx - lane / 4, lane * 0.7):
            draw.rectangle((pin, py - lane * 0.4, pin + lane * 0.3, py + wy + lane * 0.4), fill=(200, 200, 195))
        draw.rectangle((px, py, px + wx, py + wy), fill=part)
    flat = np.asarray(image.reduce(2), np.float32) / 255
    return flat * (1 + 0.03 * field(rng, size, slope=1.0))[..., None]


def brick(rng: Rng, size: int) -> Array:
    x, y = turned(size, pick(rng, 0, 1.571) + rng.normal(0, 0.03))
    rows = between(rng, 3, 12)
    v = y * rows * 2 + 0.05 * field(rng, size, zoom=2, slope=1.5)
    u = x * rows + 0.5 * (np.floor(v) % 2) + 0.02 * field(rng, size, zoom=2, slope=1.5)
    joint = np.minimum(0.5 - np.abs(u % 1 - 0.5), (0.5 - np.abs(v % 1 - 0.5)) / 2)
    which = np.sin(np.floor(u) * 12.9 + np.floor(v) * 78.2) * 43758.5
    tone = 0.85 + 0.3 * (which % 1) + 0.08 * field(rng, size, slope=1.0)
    stones = paint(tone.astype(np.float32), colour(rng, (0, 0.12), (0.1, 0.7), (0.3, 0.8)))
    mortar = paint(1 + 0.08 * field(rng, size, slope=0.6), colour(rng, (0.1, 0.15), (0, 0.1), (0.3, 0.8)))
    return blend(mortar, stones, step(joint.astype(np.float32), 0.02, 0.06))
