"""Many small JPEGs cut at random from the images of a folder, and a small detector fitted on some of them."""

from __future__ import annotations

import random
from pathlib import Path

from PIL import Image

import vlmad_core
from vlmad_core.contracts import find_images

__all__ = ["make_crops", "make_detector"]

_IN_A_FOLDER = 1000


def make_crops(source: Path, folder: Path, count: int, sides: tuple[int, int] = (64, 96)) -> Path:
    """Write ``count`` crops with sides drawn from ``sides``, a thousand a folder; those that are there stay."""
    pictures = [Image.open(path).convert("RGB") for path in find_images(source) if "ground_truth" not in str(path)]
    for i in range(count):
        path = folder / f"{i // _IN_A_FOLDER:03}" / f"{i:06}.jpg"
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        draw = random.Random(i)
        picture = draw.choice(pictures)
        width, height = draw.randint(*sides), draw.randint(*sides)
        left, top = draw.randint(0, picture.width - width), draw.randint(0, picture.height - height)
        picture.crop((left, top, left + width, top + height)).save(path, quality=90)
    return folder


def make_detector(images: Path, folder: Path, recipe: str, image_size: int) -> Path:
    """Fit on the first 24 crops and calibrate; a detector that is there stays."""
    if folder.exists():
        return folder
    normals = find_images(images)[:24]
    return vlmad_core.build(recipe, image_size=image_size).fit(normals, calibrate=True).save(folder)
