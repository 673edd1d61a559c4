"""The smallest defects: what got into a sheet or a body when it was made, of a pixel or a few."""

import numpy as np

from pictures.marks import Point, scatter, spot_in, strokes, walk
from pictures.noise import Array, Rng, between, blend, colour, pick
from pictures.scene import Scene


def impurity(rng: Rng, scene: Scene, image: Array, where: Array, power: float, span: float) -> Array:
    """Specks of a pixel or a few, shives of wood, bits of colour."""
    size, at = len(image), spot_in(rng, where)
    way = rng.random()
    if way < 0.5:
        count = int(pick(rng, 1, 1, 2, 4, 10))
        mask = scatter(rng, size, at, span * 0.3 * (count > 1), count, between(rng, 0.004, 0.015))
    else:
        paths: list[list[Point]] = [
            walk(rng, at if k == 0 else spot_in(rng, where), between(rng, 0.015, 0.09), rng.uniform(0, 0.8))
            for k in range(int(pick(rng, 1, 1, 2, 3)))
        ]
        mask = strokes(size, paths, [between(rng, 0.004, 0.012)] * len(paths))
    bright = image.mean() < 0.25
    body = colour(rng, (0.02, 0.12), (0.1, 0.7), (0.6, 1.0) if bright else (0.03, 0.35))
    if way > 0.85:
        body = colour(rng, (0, 1), (0.4, 0.9), (0.2, 0.9))
    return blend(image, np.zeros_like(image) + body, mask * where * np.float32(0.2 + 0.8 * power))
