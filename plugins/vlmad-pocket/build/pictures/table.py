"""The table of layouts: how often each comes and which materials have it."""

from collections.abc import Callable

import numpy as np

from pictures import layouts
from pictures.baked import baked
from pictures.materials import Material
from pictures.noise import Rng
from pictures.photovoltaic import solar_cell
from pictures.scene import Scene
from pictures.weave import cloth

LAYOUTS: dict[str, tuple[Callable[[Rng, int, Material], Scene], float]] = {
    "texture": (layouts.texture, 0.28),
    "single": (layouts.single, 0.22),
    "array": (layouts.array, 0.09),
    "cells": (layouts.cells, 0.09),
    "bars": (layouts.bars, 0.10),
    "seam": (layouts.seam, 0.05),
    "close-up": (layouts.closeup, 0.07),
    "assembly": (layouts.assembly, 0.05),
    "printed": (layouts.printed, 0.05),
    "solar cell": (solar_cell, 2.0),
    "weave": (cloth, 1.5),
    "baked": (baked, 1.0),
}
"""Every layout with how often it comes, relative to the others that a material can have."""

ONLY = {
    "solar cell": ("crystalline wafer", "even wafer"),
    "weave": ("woven fabric",),
    "baked": ("crust", "crumb", "husk", "chocolate", "scanned food"),
}
"""Layouts that only some materials have."""


def draw_layout(rng: Rng, material: Material) -> str:
    """The name of a layout for this material."""
    names = [name for name in LAYOUTS if material.name in ONLY.get(name, (material.name,))]
    shares = np.array([LAYOUTS[name][1] for name in names])
    return names[int(rng.choice(len(names), p=shares / shares.sum()))]
