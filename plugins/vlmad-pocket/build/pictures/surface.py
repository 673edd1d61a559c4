# ruff: noqa: D103 (one signature, told above; each name says what it draws)
# ruff: noqa: E501 (tables of words are read by row)
"""Defects of the surface: each changes the colours [S, S, 3] of a composed scene where the thing is.

All have one signature: generator, scene, colours, where the thing is [S, S], power (0 is barely visible, 1 is plain)
and span (the reach of the defect in units of the frame). They modulate what is there: texture shows through.
"""

import numpy as np

from pictures import materials
from pictures.marks import cracks, dark_or_bright, edge_in, scatter, spot, spot_in, strokes, tone, walk
from pictures.noise import Array, Rng, between, blend, colour, field, pick, relief, smooth, step
from pictures.scene import Scene


def scratch(rng: Rng, scene: Scene, image: Array, where: Array, power: float, span: float) -> Array:
    size = len(image)
    count = int(pick(rng, 1, 1, 1, 2, 3, 6))
    at, width = spot_in(rng, where), between(rng, 0.0025, 0.012)
    heading = rng.uniform(0, 6.3)
    paths = []
    for _ in range(count):
        start = (at[0] + rng.normal(0, 0.2) * span * (count > 1), at[1] + rng.normal(0, 0.2) * span * (count > 1))
        paths.append(walk(rng, start, span * 2.2 * rng.uniform(0.5, 1), pick(rng, 0.05, 0.3, 1.0), heading=heading + rng.normal(0, 0.15)))  # fmt: skip
    mask = strokes(size, paths, [width * rng.uniform(0.6, 1.2) for _ in paths])
    broken = step(field(rng, size, zoom=2, slope=1), -1.8, 0.0)
    mask = mask * where * broken
    out = dark_or_bright(rng, image, mask, power, 0.6)
    if rng.random() < 0.5:  # a raised lip beside the line
        out = out + (relief(smooth(mask, 0.8), scene.light) * np.float32(power * 0.5))[..., None]
    return out


def abrasion(rng: Rng, scene: Scene, image: Array, where: Array, power: float, span: float) -> Array:
    size = len(image)
    angle = rng.uniform(0, 3.14)
    mask = spot(rng, size, spot_in(rng, where), span * 0.7, rough=0.5, edge=0.9, flat=rng.uniform(0.4, 1)) * where
    lines = step(
        field(rng, size, zoom=0.8, slope=0.6, stretch=between(rng, 8, 40), angle=angle), rng.uniform(-0.5, 0.8), 2
    )
    return dark_or_bright(rng, image, mask * lines, power, 0.65)


def crack(rng: Rng, scene: Scene, image: Array, where: Array, power: float, span: float) -> Array:
    at = edge_in(rng, where) if rng.random() < 0.4 else spot_in(rng, where)
    mask = cracks(rng, len(image), at, span * 2.2, between(rng, 0.003, 0.014)) * where
    out = dark_or_bright(rng, image, mask, power, 0.12)
    if rng.random() < 0.4:
        out = out + (relief(smooth(mask, 1), scene.light) * np.float32(power * 0.4))[..., None]
    return out


def hole(rng: Rng, scene: Scene, image: Array, where: Array, power: float, span: float) -> Array:
    size = len(image)
    radius = min(span * 0.4, 0.12)
    mask = spot(rng, size, spot_in(rng, where), radius, rough=pick(rng, 0.05, 0.4), edge=0.25) * where
    inside = scene.back if rng.random() < 0.3 and not scene.everywhere else image * np.float32(0.6 - 0.55 * power)
    rim = relief(smooth(mask, 1.2), scene.light) * np.float32(rng.uniform(-1.2, 1.2) * power)
    return blend(image + rim[..., None], inside, mask * np.float32(0.5 + 0.5 * power))


