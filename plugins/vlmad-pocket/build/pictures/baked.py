# ruff: noqa: D103 (one signature, told above; each name says what it draws)
"""Baked and natural things as wholes: uneven outline, crust, bits in them, embossed or plain, alone or on a tray.

Nothing of this is a fault. A fault is what a hand or a fall does: bitten, broken in two, cracked across, crumbs beside.
"""

from dataclasses import replace

import numpy as np

from pictures import layouts
from pictures.marks import edge_in, scatter, spot_in, tone
from pictures.materials import Material
from pictures.noise import Array, Rng, between, blend, colour, field, grid, pick, relief, smooth, step
from pictures.objects import SHAPES, Item, inside, name
from pictures.scene import Scene

LIKELY = frozenset({"break", "nick", "crack", "missing part", "bite", "split", "crumbs", "burn", "contamination"})
SHARES = {"disc": 4, "blob": 4, "flower": 2, "box": 2, "star": 1, "ring": 1, "seed": 2}


def baked(rng: Rng, size: int, material: Material) -> Scene:
    shares = {shape: share for shape, share in SHARES.items() if shape in layouts.shapes_of(material)}
    shape = str(rng.choice(list(shares), p=np.array(list(shares.values())) / sum(shares.values())))
    items = laid_out(rng, shape)
    front = material.draw(rng, size)
    front = decorated(rng, front, items) if len(items) <= 9 else front
    look = layouts.light(rng)
    look["bevel"] = min(look["bevel"] * 1.5, items[0].radius * rng.uniform(0.15, 0.7))
    flags = frozenset({"many"}) if len(items) > 3 else frozenset()
    thing = name(rng, material.family, shape)
    return Scene(material, thing, "baked", front, tray(rng, size), items, likely=LIKELY, flags=flags, **look)


def laid_out(rng: Rng, shape: str) -> list[Item]:
    """One thing that fills the frame, a few, or rows of them."""
    across, down = ((1, 1), (1, 1), (1, 1), (2, 1), (2, 2), (3, 2), (3, 3), (4, 3), (5, 4))[int(rng.integers(9))]
    pitch = 1 / max(across, down)
    radius = pitch * (rng.uniform(0.28, 0.47) if across > 1 else rng.uniform(0.2, 0.47))
    loose, spread, rough = pick(rng, 0.0, 0.03, 0.1), pick(rng, 0.02, 0.08), pick(rng, 0.004, 0.012, 0.025, 0.045)
    free = rng.random() < 0.6
    widen = (1.0, rng.uniform(0.75, 1.0)) if shape in ("blob", "disc", "seed") and rng.random() < 0.6 else (1.0, 1.0)
    items, params = [], rng.random(5).astype(np.float32)
    for row in range(down):
        for column in range(across):
            x = 0.5 + (column + 0.5 - across / 2) * pitch + loose * pitch * rng.normal()
            y = 0.5 + (row + 0.5 - down / 2) * pitch + loose * pitch * rng.normal()
            own = rng.random(5).astype(np.float32) if free or shape == "blob" else params
            shade = np.float32(np.exp(rng.normal(0, spread))) * np.ones(3, np.float32)
            turn = rng.uniform(0, 6.3) if free else float(params[0]) * 6
            items.append(Item(shape, x, y, radius * rng.uniform(0.9, 1.05), turn, widen, own, shade, rough=rough))
    return items


def decorated(rng: Rng, front: Array, items: list[Item]) -> Array:
    """Browned or pale rims, rings, holes and ridges pressed in, bits baked in: on all alike."""
    size, out = len(front), front
    x, y = grid(size)
    brown, wide = pick(rng, 0, rng.uniform(-0.25, 0.55)), rng.uniform(0.1, 0.5)
    style, count, deep = int(rng.integers(6)), int(rng.integers(3, 14)), rng.uniform(0.3, 1.5)
    angle = rng.uniform(0, 6.3)
    height = np.zeros((size, size), np.float32)
    for item in items:
        depth = inside(item, x, y)
        rim = step(-depth, -item.radius * wide, 0) * (depth > -0.02)
        out = tone(out, rim * np.float32(brown), 0.35 if brown > 0 else 0.5)
        turn, away = np.arctan2(y - item.y, x - item.x) + np.float32(item.angle), depth / np.float32(item.radius)
        within = (depth > 0).astype(np.float32)
        if style == 0:  # a ring or two
            height += within * step(-np.abs(away - 0.3), -0.06, 0)
        elif style == 1:  # holes pricked in rows
            u, v = (x - item.x) / item.radius * 3.5, (y - item.y) / item.radius * 3.5
            height -= within * step(-np.hypot(u % 1 - 0.5, v % 1 - 0.5), -0.2, -0.1) * (away > 0.15)
        elif style == 2:  # rays
            height += within * np.cos(turn * count) * step(away, 0.1, 0.5)
    out = out + (relief(smooth(height, 1.0), angle) * np.float32(deep * 0.5) * out.mean())[..., None]
    if rng.random() < 0.55:
        out = with_bits(rng, out, angle)
    if rng.random() < 0.35:  # lumpy by itself, cracked a little all over
        lumps = field(rng, size, zoom=between(rng, 1, 4), slope=1.5)
        out = out * (1 + rng.uniform(0.3, 1.2) * relief(lumps, angle))[..., None]
        out = tone(out, step(-np.abs(lumps), -0.12, 0), rng.uniform(0.5, 1))
    return out.astype(np.float32)


