"""Every recipe that is a function of one image is exported with the scores and maps that torch gives."""

from __future__ import annotations

from pathlib import Path

import pytest

import vlmad_core
from vlmad_core.contracts import Backbone
from vlmad_core.pipeline import Pipeline
from vlmad_export import export_detector

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

POCKET = ["pocket", "pocket-few-shot", "patch-memory", "subspace"]
TINY = ["winclip", "winclip-few-shot", "april-gan", "april-gan-few-shot", "anomalyclip"]


def _ready(detector: Pipeline, normals: Path) -> Pipeline:
    """Fitted where it remembers; parts that learn are declared trained as they are, for their numbers mean nothing."""
    if any(parameter.requires_grad for parameter in detector.parameters()):
        detector.trained = {"data": {"name": "nothing"}}
    detector.class_name = "plate"
    return detector.fit(normals, "plate", calibrate=True) if detector.memory_scorers else detector.calibrate(normals)


def _tiny(recipe: str) -> Backbone:
    from tiny_clip import tiny_clip

    quick = recipe == "anomalyclip"
    return tiny_clip(
        "b16" if recipe.startswith("winclip") else "l14",
        activation="quick-gelu" if quick else "gelu",
        positions="bilinear" if quick else "bicubic",
    )


@pytest.mark.parametrize("recipe", [*POCKET, *TINY])
def test_a_recipe_is_exported_with_its_numbers(recipe: str, normals: Path, tmp_path: Path) -> None:
    backbone = {"backbone": _tiny(recipe)} if recipe in TINY else {}
    detector = _ready(vlmad_core.build(recipe, **backbone), normals)
    report = export_detector(detector, tmp_path / "d.onnx", images=normals, max_images=12)
    assert report.parity.score <= 1e-4 * max(1.0, report.parity.score_range[1])
    assert report.parity.map <= 1e-3 * max(1.0, report.parity.score_range[1])
    assert report.parity.changed == ()
    print(f"\n{recipe}: score {report.parity.score:.2g}, map {report.parity.map:.2g}")
