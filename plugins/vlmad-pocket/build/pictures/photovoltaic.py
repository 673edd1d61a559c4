# ruff: noqa: D103 (one signature, told above; each name says what it draws)
"""Photovoltaic cells that glow in the dark, as electroluminescence shows them: the cell and what fails in it.

Grey: crystal, fine fingers and a few busbars across them. Grains, clouds of dislocations, dark rims and fingers that
differ a little are normal. Faults are dark: what a crack or a broken finger cuts off from the current does not glow.
"""

from dataclasses import dataclass

import numpy as np

from pictures.marks import cracks, spot, spot_in, tone
from pictures.materials import Material
from pictures.noise import Array, Rng, between, blend, cells, field, grid, pick, smooth, step
from pictures.scene import Scene

LIKELY = frozenset({"cell crack", "disconnected area", "finger interruption", "solder spot", "broken corner"})


@dataclass(frozen=True)
class Cell:
    """Where conductors are, in units of the frame: busbars at x of `bars`, fingers along x; `turned` swaps x and y."""

    bars: tuple[float, ...]
    fingers: int
    rim: float
    turned: bool

    def laid(self, mask: Array) -> Array:
        """A mask [S, S] of the upright cell as the cell lies in the frame."""
        return np.ascontiguousarray(mask.T) if self.turned else mask


def solar_cell(rng: Rng, size: int, material: Material) -> Scene:
    x, y = grid(size)
    single = material.name == "even wafer"
    count = int(pick(rng, 2, 3, 3, 4, 5))
    bars = tuple((k + 0.5) / count for k in range(count))
    plan = Cell(bars, int(rng.integers(28, 85)), pick(rng, 0.0, rng.uniform(0, 0.05)), rng.random() < 0.35)
    glow = crystal(rng, size) if single else grains(rng, size)
    # The rim is darker, and one side more where it was the wall of the crucible.
    rim = np.minimum(np.minimum(x, 1 - x), np.minimum(y, 1 - y)) - np.float32(plan.rim)
    if rng.random() < (0.1 if single else 0.3):
        rim = np.minimum(rim, pick(rng, 0.2, 0.5, 1.0) * (x if rng.random() < 0.5 else 1 - y) + 0.01)
    glow = glow * (1 - rng.uniform(0, 0.5) * step(-rim, -rng.uniform(0.02, 0.15), 0.0))
    # Fingers, each segment between busbars with a glow of its own.
    rows, columns = (y * plan.fingers).astype(np.int32), np.searchsorted(plan.bars, x[0])
    own = rng.normal(0, pick(rng, 0.005, 0.015, 0.04), (plan.fingers + 1, count + 1)).astype(np.float32)
    glow = glow * (1 + own[rows[:, 0]][:, columns])
    glow = glow - rng.uniform(0.0, 0.12) * step(np.abs(y * plan.fingers % 1 - 0.5), 0.2, 0.5)
    half, depth = between(rng, 0.004, 0.016), rng.uniform(0.25, 0.95)
    near = np.abs(x[0][:, None] - np.array(plan.bars, np.float32)).min(1)[None, :]
    glow = glow * (1 + pick(rng, 0, 0.1) * np.exp(-((near / 0.05) ** 2)))
    glow = glow * (1 - depth * step(-near, -half - 1.2 / size, -half))
    body = step(rim, 0, 1.5 / size)
    if single and rng.random() < 0.7:  # cut from a round rod: corners are missing, straight or curved
        short = rng.uniform(0.02, 0.12)
        corner = np.abs(x - 0.5) + np.abs(y - 0.5) - np.float32(1 - plan.rim * 2 - short)
        round_ = np.hypot(x - 0.5, y - 0.5) - np.float32((0.5 - plan.rim) * (1.414 - 0.7 * short) - short * 0.1)
        body = body * step(-(corner if rng.random() < 0.5 else round_), 0, 1.5 / size)
    dark = np.float32(rng.uniform(0.0, 0.08))
    shown = plan.laid(np.clip(dark + (glow - dark) * body, 0, 1).astype(np.float32))
    front = shown[..., None] * np.ones(3, np.float32)
    back = np.full_like(front, dark)
    thing = str(rng.choice(["solar cell", "photovoltaic cell", "silicon cell", "cell", "wafer"]))
    flags = frozenset({"cell", "grey"})
    return Scene(
        material, thing, "solar cell", front, back, everywhere=True, plan=plan, likely=LIKELY, flags=flags
    )  # fmt: skip


