"""The images on which an exported file is compared with its original: real ones, damaged copies, awkward files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from vlmad_core.contracts.images import open_image
from vlmad_core.inspection.calibration import Calibration

__all__ = ["GateImage", "damaged", "hard_images", "normal_files", "spread"]

_SIZE = (224, 288)


@dataclass(frozen=True)
class GateImage:
    """A file of the comparison.

    Args:
        path: Where it lies.
        kind: ``"real"``, ``"damaged"`` (a real or made image with a defect drawn on it), or ``"awkward"`` (a format or
            content in which two decoders may differ).
    """

    path: Path
    kind: str


def normal_files(calibration: Calibration | None, given: Iterable[Path]) -> dict[str, Path]:
    """Files with the contents of the images of a calibration, by their hash.

    Args:
        calibration: Its images name their files; a file that is not there any more, or changed, is passed over.
        given: Searched too.
    """
    if calibration is None:
        return {}
    images = (*calibration.references, *calibration.held_out, *calibration.defects)
    wanted = {image.digest for image in images}
    found: dict[str, Path] = {}
    for path in [*given, *(Path(image.name) for image in images)]:
        if wanted <= found.keys():
            break
        if path.is_file():
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            if digest in wanted:
                found.setdefault(digest, path)
    return found


def spread(paths: Sequence[Path], most: int) -> list[Path]:
    """At most so many, evenly taken from the whole list."""
    if len(paths) <= most:
        return list(paths)
    return [paths[round(i * (len(paths) - 1) / (most - 1))] for i in range(most)] if most > 1 else [paths[0]]


def hard_images(folder: Path, real: Sequence[Path], seed: int = 0) -> list[GateImage]:
    """Write damaged copies and awkward files into a folder.

    Args:
        folder: Theirs.
        real: Real images to damage; where there are none, made textures are damaged.
        seed: Of what is drawn.
    """
    rng = np.random.default_rng(seed)
    sources = [open_image(path) for path in spread(real, 12)] or [_texture(rng) for _ in range(4)]
    found = []
    for i, source in enumerate(sources):
        path = folder / f"damaged-{i:02}.png"
        damaged(source, rng).save(path)
        found.append(GateImage(path, "damaged"))
    first = sources[0]
    grey = np.asarray(first.convert("L"))
    awkward = {
        "black.png": Image.new("RGB", _SIZE, 0),
        "white.png": Image.new("L", _SIZE, 255),
        "noise.png": Image.fromarray(rng.integers(0, 256, (*_SIZE, 3), np.uint8)),
        "one-pixel.png": Image.new("RGB", (1, 1), (200, 30, 30)),
        "narrow.png": first.resize((max(1, first.width // 8), first.height)),
        "sixteen-bits.png": Image.fromarray(grey.astype(np.uint16) * 257),
        "palette.png": first.convert("P"),
        "cmyk.jpg": first.convert("CMYK"),
        "low-quality.jpg": first,
    }
    for name, image in awkward.items():
        image.save(folder / name, quality=30)  # which PNG knows nothing of
        found.append(GateImage(folder / name, "awkward"))
    alpha = first.convert("RGBA")
    alpha.putalpha(Image.fromarray(np.linspace(0, 255, grey.size).reshape(grey.shape).astype(np.uint8)))
    alpha.save(folder / "alpha.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    first.save(folder / "turned.jpg", exif=exif, quality=90)
    return [*found, GateImage(folder / "alpha.png", "awkward"), GateImage(folder / "turned.jpg", "awkward")]


def damaged(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A copy with a dark scratch, a bright stain or a patch from elsewhere; none of it sets a threshold."""
    pixels = np.asarray(image.convert("RGB")).astype(np.float32)
    height, width = pixels.shape[:2]
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    row, column = rng.uniform(0.3, 0.7) * height, rng.uniform(0.3, 0.7) * width
    reach = 0.12 * min(height, width)
    kind = rng.integers(3)
    if kind == 0:
        angle = rng.uniform(0, np.pi)
        along = (columns - column) * np.cos(angle) + (rows - row) * np.sin(angle)
        across = (rows - row) * np.cos(angle) - (columns - column) * np.sin(angle)
        pixels[(np.abs(along) < 2 * reach) & (np.abs(across) < max(1.0, reach / 10))] *= 0.3
    elif kind == 1:
        near = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (reach**2))[..., None]
        pixels += near * (255 - pixels) * 0.8
    else:
        inside = (np.abs(rows - row) < reach) & (np.abs(columns - column) < reach)
        pixels[inside] = np.roll(pixels, (height // 3, width // 3), (0, 1))[::-1][inside]
    return Image.fromarray(np.rint(pixels.clip(0, 255)).astype(np.uint8))


def _texture(rng: np.random.Generator) -> Image.Image:
    coarse = Image.fromarray(rng.integers(90, 170, (14, 18, 3), np.uint8))
    return coarse.resize((_SIZE[1], _SIZE[0]), Image.Resampling.BICUBIC)