def pits(rng: Rng, scene: Scene, image: Array, where: Array, power: float, span: float) -> Array:
    count, radius = int(between(rng, 2, 40)), between(rng, 0.003, 0.012)
    mask = scatter(rng, len(image), spot_in(rng, where), span * 0.5, count, radius) * where
    rim = relief(smooth(mask, 0.8), scene.light) * np.float32(-power)
    return dark_or_bright(rng, image, mask, power, 0.15) + rim[..., None]


def dent(rng: Rng, scene: Scene, image: Array, where: Array, power: float, span: float) -> Array:
    size = len(image)
    mask = spot(
        rng, size, spot_in(rng, where), span * 0.5, rough=0.2, edge=rng.uniform(0.8, 1.7), flat=rng.uniform(0.4, 1)
    )
    slope = relief(mask, scene.light) * np.float32(span * size * pick(rng, -1, 1))
    slope = np.tanh(slope * np.float32(1.3)) * np.float32(0.7)
    inner = smooth(where, 1)
    out = image * (1 + slope * inner * np.float32(0.25 + 0.9 * power))[..., None]
    return out + (np.maximum(slope - 0.3, 0) * inner * np.float32(0.35 * power))[..., None]


def stain(rng: Rng, scene: Scene, image: Array, where: Array, power: float, span: float) -> Array:
    size = len(image)
    mask = spot(rng, size, spot_in(rng, where), span * 0.6, rough=0.5, edge=rng.uniform(0.1, 0.8)) * where
    dye = colour(rng, (0, 1), (0, 0.7), (0.05, 0.8))
    ring = mask * (1 - mask) * 4 * np.float32(pick(rng, 0, 0.5))  # drying leaves a darker border
    amount = np.clip(mask * (0.6 + 0.25 * field(rng, size, zoom=2, slope=1.5)) + ring, 0, 1)
    return image * (1 - amount[..., None] * np.float32(0.15 + 0.8 * power) * (1 - dye))


def oil(rng: Rng, scene: Scene, image: Array, where: Array, power: float, span: float) -> Array:
    size, at = len(image), spot_in(rng, where)
    mask = spot(rng, size, at, span * 0.4, rough=0.25, edge=0.15) * where
    drops = scatter(rng, size, at, span * 0.5, int(rng.integers(0, 8)), span * 0.05) * where
    mask = np.maximum(mask, drops)
    gloss = np.maximum(relief(smooth(mask, 2), scene.light) * 4 - 0.2, 0)
    out = tone(smooth(image, 0.6), mask, 1 - 0.15 - 0.6 * power)
    return blend(image, out, mask) + (gloss * mask * np.float32(power))[..., None]


def discolour(rng: Rng, scene: Scene, image: Array, where: Array, power: float, span: float) -> Array:
    size = len(image)
    mask = spot(rng, size, spot_in(rng, where), span, rough=0.5, edge=rng.uniform(0.3, 1.5)) * where
    shift = 1 + (colour(rng, (0, 1), (0.2, 1), (0.6, 1.4)) - 1) * np.float32(0.15 + 0.75 * power)
    if rng.random() < 0.4:  # grey pictures show only a change of tone
        shift = np.full(3, 1 + pick(rng, -1, 1) * (0.12 + 0.5 * power), np.float32)
    return image * (1 + mask[..., None] * (shift - 1))


def burn(rng: Rng, scene: Scene, image: Array, where: Array, power: float, span: float) -> Array:
    size, at = len(image), spot_in(rng, where)
    halo = spot(rng, size, at, span * 0.6, rough=0.4, edge=1.2) * where
    core = spot(rng, size, at, span * 0.35, rough=0.5, edge=0.5) * where
    brown = np.array([0.75, 0.5, 0.3], np.float32)
    out = image * (1 + halo[..., None] * (brown - 1) * np.float32(0.3 + 0.6 * power))
    return tone(out, core, 0.75 - 0.6 * power)


