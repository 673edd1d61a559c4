# ruff: noqa: D103 (one signature, told above; each name says what it draws)
# ruff: noqa: E501 (tables of words are read by row)
"""Defects of structure: each edits the data of a scene, which is then composed again.

All have one signature: generator, scene, where the thing is [S, S], power and span; each returns a changed copy of the
scene. They need things or a print in it; the table in `defects` says which.
"""

from dataclasses import replace

import numpy as np

from pictures.marks import spot, spot_in
from pictures.noise import Array, Rng, colour, pick, smooth
from pictures.objects import SHAPES, Item
from pictures.scene import Scene


def some(rng: Rng, scene: Scene, *, most: int = 3) -> list[int]:
    """Indices of one or a few items well inside the frame; of those on the carrier when there is one."""
    first = 1 if "parts" in scene.flags else 0
    near = [
        k for k in range(first, len(scene.items)) if 0.03 < scene.items[k].x < 0.97 and 0.03 < scene.items[k].y < 0.97
    ]
    near = near or list(range(first, len(scene.items)))
    # Were many of them wrong, nobody could say which ones are.
    count = min(max(1, len(near) // 3), int(pick(rng, 1, 1, 1, 2, most)))
    return [int(k) for k in rng.choice(near, count, replace=False)]


def changed(scene: Scene, items: dict[int, Item | None]) -> Scene:
    after = [items.get(k, item) for k, item in enumerate(scene.items)]
    return replace(scene, items=[item for item in after if item is not None])


def missing(rng: Rng, scene: Scene, where: Array, power: float, span: float) -> Scene:
    return changed(scene, dict.fromkeys(some(rng, scene)))


def extra(rng: Rng, scene: Scene, where: Array, power: float, span: float) -> Scene:
    """A thing too many, of the same sort or another, often across others."""
    model = scene.items[some(rng, scene)[0]]
    x, y = spot_in(rng, where) if rng.random() < 0.7 else rng.uniform(0.1, 0.9, 2)
    radius = min(model.radius, 0.25) * rng.uniform(0.4, 1.0)
    shape = model.shape if rng.random() < 0.5 else str(rng.choice(list(SHAPES)))
    tint = model.tint if rng.random() < 0.4 else colour(rng, (0, 1), (0, 0.8), (0.2, 1.5))
    item = Item(shape, float(x), float(y), radius, rng.uniform(0, 6.3), (1, 1), rng.random(5).astype(np.float32), tint)
    return replace(scene, items=[*scene.items, item])


def misplaced(rng: Rng, scene: Scene, where: Array, power: float, span: float) -> Scene:
    """Shifted or turned away from where the others are."""
    edits: dict[int, Item | None] = {}
    for k in some(rng, scene):
        item = scene.items[k]
        short = item.radius * min(item.widen) if item.shape == "rod" else item.radius
        move = short * (0.15 + 1.0 * power) * (3 if item.shape == "rod" else 1)
        way = rng.uniform(0, 6.3)
        turn = pick(rng, -1, 1) * (0.1 + 0.8 * power) * (0.2 if item.shape == "rod" else 1) * pick(rng, 0, 1)
        edits[k] = item.change(x=item.x + move * np.cos(way), y=item.y + move * np.sin(way), angle=item.angle + turn)
    return changed(scene, edits)


def deformed(rng: Rng, scene: Scene, where: Array, power: float, span: float) -> Scene:
    edits: dict[int, Item | None] = {}
    for k in some(rng, scene):
        item = scene.items[k]
        sign = pick(rng, -1, 1)
        if item.shape in ("rod", "bolt", "capsule", "box", "holed", "seed", "comb", "bottle") and rng.random() < 0.6:
            narrow = item.widen[1] / item.widen[0] if item.shape == "rod" else 1.0
            edits[k] = item.change(bend=sign * (0.05 + 0.4 * power) / max(narrow, 0.05) ** 0.6)
        elif rng.random() < 0.5:
            edits[k] = item.change(wobble=0.04 + 0.2 * power)
        else:
            squeeze = 1 - (0.08 + 0.3 * power)
            edits[k] = item.change(widen=(item.widen[0] * squeeze, item.widen[1] * (1 + 0.3 * power * (sign > 0))))
    return changed(scene, edits)


def broken(rng: Rng, scene: Scene, where: Array, power: float, span: float) -> Scene:
    """A part of the thing is broken off along a ragged line."""
    edits: dict[int, Item | None] = {}
    for k in some(rng, scene, most=2):
        item = scene.items[k]
        angle = rng.uniform(0, 6.3)
        if item.shape in ("rod", "bolt", "bottle", "seed", "capsule"):
            angle = pick(rng, 0, np.pi) + rng.normal(0, 0.4)
        edits[k] = item.change(cut=(angle, 0.8 - rng.uniform(0.3, 0.9) * (0.25 + 0.75 * power)))
    return changed(scene, edits)


def nicked(rng: Rng, scene: Scene, where: Array, power: float, span: float) -> Scene:
    """Small bits are missing from the border."""
    edits: dict[int, Item | None] = {}
    for k in some(rng, scene, most=2):
        item, nicks = scene.items[k], []
        for _ in range(int(pick(rng, 1, 1, 2, 4))):
            angle = rng.uniform(0, 6.3)
            u, v = np.cos(angle) * np.arange(1.5, 0, -0.02), np.sin(angle) * np.arange(1.5, 0, -0.02)
            within = np.flatnonzero(SHAPES[item.shape](u.astype(np.float32), v.astype(np.float32), item.params) > 0)
            at = int(within[0]) if within.size else 30
            nicks.append((float(u[at]), float(v[at]), 0.06 + rng.uniform(0.05, 0.35) * power))
        edits[k] = item.change(nicks=tuple(nicks))
    return changed(scene, edits)


def odd(rng: Rng, scene: Scene, where: Array, power: float, span: float) -> Scene:
    """A cell, line or piece of another tone than the rest."""
    factor = pick(rng, 1 - 0.1 - 0.8 * power, 1 - 0.1 - 0.8 * power, 1 + 0.15 + 0.8 * power)
    edits: dict[int, Item | None] = {k: scene.items[k].change(tint=scene.items[k].tint * np.float32(factor)) for k in some(rng, scene, most=4)}  # fmt: skip
    return changed(scene, edits)


def interrupted(rng: Rng, scene: Scene, where: Array, power: float, span: float) -> Scene:
    """Lines or cells stop short: a part of the regular pattern is gone."""
    edits: dict[int, Item | None] = {}
    for k in some(rng, scene, most=4):
        item = scene.items[k]
        long = max(min(span, 0.4), 0.05)
        if item.shape == "rod":
            nick = (rng.uniform(-0.55, 0.55), 0.0, long * rng.uniform(0.3, 1))
            edits[k] = item.change(nicks=(nick,))
        else:
            edits[k] = item.change(cut=(rng.uniform(0, 6.3), rng.uniform(-0.3, 0.6)))
    return changed(scene, edits)


def misprint(rng: Rng, scene: Scene, where: Array, power: float, span: float) -> Scene:
    """The print is faint, gone in part, doubled, smudged or shifted."""
    ink = scene.ink
    if ink is None:
        return scene
    size = len(ink)
    at = spot_in(rng, ink)
    region = spot(rng, size, at, max(span, 0.08), rough=0.5, edge=rng.uniform(0.1, 0.8))
    way = int(rng.integers(4))
    shift = (int(rng.integers(2, 4 + 12 * power)), int(rng.integers(2, 4 + 12 * power)))
    if way == 0:
        after = ink * (1 - region * np.float32(0.4 + 0.6 * power))
    elif way == 1:
        after = np.maximum(ink, np.roll(ink, shift, (0, 1)) * np.float32(0.3 + 0.7 * power))
    elif way == 2:
        after = ink + region * (np.minimum(smooth(ink, 2 + 4 * power) * 1.5, 1) - ink)
    else:
        after = ink + region * (np.roll(ink, shift, (0, 1)) - ink)
    return replace(scene, ink=after.astype(np.float32))
