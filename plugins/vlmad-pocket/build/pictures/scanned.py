"""Surfaces with scanned relief and captured light: 29 normal maps and 284 material captures of ``@pmndrs/assets``, CC0.

They are a build input, not a part of this repository: ``fetch`` unpacks the npm package, and the environment variable
``POCKET_SCANS`` names the folder. Without it the generator works as before and has no scanned materials.
"""

import base64
import io
import os
import subprocess
import tarfile
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from pictures.noise import Array, Rng, between, field, grid, pick

PACKAGE = "@pmndrs/assets@1.7.0"
FOLDER = "POCKET_SCANS"
_CAPTURE = 128  # side of a material capture, enough for its soft highlights


def fetch(folder: Path) -> Path:
    """Download and unpack the package with npm; the folder for ``POCKET_SCANS``."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "package" / "normals").is_dir():
        subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        with tarfile.open(next(folder.glob("pmndrs-assets-*.tgz"))) as archive:
            archive.extractall(folder, filter="data")
    return folder / "package"


def available() -> bool:
    """Whether the environment names a folder that holds the scans."""
    return bool(os.environ.get(FOLDER)) and (Path(os.environ[FOLDER]) / "normals").is_dir()


def _images(kind: str) -> list[Image.Image]:
    images = []
    for path in sorted((Path(os.environ[FOLDER]) / kind).glob("*.webp.js")):
        text = path.read_text(encoding="ascii")
        data = base64.b64decode(text[text.index("base64,") + 7 : text.rindex("'")])
        images.append(Image.open(io.BytesIO(data)).convert("RGB"))
    return images


@lru_cache(maxsize=1)
def reliefs() -> list[Image.Image]:
    """Normal maps, each laid out twice in both directions, so that any window fits."""
    return [Image.fromarray(np.tile(np.asarray(image.resize((512, 512))), (2, 2, 1))) for image in _images("normals")]


@lru_cache(maxsize=1)
def captures() -> list[Array]:
    """How a ball of each material looks, ``[128, 128, 3]`` in 0..1."""
    side = (_CAPTURE, _CAPTURE)
    return [np.asarray(i.resize(side, Image.Resampling.BOX), np.float32) / 255 for i in _images("matcaps")]


def slopes(rng: Rng, size: int) -> tuple[Array, Array]:
    """The two slopes of a surface, ``[S, S]``: a scan through a window of its own, or a made relief, or none."""
    way = rng.random()
    if way < 0.65:
        scan = reliefs()[int(rng.integers(len(reliefs())))]
        turn, scale = pick(rng, 0, np.pi / 2, rng.uniform(0, 6.3)), between(rng, 0.4, 1.4) * 512 / size
        a, b = float(np.cos(turn) * scale), float(np.sin(turn) * scale)
        middle = 512 + rng.uniform(-100, 100, 2)
        row = (a, b, middle[0] - (a + b) * size / 2, -b, a, middle[1] - (a - b) * size / 2)
        window = scan.transform((size, size), Image.Transform.AFFINE, row, resample=Image.Resampling.BILINEAR)
        normal = np.asarray(window, np.float32)[..., :2] / 127.5 - 1
        strength = np.float32(between(rng, 0.25, 1.6))
        return normal[..., 0] * strength, normal[..., 1] * strength
    if way < 0.85:
        stretch = pick(rng, 1, 1, 4, 20)
        height = field(rng, size, zoom=between(rng, 0.8, 8), slope=pick(rng, 1.0, 1.5, 2.0), stretch=stretch)
        down, right = np.gradient(height * np.float32(between(rng, 0.2, 2.0) * size / 224))
        return right.astype(np.float32), down.astype(np.float32)
    flat = np.zeros((size, size), np.float32)
    return flat, flat


def scanned(rng: Rng, size: int) -> Array:
    """Colours ``[S, S, 3]``: a relief, bent as a whole, in the light of a material capture."""
    across, down = slopes(rng, size)
    x, y = grid(size)
    bend, lean = rng.normal(0, 0.5, 2), rng.normal(0, 0.25, 2)
    across = across + np.float32(bend[0]) * (x - np.float32(0.5)) + np.float32(lean[0])
    down = down + np.float32(bend[1]) * (y - np.float32(0.5)) + np.float32(lean[1])
    length = np.sqrt(1 + across * across + down * down)
    capture = captures()[int(rng.integers(len(captures())))]
    half = np.float32(_CAPTURE / 2 - 6)  # the rim of a capture is its ground
    column = (np.float32(_CAPTURE / 2) + half * across / length).astype(np.int32)
    row = (np.float32(_CAPTURE / 2) + half * down / length).astype(np.int32)
    colours = capture[row, column]
    if rng.random() < 0.3:  # grey, as most cameras of a line are
        colours = np.repeat(colours.mean(-1, keepdims=True), 3, -1)
    uneven = rng.uniform(0, 0.12) * field(rng, size, zoom=between(rng, 1, 8), slope=1.5)
    return (colours * (1 + uneven)[..., None]).astype(np.float32)
