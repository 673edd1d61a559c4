# ruff: noqa: D103 (one signature, told above; each name says what it draws)
"""Woven cloth as data: yarns with a place, a width and a tone of their own, so that a fault of weaving edits yarns."""

from dataclasses import dataclass, replace

import numpy as np

from pictures.fibres import dye
from pictures.marks import spot
from pictures.materials import Material
from pictures.noise import Array, Rng, between, colour, field, pick, smooth, step, turned
from pictures.scene import Scene

LIKELY = frozenset(
    {"missing yarn", "thick yarn", "weave fault", "density change", "knot", "hole", "thread", "stain", "cut", "fibre"}
)
SPARE = 8  # yarns beyond the frame on each side


@dataclass(frozen=True)
class Weave:
    """Cloth before the camera.

    `u`, `v` [S, S] count warp and weft yarns; `over` is the draft, repeated: 1 where the warp lies above. `warp` and
    `weft` [N, 2] give each yarn its width (1 is usual) and tone; `fuzz` [S, S] is the hair on it.
    """

    u: Array
    v: Array
    over: Array
    warp: Array
    weft: Array
    depth: float
    round_: float
    colours: Array
    fuzz: Array

    def draw(self) -> Array:
        """Colours, [S, S, 3]."""
        column, row = np.floor(self.u).astype(np.int32), np.floor(self.v).astype(np.int32)
        own_warp = self.warp[np.clip(column, 0, len(self.warp) - 1)]
        own_weft = self.weft[np.clip(row, 0, len(self.weft) - 1)]
        tall, wide = self.over.shape
        above = self.over[row % tall, column % wide] > 0
        across_warp = np.abs(self.u - column - np.float32(0.5)) * 2 / np.maximum(own_warp[..., 0], 1e-3)
        across_weft = np.abs(self.v - row - np.float32(0.5)) * 2 / np.maximum(own_weft[..., 0], 1e-3)
        # A yarn that is not there lets the other one, or the dark between them, show.
        top = np.where(above, across_warp, across_weft)
        under = np.where(above, across_weft, across_warp)
        lit = np.sqrt(np.clip(1 - top * top, 0, 1)) ** np.float32(self.round_)
        low = np.sqrt(np.clip(1 - under * under, 0, 1)) * np.float32(0.55)
        first = self.colours[0] * own_warp[..., 1:], self.colours[1] * own_weft[..., 1:]
        shade_top, shade_low = lit[..., None], low[..., None]
        shown = np.where(above[..., None], first[0], first[1])
        behind = np.where(above[..., None], first[1], first[0])
        deep = np.float32(self.depth)
        body = np.maximum(shown * shade_top, behind * shade_low)
        flat = np.where((top < 1)[..., None], shown, behind * np.float32(0.6))
        return (flat * (1 - deep) + deep * body) * self.fuzz[..., None]


def cloth(rng: Rng, size: int, material: Material) -> Scene:
    """A weave that fills the frame: from single yarns that one can count to a fine grain."""
    x, y = turned(size, pick(rng, 0, 0, np.pi / 2, 0.785, rng.uniform(0, 3.14)) + rng.normal(0, 0.04))
    count = between(rng, 9, 100)
    ratio, wave = pick(rng, 1, between(rng, 0.6, 1.6)), rng.uniform(0, 0.3) * pick(rng, 0.1, 1, 1)
    u = (x + 0.71) * np.float32(count) + np.float32(wave) * field(rng, size, zoom=5, slope=2) + SPARE
    v = (y + 0.71) * np.float32(count * ratio) + np.float32(wave) * field(rng, size, zoom=5, slope=2) + SPARE
    uneven, tones = pick(rng, 0.003, 0.02, 0.06, 0.15), pick(rng, 0.002, 0.01, 0.04, 0.1)
    first = dye(rng)
    second = first if rng.random() < 0.6 else dye(rng)
    warp = yarn_table(rng, int(1.42 * count) + 2 * SPARE + 2, uneven, tones)
    weft = yarn_table(rng, int(1.42 * count * ratio) + 2 * SPARE + 2, uneven, tones)
    fuzz = 1 + rng.uniform(0.01, 0.1) * field(rng, size, slope=0.6)
    fuzz = fuzz + rng.uniform(0, 0.06) * field(rng, size, zoom=5, slope=2)
    depth, body = rng.uniform(0.2, 0.95), rng.uniform(0.5, 1.5)
    plan = Weave(u, v, draft(rng), warp, weft, depth, body, np.stack([first, second]), fuzz)
    front = plan.draw()
    thing, flags = str(rng.choice(material.sheets)), frozenset({"weave"})
    return Scene(
        material, thing, "weave", front, front, everywhere=True, plan=plan, likely=LIKELY, flags=flags
    )  # fmt: skip


def yarn_table(rng: Rng, count: int, uneven: float, tones: float) -> Array:
    """Width and tone of each yarn; at times a regular stripe."""
    table = np.stack([1.02 + rng.normal(0, uneven, count), 1 + rng.normal(0, tones, count)], 1).astype(np.float32)
    if rng.random() < 0.15:
        table[:: int(rng.integers(3, 12)), 1] *= np.float32(rng.uniform(0.5, 1.4))
    return table