def crystal(rng: Rng, size: int) -> Array:
    """One crystal: even, bright in the middle, at times with rings of growth."""
    x, y = grid(size)
    away = (x - np.float32(rng.normal(0.5, 0.06))) ** 2 + (y - np.float32(rng.normal(0.5, 0.06))) ** 2
    glow = rng.uniform(0.45, 0.9) * (1 - rng.uniform(0, 0.9) * away)
    if rng.random() < 0.25:
        glow = glow * (1 + rng.uniform(0, 0.05) * np.sin(np.sqrt(away) * between(rng, 30, 150)))
    cloud = field(rng, size, zoom=between(rng, 5, 14), slope=2.0)
    return (glow * (1 + rng.uniform(0.01, 0.08) * cloud + 0.01 * field(rng, size, slope=0.6))).astype(np.float32)


def grains(rng: Rng, size: int) -> Array:
    """Many crystals, some bright and some dark, with clouds and threads of dislocations that stop at boundaries."""
    warp, stretch = rng.uniform(0.1, 0.6), rng.uniform(1, 2)
    _, gap, value = cells(rng, size, between(rng, 3, 14), warp=warp, stretch=stretch)
    glow = rng.uniform(0.5, 0.9) * (1 - rng.uniform(0.05, 0.35) * value)
    glow = glow * (1 - rng.uniform(0, 0.4) * step(-gap, -0.07, 0))
    prone = np.sin(value * 61) * 0.5 + 0.5
    for _ in range(2):
        cloud = step(field(rng, size, zoom=between(rng, 1.5, 6), slope=1.5, stretch=pick(rng, 1, 2, 4)), 0.2, 2.2)
        glow = glow * (1 - rng.uniform(0, 0.7) * cloud * prone)
    if rng.random() < 0.4:
        threads = step(-np.abs(field(rng, size, zoom=between(rng, 1.5, 4), slope=1.5)), -0.15, 0)
        glow = glow * (1 - rng.uniform(0.05, 0.35) * threads * (1 - prone))
    return (glow * (1 + 0.02 * field(rng, size, slope=0.6))).astype(np.float32)


def stretch_of(rng: Rng, plan: Cell) -> tuple[float, float]:
    """From one busbar, or the rim, to the next."""
    stops = (plan.rim, *plan.bars, 1 - plan.rim)
    at = int(rng.integers(len(stops) - 1))
    return stops[at], stops[at + 1]


def disconnected(rng: Rng, scene: Scene, image: Array, where: Array, power: float, span: float) -> Array:
    """An area behind a crack that no current reaches: dark, sharp along the crack, straight along busbar and finger."""
    plan, size = planned(scene), len(image)
    x, y = grid(size)
    first, last = stretch_of(rng, plan)
    if rng.random() < 0.25:
        last = min(1.0, last + (last - first))
    middle, high = rng.uniform(0.05, 0.95), span * rng.uniform(0.4, 1)
    jag = np.float32(0.03) * field(rng, size, zoom=between(rng, 2, 6), slope=2.0)
    lean = rng.normal(0, 0.6)
    side = pick(rng, -1, 1)
    behind = side * (x - np.float32(rng.uniform(first, last)) + np.float32(lean) * (y - np.float32(middle)) + jag)
    column = (x > first) & (x < last)
    level = np.round(y * plan.fingers) / plan.fingers
    row = np.abs(level + jag * pick(rng, 0, 0, 1) - np.float32(middle)) < high
    mask = step(behind.astype(np.float32), -1 / size, 1 / size) * (column & row)
    mask = smooth(plan.laid(mask.astype(np.float32)), 0.5)
    return tone(image, mask * (1 + 0.1 * field(rng, size, slope=1.5)), 1 - (0.15 + 0.8 * power))


