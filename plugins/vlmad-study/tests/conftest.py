from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vlmad_core.registry.component import Recipe
from vlmad_core.registry.registry import Registry
from vlmad_core.testing import memory_registry

WORDS = {
    "backbone": "tiny",
    "extractor": {"use": "patches", "config": {"space": "both"}},
    "prompts": "templates",
    "scorers": [{"use": "text-match", "config": {"levels": ["block*"]}, "optional": True}],
}
BOTH = {**WORDS, "scorers": [*WORDS["scorers"], {"use": "memory", "config": {"levels": ["raw*"]}}]}
MEMORY = {"backbone": "tiny", "extractor": {"use": "patches", "config": {"space": "raw"}}, "scorers": ["memory"]}


@pytest.fixture
def registry() -> Registry:
    """The built-ins, the tiny backbone, and three recipes."""
    return memory_registry(
        recipes=[
            Recipe(name="words", spec=WORDS, summary="Words.", few_shot="words-few-shot"),
            Recipe(name="words-few-shot", spec=BOTH, summary="Words and a memory."),
            Recipe(name="remember", spec=MEMORY, summary="A memory."),
        ]
    )


@pytest.fixture
def make_data(tmp_path: Path) -> Callable[..., Path]:
    """A data set in MVTec's layout: noise, with a bright square where it is defective."""

    def make(categories: int = 2, normal: int = 5, good: int = 3, bad: int = 3, name: str = "things") -> Path:
        root, rng = tmp_path / name, np.random.default_rng(0)
        for category in range(categories):
            for kind, count in (("train/good", normal), ("test/good", good), ("test/hole", bad)):
                for i in range(count):
                    pixels = rng.integers(60, 160, (40, 48, 3), np.uint8)
                    mask = np.zeros((40, 48), np.uint8)
                    if kind == "test/hole":
                        mask[8 + i : 20 + i, 10:24] = 255
                        pixels[mask > 0] = 240
                        save(mask, root / f"kind_{category}/ground_truth/hole/{i:03}_mask.png")
                    save(pixels, root / f"kind_{category}/{kind}/{i:03}.png")
        return root

    return make


@pytest.fixture
def data(make_data: Callable[..., Path]) -> Path:
    return make_data()


@pytest.fixture
def make_plan(data: Path) -> Callable[..., dict[str, Any]]:
    def make(**changes: Any) -> dict[str, Any]:
        return {"data": str(data), "methods": ["words", "remember"], "resolution": 32, **changes}

    return make


def save(pixels: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
