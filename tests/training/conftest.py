"""Tiny things to train: a linear map on frozen tokens, learned words, and pictures whose defects are squares."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vlmad_core import build
from vlmad_core.datasets.base import Dataset, Sample
from vlmad_core.pipeline.pipeline import Pipeline
from vlmad_core.registry import Component, Recipe
from vlmad_core.registry.registry import Registry
from vlmad_core.testing import memory_registry, tiny_backbone
from vlmad_core.training.curves import Curves

HERE = Path(__file__).parent

WORDS = {"use": "text-match", "config": {"temperature": 0.1, "regions": "arithmetic"}}
SPEC = {"backbone": "tiny", "extractor": "tiny-map", "prompts": "templates", "scorers": [WORDS]}


def tiny_registry() -> Registry:
    parts = "tiny_parts"
    return memory_registry(
        extractors=[
            Component(name="tiny-map", target=f"{parts}:Map", summary="A linear map after frozen tokens."),
            Component(name="tiny-whole", target=f"{parts}:Whole", summary="The same, without a frozen part."),
            Component(name="tiny-twice", target=f"{parts}:Twice", summary="Two levels of it."),
            Component(name="tiny-noise", target=f"{parts}:Noise", summary="The same, with dropout."),
        ],
        prompts=[Component(name="tiny-word", target=f"{parts}:Word", summary="Two learned text_embeddings.")],
        recipes=[
            Recipe(
                name="tiny-map",
                spec=SPEC,
                summary="A map.",
                paper="Nobody, 2020",
                training={"epochs": 2, "lr": 0.01},
                checkpoint=f"{parts}:convert",
            )
        ],
    )


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HERE))


def no_pictures() -> None:
    """Pictures of curves take longer than these trainings."""
    Curves.draw = lambda curves: False  # type: ignore[method-assign]


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Curves, "draw", Curves.draw)  # put back at the end
    no_pictures()


def make_detector(extractor: str = "tiny-map", **changes: object) -> Pipeline:
    """A detector with something to learn; the same first parameters each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        detector = build(SPEC, extractor=extractor, backbone=tiny_backbone(), registry=tiny_registry(), **changes)
    detector.class_name = "thing"
    return detector


@pytest.fixture
def make() -> Callable[..., Pipeline]:
    return make_detector


def picture(rng: np.random.Generator, *, defect: bool) -> tuple[np.ndarray, np.ndarray]:
    image = rng.integers(60, 120, (32, 32, 3), dtype=np.uint8)
    mask = np.zeros((32, 32), np.uint8)
    if defect:
        row, column = rng.integers(0, 3, 2) * 8
        mask[row : row + 16, column : column + 16] = 1
        image[mask > 0] = 250
    return image, mask


def tiny_dataset(count: int = 12, *, seed: int = 0) -> Dataset:
    """Every second one is defective; two categories."""
    rng = np.random.default_rng(seed)
    samples = []
    for i in range(count):
        image, mask = picture(rng, defect=bool(i % 2))
        kind = "square" if i % 2 else "good"
        samples.append(Sample(image, bool(i % 2), f"thing_{i % 4 // 2}", "test", kind, (mask,) if i % 2 else ()))
    return Dataset.of("tiny-set", samples)


@pytest.fixture
def make_data() -> Callable[..., Dataset]:
    return tiny_dataset


@pytest.fixture
def data() -> Dataset:
    return tiny_dataset()


@pytest.fixture
def registry() -> Registry:
    return tiny_registry()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures in the layout of MVTec AD."""
    return write_folder(tmp_path / "mvtec")


def write_folder(root: Path, count: int = 6) -> Path:
    """The same kind of pictures in the layout of MVTec AD."""
    rng = np.random.default_rng(0)
    for i in range(count):
        image, mask = picture(rng, defect=bool(i % 2))
        kind = "square" if i % 2 else "good"
        for folder, pixels in (("test", image), ("ground_truth", mask * 255), ("train", image)):
            if (folder == "ground_truth" and kind == "good") or (folder == "train" and kind != "good"):
                continue
            name = f"{i:03}_mask.png" if folder == "ground_truth" else f"{i:03}.png"
            path = root / "thing" / folder / kind / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return root
