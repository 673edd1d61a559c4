"""Lower precision changes the tower alone; thresholds come from the exported file, and the gate compares decisions."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

import vlmad_core
import vlmad_edge
from vlmad_core.errors import ConfigError
from vlmad_core.pipeline import Pipeline
from vlmad_core.pipeline.decisions import StoredCalibration
from vlmad_export import export_detector, writers
from vlmad_export.exporting import Precision
from vlmad_export.graph import DetectorGraph
from vlmad_export.onnx_file import keep_outputs, to_onnx, tower_nodes
from vlmad_export.recalibrate import recalibrate
from vlmad_export.writers import OnnxWriter

pytestmark = pytest.mark.usefixtures("traced_once")


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_lower_precision_is_near_and_sets_its_own_thresholds(
    precision: Precision, fitted: Callable[[], Pipeline], normals: Path, tmp_path: Path
) -> None:
    detector = fitted()
    report = export_detector(detector, tmp_path / "plate.onnx", precision=precision, images=normals, max_images=12)
    assert report.recalibrated == 24
    assert 0 < report.parity.score < 0.05
    record = json.loads((tmp_path / "plate.json").read_text())
    scores = [image["score"] for image in record["calibration"]["references"]]
    assert scores != [image.score for image in detector.calibration.references]  # type: ignore[union-attr]
    assert record["decision"]["rule"]["threshold"] in scores
    assert vlmad_edge.load(report.model).predict(min(normals.iterdir())).verdict.label == "pass"
    assert detector.decision_rule().threshold not in scores  # the original keeps its own


def test_int8_quantises_products_with_weights_and_nothing_that_scores(
    fitted: Callable[[], Pipeline], normals: Path, tmp_path: Path
) -> None:
    report = export_detector(fitted(), tmp_path / "a.onnx", precision="int8", images=normals, max_images=8)
    model = onnx.load(report.model)
    makers = {name: node for node in model.graph.node for name in node.output}
    weights = {constant.name: constant.data_type for constant in model.graph.initializer}
    quantised = [
        node
        for node in model.graph.node
        if node.op_type in ("MatMul", "Gemm")
        and any(i in makers and makers[i].op_type == "DequantizeLinear" for i in node.input[:2])
    ]
    assert len(quantised) >= 4 * 3  # four products with weights a block, three blocks; and a projection
    assert onnx.TensorProto.INT8 in weights.values()
    top = [node for node in model.graph.node if node.op_type == "ReduceMax"]
    assert top, "the comparison with the memory is there"
    for node in top:
        product = makers[node.input[0]]
        assert all(makers[i].op_type != "DequantizeLinear" for i in product.input if i in makers)


@pytest.mark.parametrize("rotations", ["off", 3])
def test_a_remembered_image_is_scored_without_itself(rotations: object, fitted: Callable[..., Pipeline]) -> None:
    detector = fitted(references={"rotations": rotations})
    assert bool(detector.normals.get("rotations")) == (rotations != "off")
    writer = OnnxWriter()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writers, "to_onnx", to_onnx)  # the memory is another one than that of the others
        writer.prepare(DetectorGraph(detector), "fp32", [], lambda text: None)
    calibration = detector.calibration
    assert calibration is not None
    files = {image.digest: Path(image.name) for image in calibration.references}
    fresh = recalibrate(detector, writer.network(), files).calibration
    before = [image.score for image in calibration.references]
    np.testing.assert_allclose([image.score for image in fresh.references], before, atol=1e-5)
    assert fresh.folds == calibration.folds


def test_normal_images_that_are_gone_are_named(fitted: Callable[[], Pipeline], normals: Path, tmp_path: Path) -> None:
    detector = fitted()
    stored = detector.stored_calibration
    assert stored is not None
    moved = tuple(replace(image, digest=f"x{i}") for i, image in enumerate(stored.calibration.references))
    calibration = replace(stored.calibration, references=moved)
    detector.stored_calibration = StoredCalibration(calibration, stored.tokens)
    with pytest.raises(ConfigError, match="24 of them are not there"):
        export_detector(detector, tmp_path / "a.onnx", precision="int8", images=normals)
    assert list(tmp_path.iterdir()) == []


def test_the_tower_ends_where_features_begin(fitted: Callable[[], Pipeline]) -> None:
    graph = DetectorGraph(fitted())
    writer = OnnxWriter()
    writer.prepare(graph, "fp32", [], lambda text: None)
    boundary = graph.names[len(graph.results) :]
    inside = {node.op_type for node in tower_nodes(writer.model, boundary)}
    everything = {node.op_type for node in writer.model.graph.node}
    assert {"LayerNormalization", "Conv"} <= inside
    assert "TopK" in everything - inside
    kept = keep_outputs(writer.model, graph.results)
    assert len(kept.graph.node) <= len(writer.model.graph.node)


def test_openvino_files_agree_too(fitted: Callable[[], Pipeline], normals: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    detector = fitted()
    report = export_detector(detector, tmp_path / "plate.xml", to="openvino", images=normals, max_images=4)
    assert report.parity.score < 1e-5
    assert {path.name for path in tmp_path.iterdir()} == {"plate.xml", "plate.bin", "plate.json"}
    loaded = vlmad_core.load(report.model)
    path = min(normals.iterdir())
    assert loaded.predict(path).score == pytest.approx(detector.predict(path).score, abs=1e-5)
    with (tmp_path / "plate.bin").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ConfigError, match=r"plate\.bin: is not the file"):
        vlmad_core.load(report.model)
