"""Trays of six cookies, as a packaging line has them: complete, or with one missing, doubled or moved.

Cut from photographs of single cookies (Amazon, CC BY-SA 4.0) and put on a piece of their own tray, so that every patch
of every picture is one of a good cookie or of the tray: only counts and places are wrong. In the way of MVTec LOCO AD
(Bergmann et al., IJCV 2022), whose breakfast box is such a product.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

__all__ = ["KINDS", "Scenes"]

KINDS = ("good", "missing", "doubled", "moved")
_SIZE, _COOKIE = (288, 432), 96


class Scenes:
    """Draws trays.

    Args:
        files: Photographs of single good cookies.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        cut = [_cut(np.asarray(Image.open(file).convert("RGB").resize((288, 384)))) for file in files]
        self.cookies = [cookie for cookie, _ in cut]
        self.tray = cut[0][1]

    def draw(self, kind: str, seed: int) -> Image.Image:
        """A tray of a kind; the same for the same seed."""
        rng = np.random.default_rng([KINDS.index(kind), seed])
        picture = self._empty(rng)
        slots = [(72 + 144 * row, 72 + 144 * column) for row in range(2) for column in range(3)]
        places = [(y + rng.uniform(-7, 7), x + rng.uniform(-7, 7)) for y, x in slots]
        which = int(rng.integers(6))
        if kind == "missing":
            del places[which]
        elif kind == "doubled":
            y, x = places[which]
            angle = rng.uniform(0, 2 * np.pi)
            places.append((y + 58 * np.sin(angle), x + 58 * np.cos(angle)))
        elif kind == "moved":
            y, x = places[which]
            angle = rng.uniform(0, 2 * np.pi)
            places[which] = (y + 44 * np.sin(angle), x + 44 * np.cos(angle))
        for y, x in places:
            self._put(picture, rng, y, x)
        return Image.fromarray(picture)

    def _empty(self, rng: np.random.Generator) -> NDArray[np.uint8]:
        height, width = _SIZE
        tile = np.concatenate([self.tray, self.tray[:, ::-1]], 1)
        tile = np.concatenate([tile, tile[::-1]], 0)
        y, x = rng.integers(tile.shape[0]), rng.integers(tile.shape[1])
        tile = np.roll(tile, (y, x), (0, 1))
        repeats = (-(-height // tile.shape[0]), -(-width // tile.shape[1]), 1)
        return np.tile(tile, repeats)[:height, :width].copy()

    def _put(self, picture: NDArray[np.uint8], rng: np.random.Generator, y: float, x: float) -> None:
        cookie = self.cookies[int(rng.integers(len(self.cookies)))].rotate(float(rng.uniform(0, 360)), expand=True)
        scale = _COOKIE * rng.uniform(0.94, 1.06) / max(cookie.getbbox()[2:])
        cookie = cookie.resize((round(cookie.width * scale), round(cookie.height * scale)))
        paper = Image.fromarray(picture)
        paper.paste(cookie, (round(x - cookie.width / 2), round(y - cookie.height / 2)), cookie)
        picture[:] = np.asarray(paper)


def _cut(photo: NDArray[np.uint8]) -> tuple[Image.Image, NDArray[np.uint8]]:
    """A cookie with transparency around it, and a square of the tray beside it."""
    values = photo.astype(np.float32)
    warm = ndimage.gaussian_filter(values[..., 0] - values[..., 2], 2) > 28
    labels, _ = ndimage.label(ndimage.binary_opening(warm, iterations=2))
    sizes = np.bincount(labels.ravel())[1:]
    mask = ndimage.binary_fill_holes(labels == 1 + int(sizes.argmax()))
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    alpha = ndimage.gaussian_filter(ndimage.binary_erosion(mask, iterations=1).astype(np.float32), 0.8)
    cookie = Image.fromarray(np.dstack([photo, (alpha * 255).astype(np.uint8)])[box])
    free = ndimage.distance_transform_edt(np.pad(~mask, 1, constant_values=False))[1:-1, 1:-1]
    free[:60] = free[-60:] = 0  # rails of the tray
    y, x = np.unravel_index(int(free.argmax()), free.shape)
    side = max(12, int(free.max() * 0.6))
    tray = photo[max(0, y - side) : y + side, max(0, x - side) : x + side]
    return cookie, tray
