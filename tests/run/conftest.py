from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlmad_core.pipeline.build import build
from vlmad_core.pipeline.pipeline import Pipeline
from vlmad_core.testing import memory_registry

SPEC = {"backbone": "tiny", "extractor": {"use": "patches", "config": {"space": "raw"}}, "scorers": ["memory"]}


def draw_pictures(folder: Path, count: int, size: tuple[int, int] = (40, 48), seed: int = 0) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    paths = [folder / f"{i:03}.png" for i in range(count)]
    for path in paths:
        Image.fromarray(rng.integers(0, 255, (*size, 3), np.uint8)).save(path)
    return paths


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    return draw_pictures(tmp_path / "pictures", 12)


@pytest.fixture
def make_pipeline(tmp_path: Path) -> Callable[..., Pipeline]:
    def make(**changes: object) -> Pipeline:
        pipeline = build(SPEC, overrides=changes, registry=memory_registry())
        return pipeline.fit(draw_pictures(tmp_path / "normals", 3, seed=1), "noise")

    return make


@pytest.fixture
def pipeline(make_pipeline: Callable[..., Pipeline]) -> Pipeline:
    return make_pipeline()