def draft(rng: Rng) -> Array:
    """Plain, basket, twill or satin."""
    rows, columns = np.arange(8)[:, None], np.arange(8)[None, :]
    way = int(rng.integers(6))
    if way < 2:
        return (rows + columns) % 2
    if way == 2:
        return (rows // 2 + columns // 2) % 2
    if way == 3:
        return ((rows + columns) % 4 < int(pick(rng, 1, 2, 3))).astype(np.int64)
    if way == 4:
        return ((rows - columns) % 4 < 2).astype(np.int64)
    return ((3 * rows + columns) % 8 == 0).astype(np.int64)


def woven_again(scene: Scene, plan: Weave) -> Scene:
    front = plan.draw()
    return replace(scene, front=front, back=front, plan=plan)


def changed_yarn(rng: Rng, scene: Scene, span: float, width: float, shade: float) -> Scene:
    """One or a few neighbouring yarns with another width and tone, over the whole length or a part of it."""
    plan = planned(scene)
    size = len(plan.u)
    along = rng.random() < 0.5
    table = plan.warp if along else plan.weft
    middle = (plan.u if along else plan.v)[size // 2, size // 2]
    reach = (plan.u if along else plan.v).std() * 1.2
    at = int(np.clip(middle + rng.uniform(-1, 1) * reach, 1, len(table) - 3))
    table = table.copy()
    table[at : at + int(pick(rng, 1, 1, 1, 2))] *= np.array([width, shade], np.float32)
    after = replace(plan, **{"warp" if along else "weft": table})
    again = woven_again(scene, after)
    if rng.random() < 0.4:  # only a part of its length
        line = (plan.v if along else plan.u) - (plan.v if along else plan.u)[size // 2, size // 2]
        half = span * np.abs(line).max()
        part = step(-np.abs(line - np.float32(rng.uniform(-0.6, 0.6) * np.abs(line).max())), -half * 1.1, -half * 0.9)
        mixed = scene.front + part[..., None] * (again.front - scene.front)
        again = replace(again, front=mixed, back=mixed)
    return again


def missing_yarn(rng: Rng, scene: Scene, where: Array, power: float, span: float) -> Scene:
    return changed_yarn(rng, scene, span, 0.75 - 0.7 * power, 1 - 0.3 * power)


def thick_yarn(rng: Rng, scene: Scene, where: Array, power: float, span: float) -> Scene:
    return changed_yarn(rng, scene, span, 1 + 0.8 * power, pick(rng, 1 + 0.15 + 0.5 * power, 1 - 0.1 - 0.4 * power))


def region(rng: Rng, size: int, span: float) -> Array:
    at = (float(rng.uniform(0.1, 0.9)), float(rng.uniform(0.1, 0.9)))
    return spot(rng, size, at, max(span, 0.06), rough=rng.uniform(0.1, 0.8), edge=rng.uniform(0.05, 0.6))


def weave_fault(rng: Rng, scene: Scene, where: Array, power: float, span: float) -> Scene:
    """In a region the yarns cross in another way, or are pushed aside."""
    plan = planned(scene)
    size = len(plan.u)
    area = region(rng, size, span * 0.7)
    if rng.random() < 0.5:
        other = replace(plan, over=(1 - plan.over) if rng.random() < 0.3 else draft(rng))
    else:
        push = np.float32((0.4 + 2.5 * power) * pick(rng, -1, 1)) * smooth(area, 4)
        turn = rng.uniform(0, 6.3)
        other = replace(plan, u=plan.u + push * np.float32(np.cos(turn)), v=plan.v + push * np.float32(np.sin(turn)))
        return woven_again(scene, other)
    mixed = scene.front + (area * np.float32(0.3 + 0.7 * power))[..., None] * (other.draw() - scene.front)
    return replace(scene, front=mixed, back=mixed)


def density_change(rng: Rng, scene: Scene, where: Array, power: float, span: float) -> Scene:
    """In a region the yarns lie closer together or farther apart: the scale of the texture is another."""
    plan = planned(scene)
    area = region(rng, len(plan.u), max(span, 0.2))
    factor = np.float32((1.15 + 0.7 * power) ** pick(rng, -1, 1))
    u, v = plan.u - plan.u.mean(), plan.v - plan.v.mean()
    other = replace(plan, u=u * factor + plan.u.mean(), v=v * (factor if rng.random() < 0.6 else 1) + plan.v.mean())
    mixed = scene.front + area[..., None] * (other.draw() - scene.front)
    return replace(scene, front=mixed, back=mixed)


def planned(scene: Scene) -> Weave:
    if not isinstance(scene.plan, Weave):
        raise TypeError("this fault needs a cloth made of yarns.")
    return scene.plan


def knot(rng: Rng, scene: Scene, image: Array, where: Array, power: float, span: float) -> Array:
    """A slub or knot: a short lump along a yarn."""
    size = len(image)
    at = (float(rng.uniform(0.05, 0.95)), float(rng.uniform(0.05, 0.95)))
    mask = spot(rng, size, at, between(rng, 0.008, 0.03), rough=0.4, edge=0.6, flat=rng.uniform(0.1, 1))
    body = image.mean((0, 1)) * np.float32(pick(rng, 1.2 + 0.8 * power, 0.8 - 0.6 * power))
    body = body if rng.random() < 0.8 else colour(rng, (0, 1), (0, 0.8), (0.1, 0.9))
    return image + (mask * np.float32(0.4 + 0.6 * power))[..., None] * (body - image)
