from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

import vlmad_core
from vlmad_core.pipeline import Pipeline
from vlmad_core.testing import tiny_backbone
from vlmad_export import writers
from vlmad_export.graph import DetectorGraph
from vlmad_export.onnx_file import to_onnx


def _write_images(folder: Path, count: int, start: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(start, start + count):
        rng = np.random.default_rng(i)
        coarse = Image.fromarray(rng.integers(100, 150, (6, 8, 3), np.uint8))
        coarse.resize((64, 48), Image.Resampling.BICUBIC).save(folder / f"{i:03}.png")
    return folder


@pytest.fixture(scope="session")
def normals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty-four images of one texture."""
    return _write_images(tmp_path_factory.mktemp("normals"), 24)


@pytest.fixture(scope="session")
def write_images() -> Callable[..., Path]:
    return _write_images


@pytest.fixture(scope="session")
def fitted(normals: Path) -> Callable[..., Pipeline]:
    """A small detector that remembers normal images, calibrated with them; a new one at each call."""

    def make(**options: object) -> Pipeline:
        scorer = {"use": "memory", "config": {"levels": ["raw*"], "top": 0.05}}
        extractor = {"use": "patches", "config": {"layers": [2, 3], "space": "both"}}
        spec = {"backbone": "tiny", "extractor": extractor, "scorers": [scorer], "output": {"smooth": 1.0}, **options}
        detector = vlmad_core.build(spec, backbone=tiny_backbone(image_size=(32, 40)))
        return detector.fit(normals, "plate", calibrate=True)

    return make


@pytest.fixture(scope="session")
def traced_once(fitted: Callable[[], Pipeline]) -> Iterator[None]:
    """The small detector is traced once in all tests, which takes seconds; other detectors are traced as they are."""
    found = to_onnx(DetectorGraph(fitted()))

    def cached(graph: DetectorGraph) -> onnx.ModelProto:
        if graph.size != (32, 40):
            return to_onnx(graph)
        copy = onnx.ModelProto()
        copy.CopyFrom(found)
        return copy

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writers, "to_onnx", cached)
        with contextlib.suppress(ImportError):  # without OpenVINO its tests are skipped
            patch.setattr("vlmad_export.openvino_file.to_onnx", cached)
        yield