def rust(rng: Rng, scene: Scene, image: Array, where: Array, power: float, span: float) -> Array:
    size = len(image)
    area = spot(rng, size, spot_in(rng, where), span * 0.7, rough=0.6, edge=1.0)
    mask = step(area * 2 + 0.7 * field(rng, size, zoom=1.5, slope=1.0), 1.0, 1.9) * where
    brown = colour(rng, (0.02, 0.09), (0.6, 0.9), (0.25, 0.6))
    grain = 1 + 0.25 * field(rng, size, slope=0.6)
    return blend(image, (0.3 * image + 0.7 * brown) * grain[..., None], mask * np.float32(0.25 + 0.75 * power))


def contamination(rng: Rng, scene: Scene, image: Array, where: Array, power: float, span: float) -> Array:
    size = len(image)
    out, body = image, colour(rng, (0, 1), (0, 0.8), (0.05, 0.95))
    for _ in range(int(pick(rng, 1, 1, 2, 4))):
        at = spot_in(rng, where)
        mask = spot(
            rng, size, at, min(span * 0.25, 0.08) * rng.uniform(0.5, 1), rough=0.6, edge=0.2, flat=rng.uniform(0.3, 1)
        )
        move = max(1, round(size * 0.008))
        fall = np.roll(
            smooth(mask, 1.5), (round(np.sin(scene.light) * move), round(np.cos(scene.light) * move)), (0, 1)
        )
        out = tone(out, fall, 1 - 0.35 * power)
        lump = 0.8 + relief(smooth(mask, 1), scene.light) * 1.5 + 0.15 * field(rng, size, slope=1.0)
        out = blend(out, lump[..., None] * body, mask * np.float32(0.3 + 0.7 * power))
    return out


def fibre(rng: Rng, scene: Scene, image: Array, where: Array, power: float, span: float) -> Array:
    size = len(image)
    paths = [walk(rng, spot_in(rng, where), span * 1.8, rng.uniform(0.8, 3.0))]
    if rng.random() < 0.25:
        paths.append(walk(rng, paths[0][5], span * 1.2, 2.0))
    mask = strokes(size, paths, [between(rng, 0.003, 0.008)] * len(paths))
    fall = np.roll(smooth(mask, 1), (2, 1), (0, 1))
    body = colour(rng, (0, 1), (0, 0.5), (0.02, 0.3) if rng.random() < 0.5 else (0.7, 1.0))
    return blend(tone(image, fall, 1 - 0.3 * power), image * 0 + body, mask * np.float32(0.25 + 0.7 * power))


def thread(rng: Rng, scene: Scene, image: Array, where: Array, power: float, span: float) -> Array:
    """A pulled thread: a straight line of displaced weave that ends in a loop."""
    size = len(image)
    at, heading = spot_in(rng, where), pick(rng, 0, np.pi / 2) + rng.normal(0, 0.05)
    path = walk(rng, at, span * 2, 0.03, heading=heading)
    mask = strokes(size, [path], [between(rng, 0.005, 0.02)], 0.7) * where
    moved = np.roll(image, tuple(rng.integers(2, 7, 2)), (0, 1))
    out = blend(image, moved * np.float32(1 + pick(rng, -1, 1) * 0.5 * power), mask)
    if rng.random() < 0.6:
        curl = strokes(size, [walk(rng, at, span * 0.7, 5.0)], [0.006]) * np.float32(0.3 + 0.7 * power)
        out = blend(tone(out, np.roll(curl, 2, 0), 0.6), out * 0 + np.minimum(image.mean((0, 1)) * 1.5 + 0.1, 1), curl)
    return out


def chip(rng: Rng, scene: Scene, image: Array, where: Array, power: float, span: float) -> Array:
    """A bit broken out of the border, its raw inside showing."""
    size = len(image)
    mask = spot(rng, size, edge_in(rng, where), min(span * 0.4, 0.15), rough=0.6, edge=0.1) * where
    rough = 1 + 0.2 * field(rng, size, zoom=1.5, slope=1.0) + relief(field(rng, size, zoom=3, slope=1.5), scene.light)
    raw = image.mean((0, 1)) * np.float32(1 + pick(rng, -0.8, 0.6) * (0.25 + 0.75 * power))
    edge = relief(smooth(mask, 1), scene.light) * np.float32(power)
    return blend(image, rough[..., None] * raw, mask * np.float32(0.4 + 0.6 * power)) + edge[..., None]