def with_bits(rng: Rng, front: Array, angle: float) -> Array:
    """Drops of chocolate, nuts, seeds, sugar: many of one sort, spread evenly, so they belong."""
    size = len(front)
    dots = scatter(rng, size, (0.5, 0.5), 0.35, int(between(rng, 12, 160)), between(rng, 0.004, 0.022))
    body = colour(rng, (0.03, 0.14), (0.1, 0.8), pick(rng, 0.1, 0.3, 0.9) + np.array([0.0, 0.1]))
    lit = relief(smooth(dots, 0.8), angle) * np.float32(rng.uniform(0, 0.4))
    return blend(front, np.zeros_like(front) + body, dots * np.float32(rng.uniform(0.4, 1))) + lit[..., None]


def tray(rng: Rng, size: int) -> Array:
    """A tray, a belt, a table with its things: the ground is not inspected, whatever is on it."""
    back = layouts.ground(rng, size)
    if rng.random() < 0.3:
        x, y = grid(size)
        bars = np.abs(np.sin((x if rng.random() < 0.5 else y) * between(rng, 10, 90)))
        if rng.random() < 0.4:
            bars = np.minimum(bars, np.abs(np.sin((x + y) * between(rng, 10, 60))))
        back = tone(back, step(-bars, -0.3, -0.1), pick(rng, 0.4, 0.7, 1.4))
    return back


def bite(rng: Rng, scene: Scene, where: Array, power: float, span: float) -> Scene:
    """A round piece is missing at the border, as bitten off."""
    at = int(rng.integers(len(scene.items)))
    item, angle = scene.items[at], rng.uniform(0, 6.3)
    u, v = np.cos(angle) * np.arange(1.5, 0, -0.02), np.sin(angle) * np.arange(1.5, 0, -0.02)
    within = np.flatnonzero(SHAPES[item.shape](u.astype(np.float32), v.astype(np.float32), item.params) > 0)
    first = int(within[0]) if within.size else 30
    radius = 0.12 + 0.4 * power
    nicks = [(float(u[first]), float(v[first]), radius)]
    if rng.random() < 0.5:  # a second one beside it
        beside = -radius * float(np.sin(angle)), radius * float(np.cos(angle))
        nicks.append((nicks[0][0] + beside[0], nicks[0][1] + beside[1], radius * 0.8))
    items = list(scene.items)
    items[at] = item.change(nicks=tuple(nicks))
    return replace(scene, items=items)


def split(rng: Rng, scene: Scene, where: Array, power: float, span: float) -> Scene:
    """Broken in two, with a gap between the pieces."""
    at = int(rng.integers(len(scene.items)))
    item = scene.items[at]
    angle, offset = rng.uniform(0, 6.3), rng.uniform(-0.35, 0.35)
    way, gap = item.angle + angle, item.radius * (0.015 + 0.15 * power)
    dx, dy, turn = gap * float(np.cos(way)), gap * float(np.sin(way)), rng.normal(0, 0.25) * power
    first = item.change(cut=(angle, offset), x=item.x - dx, y=item.y - dy)
    second = item.change(cut=(angle + np.pi, -offset), x=item.x + dx, y=item.y + dy, angle=item.angle + turn)
    return replace(scene, items=[*scene.items[:at], first, second, *scene.items[at + 1 :]])


def crumbs(rng: Rng, scene: Scene, image: Array, where: Array, power: float, span: float) -> Array:
    """Crumbs beside the thing and on its border."""
    size = len(image)
    at = edge_in(rng, where) if rng.random() < 0.8 else spot_in(rng, where)
    dots = scatter(rng, size, at, span * 0.3, int(between(rng, 4, 60)), between(rng, 0.003, 0.012))
    inner = where > 0.5
    body = image[inner].mean(0) if inner.any() else image.mean((0, 1))
    fall = np.roll(smooth(dots, 1.0), (1, 1), (0, 1))
    grain = (0.9 + 0.2 * field(rng, size, slope=1.0) + relief(dots, scene.light) * 0.4)[..., None]
    return blend(tone(image, fall, 1 - 0.4 * power), grain * body, dots * np.float32(0.35 + 0.65 * power))
