# ruff: noqa: D103 (one signature, told above; each name says what it draws)
# ruff: noqa: E501 (tables of words are read by row)
"""Arrangements of things in the frame: what is inspected, on which ground, alone, in rows or as a regular pattern."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pictures import materials
from pictures.belonging import belonging, clutter
from pictures.materials import Material
from pictures.noise import Array, Rng, between, blend, colour, field, paint, pick, smooth, step, turned
from pictures.objects import NAMES, Item, name
from pictures.scene import Scene

PRINT = "ABCDEFGHKLMNPRSTUVXYZ0123456789"


def ground(rng: Rng, size: int) -> Array:
    """What things lie on, empty or with other things on it."""
    back = plain_ground(rng, size)
    return clutter(rng, back) if rng.random() < 0.15 else back


def plain_ground(rng: Rng, size: int) -> Array:
    """Black, white, grey, coloured or a surface of its own."""
    chance = rng.random()
    if chance < 0.3:
        return paint(1 + 0.05 * field(rng, size, zoom=6, slope=2), colour(rng, (0, 1), (0, 0.3), (0.01, 0.12)))
    if chance < 0.55:
        return paint(1 + 0.02 * field(rng, size, zoom=8, slope=2), colour(rng, (0, 1), (0, 0.1), (0.8, 1.0)))
    if chance < 0.75:
        return paint(1 + 0.03 * field(rng, size, zoom=2, slope=1), colour(rng, (0, 1), (0, 0.6), (0.2, 0.8)))
    other = materials.ALL[int(rng.integers(len(materials.ALL)))]
    faint = rng.uniform(0.3, 1)
    drawn = other.draw(rng, size)
    return drawn.mean((0, 1)) * (1 - faint) + drawn * faint


def light(rng: Rng) -> dict[str, float]:
    return {
        "light": rng.uniform(0, 6.3),
        "shine": rng.uniform(0.05, 0.5),
        "bevel": between(rng, 0.008, 0.12),
        "shadow": pick(rng, 0, rng.uniform(0.1, 0.7)),
        "throw": between(rng, 0.008, 0.05),
    }


def shapes_of(material: Material) -> list[str]:
    return list(NAMES[material.family])


def pick_shape(rng: Rng, material: Material) -> str:
    return str(rng.choice(shapes_of(material)))


def texture(rng: Rng, size: int, material: Material) -> Scene:
    front = belonging(rng, material.draw(rng, size))
    return Scene(material, str(rng.choice(material.sheets)), "texture", front, front, everywhere=True)


def single(rng: Rng, size: int, material: Material) -> Scene:
    shape = pick_shape(rng, material)
    widen = (1.0, rng.uniform(0.8, 1.0)) if shape in ("blob", "seed", "box") else (1.0, 1.0)
    item = Item(
        shape, 0.5 + rng.normal(0, 0.03), 0.5 + rng.normal(0, 0.03), rng.uniform(0.25, 0.46),
        pick(rng, 0, np.pi / 2, -np.pi / 2, rng.uniform(0, 6.3)), widen, rng.random(5).astype(np.float32),
    )  # fmt: skip
    items = [item]
    if shape in ("disc", "box", "capsule", "flower", "gear") and rng.random() < 0.5:  # rims, recesses, caps
        inner = rng.uniform(0.4, 0.85)
        tone = rng.uniform(0.7, 1.25) * np.ones(3, np.float32)
        tone = colour(rng, (0, 1), (0, 0.8), (0.4, 1.2)) if shape == "capsule" else tone
        items.append(item.change(radius=item.radius * inner, tint=tone, rise=pick(rng, -0.6, 0.6)))
    scene = Scene(material, name(rng, material.family, shape), "single", belonging(rng, material.draw(rng, size)), ground(rng, size), items, **light(rng))  # fmt: skip
    if rng.random() < 0.2:
        add_print(rng, scene, size)
    return scene


def array(rng: Rng, size: int, material: Material) -> Scene:
    shape = pick_shape(rng, material)
    params = rng.random(5).astype(np.float32)
    count = int(rng.integers(2, 7))
    pitch, loose = 1 / count, pick(rng, 0.0, 0.02, rng.uniform(0.02, 0.12))
    radius, spin = pitch * rng.uniform(0.3, 0.46), rng.uniform(0, 6.3)
    natural = material.family in ("husk", "food")
    gappy = rng.random() < 0.1
    items = []
    for row in range(count):
        for column in range(count):
            if gappy and rng.random() < 0.5:
                continue
            angle = rng.uniform(0, 6.3) if loose > 0.02 else spin
            tone = np.float32(rng.normal(1, 0.1 if natural else 0.02)) * np.ones(3, np.float32)
            own = rng.random(5).astype(np.float32) if natural else params
            x, y = (
                (column + 0.5) * pitch + loose * pitch * rng.normal(),
                (row + 0.5) * pitch + loose * pitch * rng.normal(),
            )
            grown = radius * (rng.uniform(0.85, 1.05) if natural else 1.0)
            items.append(Item(shape, x, y, grown, angle, (1, 1), own, tone))
    look = light(rng)
    look["bevel"] = min(look["bevel"], radius * rng.uniform(0.3, 1.0))
    thing = name(rng, material.family, shape)
    return Scene(material, thing, "array", material.draw(rng, size), ground(rng, size), items, flags=frozenset({"many"}), **look)  # fmt: skip


def cells(rng: Rng, size: int, material: Material) -> Scene:
    """A regular grid of flat cells with joints between them."""
    across, down = int(rng.integers(2, 11)), int(rng.integers(2, 11))
    down = across if rng.random() < 0.6 else down
    gap = between(rng, 0.02, 0.14)
    border, spread = pick(rng, 0, 0, rng.uniform(0.02, 0.1)), pick(rng, 0.0, 0.02, 0.1)
    wide, high = (1 - 2 * border) / across, (1 - 2 * border) / down
    radius = wide * (1 - gap) / 2
    corner = pick(rng, 0.0, 0.2, 0.6)
    items = []
    for row in range(down):
        for column in range(across):
            tone = np.float32(rng.normal(1, spread)) * np.ones(3, np.float32)
            x, y = border + (column + 0.5) * wide, border + (row + 0.5) * high
            # With 1 as first parameter the box is 0.95 as tall as it is wide.
            params = np.array([1, corner, 0, 0, 0], np.float32)
            widen = (1.0, high * (1 - gap) / 2 / radius / 0.95)
            items.append(Item("box", x, y, radius, 0.0, widen, params, tone))
    noun = {"wafer": "solar panel|photovoltaic module|cell array", "board": "electronic array|chip panel", "stone": "tiled wall|paving|tiled floor",
            "metal": "grating|metal panel array|key plate", "plastic": "keypad|tray|plastic grid", "food": "chocolate bar|waffle"}.get(material.family, "panel|grid|tile pattern")  # fmt: skip
    look = light(rng)
    look["bevel"] = radius * between(rng, 0.05, 0.6)
    look["throw"] = 0.006
    back = paint(1 + 0.06 * field(rng, size, slope=1.0), colour(rng, (0, 1), (0, 0.2), (0.02, 0.95)))
    return Scene(material, str(rng.choice(noun.split("|"))), "cells", material.draw(rng, size), back, items, everywhere=True, flags=frozenset({"many", "regular"}), **look)  # fmt: skip


def bars(rng: Rng, size: int, material: Material) -> Scene:
    """Straight lines over a surface: conductors, wires, ribs, stripes, joints. They belong to it."""
    ground_texture = material.draw(rng, size)
    items: list[Item] = []
    tone = colour(rng, (0, 1), (0, pick(rng, 0.1, 0.7)), (0.1, 1.0))
    turn = pick(rng, 0, np.pi / 2) + pick(rng, 0, 0, rng.normal(0, 0.1))
    sets = [(turn, int(rng.integers(1, 6)), between(rng, 0.004, 0.03))]
    if rng.random() < 0.45:  # fine fingers across the wide conductors
        sets.append((turn + np.pi / 2, int(rng.integers(8, 36)), between(rng, 0.0015, 0.005)))
    for angle, count, half in sets:
        for k in range(count):
            offset = (k + 0.5) / count - 0.5
            x, y = 0.5 - np.sin(angle) * offset, 0.5 + np.cos(angle) * offset
            # A rod is 0.155 of its radius to each side at 0.5 as parameter.
            items.append(Item("rod", x, y, 0.75, angle, (1.0, half / 0.75 / 0.155), tint=tone))
    look = light(rng)
    look["bevel"], look["shine"] = 0.01, rng.uniform(0, 0.25)
    front = paint(1 + 0.04 * field(rng, size, slope=0.6), np.full(3, rng.uniform(0.6, 1), np.float32))
    return Scene(material, str(rng.choice(material.sheets)), "bars", front, ground_texture, items, everywhere=True, flags=frozenset({"many", "regular"}), **look)  # fmt: skip


def seam(rng: Rng, size: int, material: Material) -> Scene:
    """Two surfaces that meet, with a groove, a weld, a stitch line or nothing between them."""
    near = [one for one in materials.ALL if one.family == material.family]
    other = material if rng.random() < 0.4 else near[int(rng.integers(len(near)))]
    first, second = material.draw(rng, size), other.draw(rng, size)
    x, y = turned(size, pick(rng, 0, np.pi / 2) + rng.normal(0, 0.15))
    edge = y - np.float32(rng.uniform(-0.3, 0.3)) + np.float32(pick(rng, 0, 0.01)) * field(rng, size, zoom=5, slope=2)
    front = blend(first, second, step(edge, -0.5 / size, 0.5 / size))
    half = between(rng, 0.004, 0.05)
    groove = step(-np.abs(edge), -half, -half * rng.uniform(0, 0.8))
    style = rng.random()
    if style < 0.5:
        front = front * (1 - rng.uniform(0.2, 0.8) * groove)[..., None]
    elif style < 0.75:  # a weld of scales, or stitches
        scales = 0.8 + 0.3 * np.abs(np.sin(x * between(rng, 40, 150) + 200 * edge * edge))
        front = blend(front, paint(scales.astype(np.float32), colour(rng, (0, 1), (0, 0.3), (0.2, 0.9))), groove)
    return Scene(material, str(rng.choice(material.sheets)), "seam", front, front, everywhere=True)


def closeup(rng: Rng, size: int, material: Material) -> Scene:
    """A thing so near that its border crosses the frame."""
    shape = pick_shape(rng, material)
    angle, away = rng.uniform(0, 6.3), rng.uniform(0.3, 0.7)
    radius = rng.uniform(0.6, 1.3)
    x, y = 0.5 + np.cos(angle) * away * radius, 0.5 + np.sin(angle) * away * radius
    item = Item(shape, x, y, radius, rng.uniform(0, 6.3), (1, 1), rng.random(5).astype(np.float32))
    thing = name(rng, material.family, shape)
    return Scene(
        material, thing, "close-up", belonging(rng, material.draw(rng, size)), ground(rng, size), [item], **light(rng)
    )


def assembly(rng: Rng, size: int, material: Material) -> Scene:
    """A carrier with parts on it: screws, caps, chips, pins."""
    params = rng.random(5).astype(np.float32)
    wide = rng.uniform(0.34, 0.47)
    items = [
        Item(
            "box",
            0.5,
            0.5,
            wide,
            rng.normal(0, 0.03),
            (1.0, 1.0),
            np.array([rng.uniform(0.5, 1), 0.3, 0, 0, 0], np.float32),
        )
    ]
    shape = str(rng.choice(["disc", "ring", "nut", "capsule", "box", "gear", "star", "comb"]))
    across, down = int(rng.integers(1, 5)), int(rng.integers(1, 4))
    across = 2 if across * down < 2 else across
    small = min(0.8 * wide / across, 0.5 * wide / down) * rng.uniform(0.35, 0.75)
    tone = colour(rng, (0, 1), (0, pick(rng, 0.1, 0.8)), (0.2, 1.4))
    spin = pick(rng, 0, rng.uniform(0, 6.3))
    for row in range(down):
        for column in range(across):
            x = 0.5 + ((column + 0.5) / across - 0.5) * 1.7 * wide
            y = 0.5 + ((row + 0.5) / down - 0.5) * 1.0 * wide
            items.append(Item(shape, x, y, small, spin, (1, 1), params, tone))
    look = light(rng)
    look["bevel"] = min(look["bevel"], 0.02)
    thing = str(rng.choice(["assembly", "control panel", "cover plate", "device", "module", "junction box"]))
    return Scene(material, thing, "assembly", material.draw(rng, size), ground(rng, size), items, flags=frozenset({"many", "parts"}), **look)  # fmt: skip


def printed(rng: Rng, size: int, material: Material) -> Scene:
    scene = texture(rng, size, material)
    scene.layout = "printed"
    add_print(rng, scene, size)
    return scene


def add_print(rng: Rng, scene: Scene, size: int) -> None:
    """Letters, a frame, a logo or a bar code, in ink that stands out from what it is on."""
    image = Image.new("L", (size, size))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(1, 4))):
        x, y, wide = rng.uniform(0.1, 0.5) * size, rng.uniform(0.15, 0.75) * size, rng.uniform(0.1, 0.4) * size
        chance = rng.random()
        if chance < 0.55:
            word = "".join(rng.choice(list(PRINT), int(rng.integers(2, 8))))
            draw.text((x, y), word, fill=255, font=lettering(int(pick(rng, 10, 14, 20, 28, 40) * size / 224)))
        elif chance < 0.7:
            for k in range(int(rng.integers(8, 25))):
                draw.rectangle((x + k * 4, y, x + k * 4 + int(rng.integers(0, 3)), y + wide / 2), fill=255)
        elif chance < 0.85:
            draw.ellipse((x, y, x + wide, y + wide), outline=255, width=int(rng.integers(1, 5)))
        else:
            draw.rectangle((x, y, x + wide, y + wide / 2), outline=255, width=int(rng.integers(1, 5)))
    angle = float(pick(rng, 0, 0, 90, rng.uniform(-30, 30)))
    turned_print = image.rotate(angle, Image.Resampling.BILINEAR)
    scene.ink = smooth(np.asarray(turned_print, np.float32) / 255, 0.5)
    dark = scene.front.mean() > 0.45
    scene.ink_colour = colour(rng, (0, 1), (0, 0.7), (0, 0.2) if dark else (0.75, 1.0))
    scene.flags = scene.flags | {"print"}


_FONTS: dict[int, ImageFont.FreeTypeFont | ImageFont.ImageFont] = {}


def lettering(points: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    if points not in _FONTS:
        _FONTS[points] = ImageFont.load_default(points)
    return _FONTS[points]