def tear(rng: Rng, scene: Scene, image: Array, where: Array, power: float, span: float) -> Array:
    """An open slit: the ground shows between two lifted lips."""
    size = len(image)
    line = strokes(size, [walk(rng, spot_in(rng, where), span * 1.6, 0.5, jitter=0.25)], [0.004])
    wide = smooth(line, span * size * 0.05 + 0.6)
    gap = step(wide / (wide.max() + 1e-6), 0.35, 0.6) * where
    lips = relief(smooth(gap, 1.5), scene.light) * np.float32(1.5 * power)
    under = image * np.float32(0.1) if rng.random() < 0.7 else image * 0 + colour(rng, (0, 1), (0, 0.3), (0.0, 1.0))
    return blend(image + lips[..., None], under, gap * np.float32(0.35 + 0.65 * power))


def cut(rng: Rng, scene: Scene, image: Array, where: Array, power: float, span: float) -> Array:
    path = walk(rng, spot_in(rng, where), span * 1.6, 0.08)
    mask = strokes(len(image), [path], [between(rng, 0.004, 0.014)]) * where
    beside = relief(smooth(mask, 1), scene.light) * np.float32(1.2 * power)
    return tone(image, mask, 0.85 - 0.75 * power) + beside[..., None]


def fold(rng: Rng, scene: Scene, image: Array, where: Array, power: float, span: float) -> Array:
    size = len(image)
    count, heading, at = int(pick(rng, 1, 1, 2, 4)), rng.uniform(0, 6.3), spot_in(rng, where)
    paths = []
    for _ in range(count):
        start = (at[0] + rng.normal(0, 0.25) * span, at[1] + rng.normal(0, 0.25) * span)
        paths.append(walk(rng, start, span * 2, rng.uniform(0.1, 0.8), heading=heading + rng.normal(0, 0.4)))
    ridge = smooth(strokes(size, paths, [0.008] * count), between(rng, 1.0, 4.0))
    ridge /= ridge.max() + 1e-6
    slope = relief(ridge, scene.light + 0.1) * np.float32(3.0) * smooth(where, 1)
    return image * (1 + slope * np.float32(0.3 + 0.9 * power))[..., None] + (np.maximum(slope, 0) * np.float32(0.3 * power))[..., None]  # fmt: skip


def bubble(rng: Rng, scene: Scene, image: Array, where: Array, power: float, span: float) -> Array:
    size, out = len(image), image
    for _ in range(int(pick(rng, 1, 2, 4, 8))):
        at, radius = spot_in(rng, where), between(rng, 0.01, max(0.02, span * 0.25))
        mask = spot(rng, size, at, radius, rough=0.08, edge=0.5)
        lit = relief(mask, scene.light) * np.float32(radius * size)
        glint = spot(rng, size, (at[0] - np.cos(scene.light) * radius * 0.4, at[1] - np.sin(scene.light) * radius * 0.4), radius * 0.25, edge=0.9)  # fmt: skip
        change = lit * np.float32(0.3 + 0.8 * power) * where
        out = out * (1 + change)[..., None] + (glint * where * np.float32(0.5 * power))[..., None]
    return out


def run(rng: Rng, scene: Scene, image: Array, where: Array, power: float, span: float) -> Array:
    """Coating that ran down and dried as a drop."""
    size, at = len(image), spot_in(rng, where)
    width = between(rng, 0.008, 0.03)
    path = [(at[0] + rng.normal(0, 0.002), at[1] + k * span * 0.05) for k in range(20)]
    mask = strokes(size, [path], [width], 1.0)
    mask = np.maximum(mask, spot(rng, size, path[-1], width * 1.1, rough=0.1, edge=0.7)) * where
    lit = relief(smooth(mask, 1.2), scene.light) * 3
    dye = image.mean((0, 1)) * np.float32(pick(rng, 0.75, 1.2))
    return (
        blend(image, image * 0.6 + dye * 0.4, mask * np.float32(power))
        + (lit * np.float32(0.1 + 0.5 * power))[..., None]
    )


