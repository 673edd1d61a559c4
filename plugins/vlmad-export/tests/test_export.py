"""An exported file gives the scores, maps and decisions of its original, or is not written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

import vlmad_core
import vlmad_edge
from vlmad_core.cli.__main__ import main
from vlmad_core.errors import ConfigError, IncompatibleError, VlmadError
from vlmad_core.inspection.verdict import Verdict
from vlmad_core.pipeline import Pipeline
from vlmad_core.run import read_results
from vlmad_core.testing import tiny_backbone
from vlmad_export import ExportedPipeline, export_detector, exporting, parity
from vlmad_export.exporting import ExportReport
from vlmad_export.parity import Limits

PATCHES = {"use": "patches", "config": {"layers": [2, 3], "space": "raw"}}


@pytest.fixture(scope="module")
def exported(
    fitted: Callable[[], Pipeline], normals: Path, tmp_path_factory: pytest.TempPathFactory, traced_once: None
) -> tuple[Pipeline, ExportReport]:
    detector = fitted()
    out = tmp_path_factory.mktemp("export") / "plate.onnx"
    return detector, export_detector(detector, out, images=normals, max_images=6)


def test_scores_maps_and_decisions_are_those_of_the_original(
    exported: tuple[Pipeline, ExportReport], write_images: Callable[..., Path], tmp_path: Path
) -> None:
    detector, report = exported
    edge = vlmad_edge.load(report.model)
    for path in sorted(write_images(tmp_path, 10, start=500).iterdir()):
        before, after = detector.predict(path), edge.predict(path)
        assert after.score == pytest.approx(before.score, abs=1e-5)
        np.testing.assert_allclose(after.raw_map, before.raw_map, atol=1e-5)
        np.testing.assert_allclose(after.class_token, before.class_token, atol=1e-5)
        np.testing.assert_allclose(after.anomaly_map, before.anomaly_map, atol=1e-5)
        ours, theirs = after.verdict, detector.verdict(before)
        assert (ours.label, ours.threshold, ours.p_value) == (theirs.label, theirs.threshold, theirs.p_value)
        assert ours.class_p_value == theirs.class_p_value is not None


def test_the_comparison_is_stored_with_the_file(exported: tuple[Pipeline, ExportReport]) -> None:
    record = json.loads(exported[1].model.with_suffix(".json").read_text())
    assert record["parity"]["real"] == 6
    assert record["parity"]["made"] > 10
    assert record["parity"]["changed"] == []
    assert 0 <= record["parity"]["score"] < 1e-5
    assert record["preprocess"]["divide_by"] == 255


def test_any_number_of_images_goes_through_at_once(exported: tuple[Pipeline, ExportReport], normals: Path) -> None:
    edge = vlmad_edge.load(exported[1].model)
    paths = sorted(normals.iterdir())[:5]
    alone = [edge.predict(path).score for path in paths]
    together = [found.score for found in edge.predict_batch(paths)]
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_the_file_holds_no_path_and_no_feature_output(exported: tuple[Pipeline, ExportReport]) -> None:
    model = onnx.load(exported[1].model)
    assert [output.name for output in model.graph.output] == ["score", "anomaly_map", "class_token"]
    assert b"site-packages" not in exported[1].model.read_bytes()
    assert b"vlmad_core" not in exported[1].model.read_bytes()


def test_the_core_loads_it_and_judges_with_it(exported: tuple[Pipeline, ExportReport], normals: Path) -> None:
    detector, report = exported
    loaded = vlmad_core.load(report.model)
    assert isinstance(loaded, ExportedPipeline)
    path = min(normals.iterdir())
    before, after = detector.predict(path), loaded.predict(path)
    assert after.score == pytest.approx(before.score, abs=1e-5)
    assert loaded.verdict(after).label == detector.verdict(before).label
    assert loaded.decision_rule().threshold == detector.decision_rule().threshold


def test_predict_takes_it_for_a_detector(
    exported: tuple[Pipeline, ExportReport], normals: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["predict", str(normals), "--detector", str(exported[1].model), "--out", str(tmp_path / "run")])
    assert left.value.code == 0, capsys.readouterr().err
    results = list(read_results(tmp_path / "run"))
    assert len(results) == 24
    assert {result.verdict for result in results} <= {"pass", "review"}


def test_another_class_name_is_refused(exported: tuple[Pipeline, ExportReport], normals: Path) -> None:
    with pytest.raises(ConfigError, match=r"exported for the class name 'plate'.*got 'bolt'"):
        vlmad_core.load(exported[1].model).predict(min(normals.iterdir()), "bolt")


def test_its_parts_cannot_be_exchanged(exported: tuple[Pipeline, ExportReport], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"output\.smooth cannot be changed"):
        vlmad_core.load(exported[1].model, overrides={"output.smooth": 2.0})
    with pytest.raises(ConfigError, match="cannot be saved again"):
        vlmad_core.load(exported[1].model).save(tmp_path / "copy")


def test_a_difference_stops_the_export_and_leaves_nothing(
    fitted: Callable[[], Pipeline], normals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, traced_once: None
) -> None:
    monkeypatch.setattr("vlmad_export.parity.limits_of", lambda precision: Limits(-1.0, 1.0, 0.0, 1.0))
    with pytest.raises(VlmadError, match="nothing was written: a score differs"):
        export_detector(fitted(), tmp_path / "plate.onnx", images=normals, max_images=2)
    assert list(tmp_path.iterdir()) == []


def test_what_compares_images_of_a_batch_is_refused(normals: Path, tmp_path: Path) -> None:
    scorer = {"use": "musc", "config": {"levels": ["raw*"]}}
    spec = {"backbone": "tiny", "extractor": PATCHES, "scorers": [scorer]}
    detector = vlmad_core.build(spec, backbone=tiny_backbone()).fit(normals)
    with pytest.raises(IncompatibleError, match="scorer 'musc' cannot be exported: it compares the images of a batch"):
        export_detector(detector, tmp_path / "a.onnx")


def test_prompts_that_look_at_the_image_are_refused(fitted: Callable[[], Pipeline], tmp_path: Path) -> None:
    detector = vlmad_core.build("april-gan", backbone=tiny_backbone())
    assert detector.prompts is not None
    detector.prompts.per_image = True  # type: ignore[misc]
    with pytest.raises(IncompatibleError, match="computed anew from the features of each image"):
        export_detector(detector, tmp_path / "a.onnx")


def test_an_option_of_the_pixels_that_is_unknown_is_refused(
    fitted: Callable[[], Pipeline], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vlmad_export.graph._PREPROCESS", {"size", "mean", "std", "bits"})
    with pytest.raises(IncompatibleError, match="'interpolation' cannot be exported"):
        export_detector(fitted(), tmp_path / "a.onnx")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"image_size": "fit"}, "image_size: fit"),
        ({"overrides": {"tiles": {"when": "auto"}}}, "tiles"),
        ({"overrides": {"scales": [32, 64]}}, "scales"),
    ],
)
def test_an_input_of_several_sizes_is_refused_by_name(options: dict[str, object], named: str, tmp_path: Path) -> None:
    detector = vlmad_core.build("patch-memory", backbone=tiny_backbone(), extractor=PATCHES, **options)  # type: ignore[arg-type]
    with pytest.raises(IncompatibleError, match=f"'{named}' cannot be exported"):
        export_detector(detector, tmp_path / "a.onnx")


def test_an_unfitted_detector_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VlmadError, match="was fitted on no normal image"):
        export_detector(
            vlmad_core.build("patch-memory", backbone=tiny_backbone(), extractor=PATCHES), tmp_path / "a.onnx"
        )


@pytest.mark.parametrize(("name", "to"), [("a.xml", "onnx"), ("a.onnx", "openvino"), ("a", "onnx")])
def test_an_ending_of_another_runtime_is_refused(
    name: str, to: exporting.Runtime, fitted: Callable[[], Pipeline], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="give that as --out"):
        export_detector(fitted(), tmp_path / name, to=to)


def test_a_lower_precision_needs_images(tmp_path: Path) -> None:
    arrays = [np.random.default_rng(i).integers(0, 256, (40, 40, 3), np.uint8) for i in range(9)]  # which have no files
    detector = vlmad_core.build("patch-memory", backbone=tiny_backbone(), extractor=PATCHES).fit(arrays)
    with pytest.raises(ConfigError, match="needs at least 8 images of good parts, and 0 were found"):
        export_detector(detector, tmp_path / "a.onnx", precision="int8")


def test_the_core_refuses_a_file_without_its_record_in_a_sentence(
    exported: tuple[Pipeline, ExportReport], normals: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lonely = tmp_path / "plate.onnx"
    lonely.write_bytes(exported[1].model.read_bytes())
    with pytest.raises(SystemExit) as left:
        main(["predict", str(normals), "--detector", str(lonely)])
    assert left.value.code == 1
    error = " ".join(capsys.readouterr().err.split())
    assert "plate.json is missing beside it" in error
    assert "an error inside vlmad" not in error


def test_without_the_plugin_the_core_says_what_to_install(
    exported: tuple[Pipeline, ExportReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr("vlmad_core.pipeline.exported.import_module", missing)
    with pytest.raises(ConfigError, match="pip install vlmad-export"):
        vlmad_core.load(exported[1].model)


def test_a_score_that_is_the_threshold_is_a_tie_and_no_change() -> None:
    at = Verdict("reject", 0.5 + 1e-7, threshold=0.5, confidence=0.51)
    above = Verdict("reject", 0.501, threshold=0.5, confidence=0.51)
    assert parity._is_tie(at, 1e-5)
    assert not parity._is_tie(above, 1e-5)
