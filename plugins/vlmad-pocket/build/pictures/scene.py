# ruff: noqa: D103 (one signature, told above; each name says what it draws)
"""A scene before the camera: a ground, things of one material on it, light and print; and how it becomes colour.

A scene is data, so that a defect of structure (a missing part, a bent thing) edits the data and composes again: what
differs between the two pictures is then exactly what the defect did.
"""

from dataclasses import dataclass, field

import numpy as np

from pictures.materials import Material
from pictures.noise import Array, blend, grid, relief, smooth
from pictures.objects import Item, inside, reach


@dataclass
class Scene:
    """What is in front of the camera.

    `back` and `front` [S, S, 3] are textures over the whole frame; `front` shows inside the items. `everywhere` says
    that the ground is inspected too. `ink` [S, S] is a print of `ink_colour` on what is inspected. `likely` names the
    kinds of defect that come more often here; `plan` is what a layout keeps for defects of its own.
    """

    material: Material
    thing: str
    layout: str
    front: Array
    back: Array
    items: list[Item] = field(default_factory=list)
    everywhere: bool = False
    light: float = 0.8
    shine: float = 0.3
    bevel: float = 0.02
    shadow: float = 0.3
    throw: float = 0.02
    ink: Array | None = None
    ink_colour: Array = field(default_factory=lambda: np.zeros(3, np.float32))
    flags: frozenset[str] = frozenset()
    likely: frozenset[str] = frozenset()
    plan: object = None


def compose(scene: Scene) -> tuple[Array, Array]:
    """The colours [S, S, 3] and where the inspected thing is, [S, S] in 0..1."""
    size = scene.back.shape[0]
    alpha = np.zeros((size, size), np.float32)
    if not scene.items:
        alpha += 1
        return inked(scene, scene.front, alpha), alpha
    height, tint = alpha.copy(), np.ones((size, size, 3), np.float32)
    x, y = grid(size)
    for item in scene.items:
        half = reach(item) + 2 / size
        rows = slice(max(0, int((item.y - half) * size)), max(0, int((item.y + half) * size) + 1))
        columns = slice(max(0, int((item.x - half) * size)), max(0, int((item.x + half) * size) + 1))
        if x[rows, columns].size == 0:
            continue
        depth = inside(item, x[rows, columns], y[rows, columns])
        cover = np.clip(depth * size + 0.5, 0, 1)
        slope = np.clip(depth / np.float32(scene.bevel), 0, 1)
        lift = np.sqrt(1 - (1 - slope) ** 2) * np.float32(item.rise)
        height[rows, columns] += cover * (lift + (height[rows, columns] > 0) * 0.1)
        alpha[rows, columns] = np.maximum(alpha[rows, columns], cover)
        window = tint[rows, columns]
        window += cover[..., None] * (item.tint - window)
    scale = np.float32(scene.bevel * size)
    lit = relief(height, scene.light) * scale
    front = scene.front * tint * (1 + np.float32(scene.shine) * lit)[..., None]
    front += (np.maximum(lit - 0.6, 0) * np.float32(scene.shine * 0.8))[..., None]
    front = inked(scene, front, alpha)
    back = scene.back
    if scene.shadow > 0:
        move = scene.throw * size
        down, right = round(np.sin(scene.light) * move), round(np.cos(scene.light) * move)
        dark = smooth(np.roll(alpha, (down, right), (0, 1)), 0.6 * move + 0.5)
        back = back * (1 - np.float32(scene.shadow) * dark)[..., None]
    where = np.ones_like(alpha) if scene.everywhere else alpha
    return blend(back, front, alpha), where


def inked(scene: Scene, front: Array, alpha: Array) -> Array:
    if scene.ink is None:
        return front
    return blend(front, front * 0.3 + scene.ink_colour * 0.7, scene.ink * alpha)
