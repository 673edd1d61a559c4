from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vlmad_core


def _write_images(folder: Path, count: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        pixels = np.random.default_rng(i).integers(100, 150, (6, 8, 3), np.uint8)
        Image.fromarray(pixels).resize((64, 48)).save(folder / f"{i:05}.png", compress_level=1)
    return folder


@pytest.fixture(scope="session")
def write_images() -> Callable[[Path, int], Path]:
    return _write_images


@pytest.fixture(scope="session")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small detector, calibrated."""
    images = _write_images(tmp_path_factory.mktemp("normals"), 20)
    made = vlmad_core.build("patch-memory", image_size=56).fit(images, calibrate=True)
    return made.save(tmp_path_factory.mktemp("detector") / "nut.vlmad")
