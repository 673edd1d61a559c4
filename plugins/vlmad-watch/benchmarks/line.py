"""A line as a camera shows it, from real images: parts that pass, with jitter, changing light, noise and compression.

Some parts get a defect that was cut out of a real image of a defect, by its mask. Nothing else is drawn by hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from PIL import Image
from scipy import ndimage

__all__ = ["FIRST", "FPS", "LENGTH", "PITCH", "VIEW", "Part", "make_parts", "write_video"]

FPS = 25
LENGTH, PITCH, HEIGHT, VIEW = 128, 160, 128, 288
"""Length of a part, distance from part to part, height and length of the view, in pixels."""
FIRST = VIEW - LENGTH
"""Where part 0 begins in the first frame: it has just entered."""
SPEED = 12.0
"""Pixels a frame: a part is wholly in view for about 13 frames."""


@dataclass(frozen=True)
class Part:
    """One part on the line.

    Args:
        image: ``[128, 128, 3]`` uint8.
        is_defective: Whether a real defect was pasted into it.
    """

    image: np.ndarray
    is_defective: bool


def make_parts(folder: Path, split: str, count: int, share: float, seed: int) -> list[Part]:
    """Parts from good images, each used as it is and mirrored; a share of them with a pasted defect.

    Args:
        folder: A category in the MVTec layout.
        split: ``train`` or ``test``.
        count: At most twice the good images of the split.
        share: With a defect, in [0, 1].
        seed: Of the order, the choice and the places.
    """
    random = np.random.default_rng(seed)
    good = [_read(path) for path in sorted((folder / split / "good").iterdir())]
    images = [*good, *(image[:, ::-1] for image in good)]
    order = random.permutation(len(images))[:count]
    defective = set(random.choice(count, round(share * count), replace=False).tolist())
    defects = sorted((folder / "test" / "defect").iterdir())
    parts = []
    for place, number in enumerate(order):
        image = images[number].copy()
        if place in defective:
            source = defects[int(random.integers(len(defects)))]
            image = _with_defect(image, source, folder / "ground_truth" / "defect", random)
        parts.append(Part(image, place in defective))
    return parts


def write_video(parts: list[Part], path: Path, seed: int, *, quality: int = 30) -> None:
    """Write H.264; the belt is grey, and everything that a cheap camera does is done to it.

    Args:
        parts: In the order in which they pass.
        path: ``.mp4``.
        seed: Of jitter, light and noise.
        quality: CRF of H.264: higher is smaller and worse.
    """
    random = np.random.default_rng(seed)
    frames = int((len(parts) - 1) * PITCH / SPEED)
    belt = _belt(parts, random)
    light, travel = 1.0, float(LENGTH)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": str(quality), "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = VIEW, HEIGHT, "yuv420p"
        for _ in range(frames):
            x = min(max(travel + random.normal(0, 0.5), 0.0), belt.shape[1] - VIEW - 2.0)
            window = belt[:, int(x) : int(x) + VIEW + 1].astype(np.float32)
            picture = window[:, :-1] * (1 - x % 1) + window[:, 1:] * (x % 1)
            picture = np.roll(picture, int(random.integers(-1, 2)), axis=0)
            light = float(np.clip(light + random.normal(0, 0.01), 0.9, 1.1))
            gain = light * (1 + random.normal(0, 0.02))
            if random.random() < 0.06:  # a passer-by, a door, a reflection: a bright or dark patch in one frame
                picture = picture + _patch(random)
            blur = max(0.0, random.normal(0.5, 0.25))
            picture = ndimage.gaussian_filter(picture, (0.2, blur, 0)) * gain + random.normal(0, 5, picture.shape)
            frame = av.VideoFrame.from_ndarray(np.clip(picture, 0, 255).astype(np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
            travel += SPEED
        container.mux(stream.encode())


def _belt(parts: list[Part], random: np.random.Generator) -> np.ndarray:
    belt = np.full((HEIGHT, VIEW + len(parts) * PITCH + VIEW, 3), 70, np.uint8)
    belt = np.clip(belt + ndimage.gaussian_filter(random.normal(0, 25, belt.shape), (1, 1, 0)), 0, 255).astype(np.uint8)
    for number, part in enumerate(parts):
        start = VIEW + number * PITCH
        belt[:, start : start + LENGTH] = part.image
    return belt


def _patch(random: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[:HEIGHT, :VIEW]
    centre, radius = (random.uniform(0, HEIGHT), random.uniform(0, VIEW)), random.uniform(8, 25)
    height = random.choice([-1, 1]) * random.uniform(20, 60)
    return (height * np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / (2 * radius**2)))[..., None]


def _with_defect(image: np.ndarray, source: Path, masks: Path, random: np.random.Generator) -> np.ndarray:
    """Paste the defect at a random place, its surroundings levelled to those of the place."""
    defect = _read(source).astype(np.float32)
    mask = np.asarray(Image.open(masks / f"{source.stem}_mask.png").convert("L").resize((LENGTH, HEIGHT))) > 127
    labels, count = ndimage.label(ndimage.binary_dilation(mask, iterations=2))
    largest = 1 + int(np.argmax(ndimage.sum_labels(mask, labels, range(1, count + 1))))
    rows, columns = ndimage.find_objects(labels)[largest - 1]
    piece, soft = (
        defect[rows, columns],
        ndimage.gaussian_filter((labels == largest)[rows, columns].astype(np.float32), 1),
    )
    height, width = soft.shape
    top, left = (int(random.integers(0, most + 1)) for most in (HEIGHT - height, LENGTH - width))
    out = image.astype(np.float32)
    place = out[top : top + height, left : left + width]
    level = np.median(out, axis=(0, 1)) - np.median(defect, axis=(0, 1))
    out[top : top + height, left : left + width] = place * (1 - soft[..., None]) + (piece + level) * soft[..., None]
    return np.clip(out, 0, 255).astype(np.uint8)


def _read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize((LENGTH, HEIGHT)))