def finger(rng: Rng, scene: Scene, image: Array, where: Array, power: float, span: float) -> Array:
    """Broken fingers: dark stripes of a finger's height between two busbars, deepest far from the current."""
    plan, size = planned(scene), len(image)
    x, y = grid(size)
    mask = np.zeros((size, size), np.float32)
    first, last = stretch_of(rng, plan)
    middle = rng.uniform(0.05, 0.95)
    for _ in range(int(pick(rng, 1, 2, 4, 8, 14))):
        if rng.random() < 0.3:
            first, last = stretch_of(rng, plan)
        centre = (np.floor((middle + rng.normal(0, span * 0.3)) * plan.fingers) + 0.5) / plan.fingers
        tall = np.abs(y - np.float32(centre)) * plan.fingers
        ends = np.sort(rng.uniform(first, last, 2)) if rng.random() < 0.5 else np.array([first, last])
        ends[rng.integers(2)] = (first, last)[int(rng.integers(2))] if rng.random() < 0.5 else ends[0]
        low, high = float(ends.min()), float(max(ends.max(), ends.min() + 0.03))
        fall = np.clip((x - low) / (high - low), 0, 1)
        fall = fall if rng.random() < 0.5 else 1 - fall
        flat = rng.uniform(0.3, 1)
        stripe = step(-tall, -0.7, -0.3) * ((x >= low) & (x <= high)) * (flat + (1 - flat) * fall)
        mask = np.maximum(mask, stripe.astype(np.float32))
    return tone(image, smooth(plan.laid(mask), 0.4), 1 - (0.15 + 0.75 * power))


def solder(rng: Rng, scene: Scene, image: Array, where: Array, power: float, span: float) -> Array:
    """Bad solder or corrosion: dark soft spots along a busbar."""
    plan, size = planned(scene), len(image)
    mask = np.zeros((size, size), np.float32)
    bar, middle = plan.bars[int(rng.integers(len(plan.bars)))], rng.uniform(0.05, 0.95)
    for _ in range(int(pick(rng, 1, 1, 2, 4, 7))):
        at = (bar + rng.normal(0, 0.008), float(np.clip(middle + rng.normal(0, span * 0.6), 0.02, 0.98)))
        radius, edge, flat = between(rng, 0.012, max(0.02, span * 0.3)), rng.uniform(0.3, 1.6), rng.uniform(0.4, 1)
        one = spot(rng, size, at, radius, rough=0.35, edge=edge, flat=flat)
        mask = np.maximum(mask, one)
    return tone(image, plan.laid(mask), 1 - (0.15 + 0.75 * power))


def corner(rng: Rng, scene: Scene, image: Array, where: Array, power: float, span: float) -> Array:
    """A corner, or a bit of the rim, broken off: the dark behind shows."""
    plan, size = planned(scene), len(image)
    x, y = grid(size)
    u, v = (x if rng.random() < 0.5 else 1 - x), (y if rng.random() < 0.5 else 1 - y)
    jag = np.float32(0.015) * field(rng, size, zoom=3, slope=1.5)
    if rng.random() < 0.6:
        away = u * np.float32(rng.uniform(0.4, 1)) + v * np.float32(rng.uniform(0.4, 1))
    else:
        away = np.hypot(u, (y - np.float32(rng.uniform(0.1, 0.9))) * np.float32(rng.uniform(0.4, 1)))
    mask = step(np.float32(plan.rim + 0.05 + span * 0.4) - away + jag, -1 / size, 1 / size)
    return blend(image, scene.back, plan.laid(mask) * np.float32(0.4 + 0.6 * power))


def cell_crack(rng: Rng, scene: Scene, image: Array, where: Array, power: float, span: float) -> Array:
    """A thin dark crack, straight along the crystal or branching; what lies beside it may be dim."""
    size = len(image)
    at = spot_in(rng, where)
    mask = cracks(rng, size, at, span * 2.4, between(rng, 0.003, 0.009))
    if rng.random() < 0.3:  # two cleavage planes: a cross
        mask = np.maximum(mask, cracks(rng, size, at, span * rng.uniform(0.6, 2.4), 0.004))
    near = np.minimum(smooth(mask, 2.5) * np.float32(rng.uniform(0, 1.2)), 1)
    return tone(tone(image, near, 1 - 0.4 * power), mask, 1 - (0.25 + 0.7 * power))


def planned(scene: Scene) -> Cell:
    if not isinstance(scene.plan, Cell):
        raise TypeError("this fault needs a solar cell's plan of conductors.")
    return scene.plan