def peel(rng: Rng, scene: Scene, image: Array, where: Array, power: float, span: float) -> Array:
    """The coating came off and another surface shows."""
    size = len(image)
    mask = spot(rng, size, spot_in(rng, where), span * 0.55, rough=0.9, edge=0.08) * where
    under = colour(rng, (0, 1), (0, 0.4), (0.2, 0.9)) * (1 + 0.06 * field(rng, size, slope=1.0))[..., None]
    step_light = relief(smooth(mask, 0.8), scene.light) * np.float32(-power)
    return blend(image, under, mask * np.float32(0.25 + 0.75 * power)) + step_light[..., None]


def smear(rng: Rng, scene: Scene, image: Array, where: Array, power: float, span: float) -> Array:
    size = len(image)
    mask = spot(rng, size, spot_in(rng, where), span * 0.7, rough=0.3, edge=0.8, flat=rng.uniform(0.3, 1)) * where
    reach = 1.5 + 6 * power
    soft = smooth(image, reach)
    haze = np.float32(rng.uniform(0, 0.35) * power)
    return blend(image, soft * (1 - haze) + haze * np.float32(pick(rng, 0.1, 0.8)), mask)


def fade(rng: Rng, scene: Scene, image: Array, where: Array, power: float, span: float) -> Array:
    size = len(image)
    mask = spot(rng, size, spot_in(rng, where), span, rough=0.5, edge=1.2) * where
    pale = image.mean((0, 1)) * 0.5 + rng.uniform(0.3, 0.5)
    return blend(image, image * 0.35 + pale * 0.65, mask * np.float32(0.25 + 0.75 * power))


def worn(rng: Rng, scene: Scene, image: Array, where: Array, power: float, span: float) -> Array:
    """The border rubbed bare."""
    size = len(image)
    inner = smooth(where, 2 + 3 * span)
    rim = step(-np.abs(inner - 0.6), -0.35, 0) * where
    area = spot(rng, size, edge_in(rng, where), span * 1.3, rough=0.6, edge=0.8)
    mask = rim * area * step(field(rng, size, zoom=1.5, slope=1.0), -1, 0.6)
    return dark_or_bright(rng, image, mask, power, 0.7)


def foreign(rng: Rng, scene: Scene, image: Array, where: Array, power: float, span: float) -> Array:
    """Another texture in a noise-shaped region: of another material, or of this one from elsewhere."""
    size = len(image)
    mask = (
        spot(rng, size, spot_in(rng, where), span * 0.7, rough=rng.uniform(0.1, 1.0), edge=rng.uniform(0.05, 0.6))
        * where
    )
    if rng.random() < 0.4:
        other = np.rot90(np.roll(image, tuple(rng.integers(size // 6, size, 2)), (0, 1)), int(rng.integers(4)))
        other = other * np.float32(rng.uniform(0.75, 1.25))
    else:
        other = materials.ALL[int(rng.integers(len(materials.ALL)))].draw(rng, size)
        if rng.random() < 0.6:  # the same mean, so that only texture tells
            other = other * (image.mean((0, 1)) / (other.mean((0, 1)) + 0.02))
    return blend(image, other, mask * np.float32(0.25 + 0.75 * power))


def dead_area(rng: Rng, scene: Scene, image: Array, where: Array, power: float, span: float) -> Array:
    """A region gone dark or bright in the whole, as a dead area of an electric part."""
    size = len(image)
    x, y = spot_in(rng, where)
    columns, rows = np.arange(size) / size, np.arange(size) / size
    wide, high = span * rng.uniform(0.3, 1), span * rng.uniform(0.3, 1)
    mask = (np.abs(rows - y) < high)[:, None] & (np.abs(columns - x) < wide)[None, :]
    soft = smooth(mask.astype(np.float32), pick(rng, 0.5, 3.0, 8.0)) * where
    return dark_or_bright(rng, image, soft, power, 0.25)
