# ruff: noqa: D102, D103 (one signature, told above; each name says what it draws)
# ruff: noqa: E501 (tables of words are read by row)
"""Shapes of things: how far inside a shape each point lies, and what a thing of that shape and material is called."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from pictures.noise import Array, Rng

Inside = Callable[[Array, Array, Array], Array]


def radial(u: Array, v: Array, outline: Callable[[Array], Array]) -> Array:
    return outline(np.arctan2(v, u)) - np.hypot(u, v)


def disc(u: Array, v: Array, p: Array) -> Array:
    return 1 - np.hypot(u, v)


def ring(u: Array, v: Array, p: Array) -> Array:
    away = np.hypot(u, v)
    return np.minimum(1 - away, away - (0.3 + 0.5 * p[0]))


def nut(u: Array, v: Array, p: Array) -> Array:
    sides = (4, 6, 6, 6, 8)[int(p[1] * 5)]
    outer = radial(u, v, lambda a: 0.9 / np.cos((a * sides / 2 % np.pi - np.pi / 2) * 2 / sides))
    return np.minimum(outer, np.hypot(u, v) - (0.35 + 0.2 * p[0]))


def gear(u: Array, v: Array, p: Array) -> Array:
    teeth = 8 + int(p[0] * 22)
    outer = radial(u, v, lambda a: 0.9 + 0.1 * np.tanh(4 * np.sin(a * teeth)))
    return np.minimum(outer, np.hypot(u, v) - (0.12 + 0.4 * p[1]))


def flower(u: Array, v: Array, p: Array) -> Array:
    petals = 3 + int(p[0] * 6)
    return radial(u, v, lambda a: 0.85 + (0.08 + 0.1 * p[1]) * np.cos(a * petals))


def star(u: Array, v: Array, p: Array) -> Array:
    points = 4 + int(p[0] * 5)
    return radial(u, v, lambda a: 0.45 + 0.15 * p[1] + 0.45 * np.abs(((a * points / 6.2832) % 1) - 0.5) * 2)


def blob(u: Array, v: Array, p: Array) -> Array:
    def outline(a: Array) -> Array:
        wave = 0.10 * np.cos(2 * a + 6 * p[0]) + 0.07 * np.cos(3 * a + 6 * p[1]) + 0.04 * np.cos(5 * a + 6 * p[2])
        return 0.85 + (0.4 + p[3]) * wave + 0.012 * np.cos(11 * a + 6 * p[4]) + 0.01 * np.cos(17 * a)

    return radial(u, v, outline)


def seed(u: Array, v: Array, p: Array) -> Array:
    narrow = 0.4 + 0.4 * p[0]
    width = narrow * np.sqrt(np.clip(1 - u * u, 0, 1)) * (1 - 0.35 * (p[1] - 0.3) * u)
    return np.minimum(width - np.abs(v), 1 - np.abs(u))


def capsule(u: Array, v: Array, p: Array) -> Array:
    half = 0.25 + 0.2 * p[0]
    return half - np.hypot(np.maximum(np.abs(u) - (1 - half), 0), v)


def box(u: Array, v: Array, p: Array) -> Array:
    tall, corner = 0.35 + 0.6 * p[0], 0.02 + 0.2 * p[1]
    x, y = np.abs(u) - (1 - corner), np.abs(v) - (tall - corner)
    return corner - np.hypot(np.maximum(x, 0), np.maximum(y, 0)) - np.minimum(np.maximum(x, y), 0)


def holed(u: Array, v: Array, p: Array) -> Array:
    inside = box(u, v, p)
    tall, hole = 0.35 + 0.6 * p[0], 0.06 + 0.07 * p[2]
    if p[3] < 0.6:
        inside = np.minimum(inside, np.hypot(np.abs(u) - 0.75, np.abs(v) - (tall - 0.25)) - hole)
    if p[3] > 0.3:
        inside = np.minimum(inside, np.hypot(u, v) - (0.12 + 0.2 * p[4]) * min(1, tall * 1.5))
    return inside


def rod(u: Array, v: Array, p: Array) -> Array:
    return np.minimum(0.08 + 0.15 * p[0] - np.abs(v), 1 - np.abs(u))


def bolt(u: Array, v: Array, p: Array) -> Array:
    shaft = 0.10 + 0.08 * p[0]
    thread = shaft + 0.02 * np.sin(u * (40 + 40 * p[1])) * (u > -0.3)
    head = np.where(u < -0.72, 0.28 + 0.12 * p[2], thread)
    return np.minimum(head - np.abs(v), np.minimum(1 - u, u + 1) + 0.15 * (0.1 - np.abs(v)))


def bottle(u: Array, v: Array, p: Array) -> Array:
    body, neck = 0.3 + 0.15 * p[0], 0.1 + 0.06 * p[1]
    shoulder = 0.2 + 0.3 * p[2]
    rise = np.clip((u - shoulder) / 0.25, 0, 1)
    width = body + (neck - body) * rise * rise * (3 - 2 * rise) + 0.04 * (u > 0.86)
    return np.minimum(width - np.abs(v), 1 - np.abs(u))


def bracket(u: Array, v: Array, p: Array) -> Array:
    arm = 0.35 + 0.3 * p[0]
    outer = 0.9 - np.maximum(np.abs(u), np.abs(v))
    inner = np.maximum(-0.9 + arm - u, -0.9 + arm - v)
    inside = np.minimum(outer, inner)
    return np.minimum(inside, np.minimum(np.hypot(u + 0.6, v - 0.55), np.hypot(u - 0.55, v + 0.6)) - 0.05 - 0.08 * p[1])


def comb(u: Array, v: Array, p: Array) -> Array:
    pins = 3 + int(p[0] * 7)
    stem = np.minimum(0.5 - np.abs(v + 0.4), 1 - np.abs(u))
    teeth = np.minimum(0.55 - np.abs((u * pins / 2 + 0.5 * (pins % 2)) % 1 - 0.5) * 2, 0.9 - np.abs(v)) * 0.5
    return np.maximum(stem, np.minimum(teeth, 0.95 - np.abs(u)))


SHAPES: dict[str, Inside] = {
    "disc": disc, "ring": ring, "nut": nut, "gear": gear, "flower": flower, "star": star, "blob": blob, "seed": seed,
    "capsule": capsule, "box": box, "holed": holed, "rod": rod, "bolt": bolt, "bottle": bottle, "bracket": bracket,
    "comb": comb,
}  # fmt: skip

NAMES: dict[str, dict[str, str]] = {
    "metal": {
        "disc": "metal disc|coin|metal cap", "ring": "washer|metal ring|bearing ring", "nut": "metal nut|hex nut",
        "gear": "gear|gear wheel|cog", "holed": "metal plate|metal bracket|flange", "rod": "metal rod|pin|shaft",
        "bolt": "bolt|screw", "bracket": "metal bracket|angle plate", "comb": "connector|metal comb|lead frame",
        "star": "star wheel|metal part", "flower": "hand wheel|metal knob", "box": "metal plate|metal block",
        "capsule": "metal link|metal casting",
    },
    "plastic": {
        "disc": "button|plastic lid|bottle cap", "ring": "plastic ring|gasket", "bottle": "plastic bottle|bottle",
        "capsule": "capsule|plastic clip", "box": "plastic housing|phone case|remote control", "gear": "plastic gear",
        "holed": "plastic cover|socket|plastic panel", "comb": "plug|connector|plastic comb", "rod": "plastic tube|pipe",
        "flower": "plastic knob|rosette",
    },
    "wood": {"disc": "wooden disc", "box": "wooden block|wooden board", "rod": "wooden stick|dowel", "holed": "wooden plate",
             "star": "wooden ornament", "capsule": "wooden handle"},
    "rubber": {"ring": "rubber seal|o-ring|gasket", "disc": "rubber stopper|rubber pad", "box": "rubber block|sponge",
               "holed": "rubber gasket", "gear": "rubber grip", "rod": "hose|rubber tube"},
    "food": {"disc": "biscuit|cookie|cracker", "blob": "cookie|bread roll|nugget|potato", "star": "gingerbread star|cookie",
             "flower": "biscuit|cake", "box": "toast|wafer biscuit|chocolate bar", "seed": "bread roll|bun",
             "ring": "doughnut|bagel"},
    "powder": {"disc": "tablet|pill", "capsule": "caplet|capsule", "seed": "pill|tablet", "box": "tablet|soap bar"},
    "husk": {"seed": "seed|almond|grain|bean", "blob": "fruit|hazelnut|walnut", "disc": "lentil|berry", "flower": "pepper|fruit"},
    "stone": {"disc": "ceramic disc|plate", "ring": "ceramic ring|cup rim", "box": "tile|stone block", "blob": "pebble|stone",
              "holed": "ceramic insulator|ceramic plate", "bottle": "vase|ceramic bottle"},
    "cloth": {"box": "fabric patch|pad|label", "disc": "pad|felt disc", "capsule": "strap|insole", "ring": "fabric ring",
              "rod": "strap|ribbon|cable"},
    "paper": {"box": "card|package|box", "disc": "paper filter|coaster", "holed": "tag|label"},
    "glass": {"disc": "lens|glass disc", "ring": "glass ring|jar rim", "bottle": "glass bottle|vial", "box": "glass plate",
              "capsule": "ampoule|glass tube"},
    "wafer": {"box": "solar cell|chip", "disc": "silicon wafer|wafer"},
    "board": {"box": "circuit board|electronic module", "holed": "circuit board|electronic board"},
}  # fmt: skip


@dataclass(frozen=True)
class Item:
    """One thing in a scene: where it is, in units of the frame, and what was done to its shape.

    `nicks` are (u, v, radius) discs taken out, `cut` is (angle, offset) of a ragged break, both in units of `radius`;
    `bend` bows it, `tint` [3] multiplies the material's colour, `rise` lifts it above what lies under it and `rough` is how uneven its outline is.
    """

    shape: str
    x: float
    y: float
    radius: float
    angle: float = 0.0
    widen: tuple[float, float] = (1.0, 1.0)
    params: Array = field(default_factory=lambda: np.full(5, 0.5, np.float32))
    tint: Array = field(default_factory=lambda: np.ones(3, np.float32))
    bend: float = 0.0
    wobble: float = 0.0
    cut: tuple[float, float] | None = None
    nicks: tuple[tuple[float, float, float], ...] = ()
    rise: float = 1.0
    rough: float = 0.0

    def change(self, **fields: object) -> "Item":
        return replace(self, **fields)  # type: ignore[arg-type]


def reach(item: Item) -> float:
    """Half the side of the square that surely holds the item, in units of the frame."""
    return (
        item.radius
        * (1.45 if item.shape in ("box", "holed", "bracket", "comb") else 1.15)
        * max(item.widen)
        * (1 + abs(item.bend) + item.wobble)
    )


def inside(item: Item, x: Array, y: Array) -> Array:
    """How far inside the item each point lies, in units of the frame; negative outside."""
    c, s = np.float32(np.cos(item.angle)), np.float32(np.sin(item.angle))
    dx, dy = x - np.float32(item.x), y - np.float32(item.y)
    u = (dx * c + dy * s) / np.float32(item.radius * item.widen[0])
    v = (dy * c - dx * s) / np.float32(item.radius * item.widen[1])
    if item.bend:
        v = v + np.float32(item.bend) * (u * u - np.float32(0.4))
    if item.wobble:
        v = v + np.float32(item.wobble) * np.sin(3 * u + 5 * item.params[0]) * np.exp(-((u - item.params[1]) ** 2) * 4)
        u = u + np.float32(item.wobble) * np.cos(2.3 * v + 7 * item.params[2]) * np.exp(
            -((v + item.params[1]) ** 2) * 4
        )
    depth = SHAPES[item.shape](u, v, item.params)
    if item.rough:
        p = item.params * np.float32(20)
        wave = np.sin(9 * u + p[0]) * np.sin(8 * v + p[1]) + np.sin(17 * u - 11 * v + p[2]) * np.sin(
            14 * v + 13 * u + p[3]
        )
        wave += 0.6 * np.sin(31 * u + p[4]) * np.sin(29 * v + 7 * u) + 0.4 * np.sin(57 * u - 23 * v) * np.sin(49 * v)
        depth = depth + np.float32(item.rough) * wave
    if item.cut is not None:
        angle, offset = item.cut
        across = v * np.cos(angle) - u * np.sin(angle)
        ragged = 0.04 * np.sin(across * 9 + 3) + 0.025 * np.sin(across * 23) + 0.015 * np.sin(across * 51)
        depth = np.minimum(depth, offset + ragged - (u * np.cos(angle) + v * np.sin(angle)))
    for nick_u, nick_v, nick_radius in item.nicks:
        ragged = 1 + 0.25 * np.sin(7 * u + 9 * v + 40 * nick_u) + 0.15 * np.sin(19 * u - 15 * v)
        depth = np.minimum(depth, np.hypot(u - nick_u, v - nick_v) - nick_radius * ragged)
    return depth * np.float32(item.radius * min(item.widen))


def name(rng: Rng, family: str, shape: str) -> str:
    return str(rng.choice(NAMES[family][shape].split("|")))
