from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vlmad_core import Pipeline, build, load
from vlmad_core.errors import ConfigError, ImageError
from vlmad_core.inspection.calibration import ImageScore, outliers
from vlmad_core.pipeline import calibrate
from vlmad_core.pipeline.calibrate import fold_of
from vlmad_core.pipeline.calibration_file import CALIBRATION
from vlmad_core.testing import memory_registry, tiny_backbone

REGISTRY = memory_registry()
PATCHES = {"use": "patches", "config": {"space": "raw"}}
BOTH_SPACES = {"use": "patches", "config": {"space": "both"}}
MEMORY = {"backbone": "tiny", "extractor": PATCHES, "scorers": ["memory"]}
TEXT = {"backbone": "tiny", "extractor": "patches", "prompts": "templates", "scorers": ["text-match"]}
BOTH = {
    "backbone": "tiny",
    "extractor": BOTH_SPACES,
    "prompts": "templates",
    "scorers": [
        {"use": "text-match", "config": {"levels": ["block*"]}},
        {"use": "memory", "config": {"levels": ["raw*"]}},
    ],
}


def draw(count: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in range(count)]


def make(spec: dict = MEMORY) -> Pipeline:
    return build(spec, backbone=tiny_backbone(), registry=REGISTRY)


def fitted(count: int = 20, spec: dict = MEMORY, **more) -> Pipeline:
    return make(spec).fit(draw(count), "noise", calibrate=True, batch_size=1, **more)


@pytest.mark.parametrize("spec", [MEMORY, BOTH], ids=["memory", "text and memory"])
def test_leave_one_out_is_refitting_without_that_image_bit_by_bit(spec):
    images = draw(4)
    detector = fitted(4, spec)
    assert detector.calibration.folds == 4
    for i, image in enumerate(images):
        alone = make(spec).fit([*images[:i], *images[i + 1 :]], "noise", batch_size=1)
        expected = alone.predict(image)
        found = detector.calibration.references[i]
        assert found.score == expected.score
        assert found.tail[0] == expected.raw_map.max()


def test_k_fold_is_refitting_without_that_fold(monkeypatch):
    monkeypatch.setattr(calibrate, "_LEAVE_ONE_OUT_MONOTONE", 12)
    images = draw(13)
    detector = fitted(13)
    assert detector.calibration.folds == 10
    assert detector.calibration.bases[0].source == "k-fold references"
    alone = make().fit([image for i, image in enumerate(images) if i % 10 != 2], "noise", batch_size=1)
    for i in (2, 12):
        assert detector.calibration.references[i].score == alone.predict(images[i]).score


def test_a_calibration_changes_nothing_of_the_detector():
    plain = make().fit(draw(5), "noise", batch_size=1)
    calibrated = fitted(5)
    for name, tensor in plain.state_dict().items():
        assert torch.equal(tensor, calibrated.state_dict()[name])
    one = draw(1, seed=9)[0]
    assert plain.predict(one).score == calibrated.predict(one).score


def test_images_of_a_group_are_left_out_together():
    images = draw(6)
    detector = make().fit(images, "noise", calibrate=True, groups=list("aabbcc"), batch_size=1)
    assert detector.calibration.folds == 3
    without_b = make().fit(images[:2] + images[4:], "noise", batch_size=1)
    assert detector.calibration.references[2].score == without_b.predict(images[2]).score
    assert len(detector.calibration.bases[0].scores) == 3


def test_copies_of_an_image_are_left_out_together_and_count_once():
    images = draw(4)
    with pytest.warns(UserWarning, match="1 image is a copy"):
        detector = make().fit([*images, images[0]], "noise", calibrate=True, batch_size=1)
    without = make().fit(images[1:], "noise", batch_size=1)
    assert len(detector.calibration.references) == 4
    assert detector.calibration.references[0].score == without.predict(images[0]).score


def test_a_memory_of_nearest_neighbours_is_monotone_and_left_out_one_by_one_up_to_more_images():
    assert fitted(2).calibration.is_monotone
    images = [ImageScore(f"hash {i}", 0.0) for i in range(22)]
    assert fold_of(images, is_monotone=True) == list(range(22))
    assert fold_of(images, is_monotone=False) == [i % 10 for i in range(22)]


def test_more_normal_images_can_only_lower_the_score_of_a_memory():
    images, new = draw(8), draw(10, seed=3)
    few, many = make().fit(images[:4], "noise"), make().fit(images, "noise")
    assert all(many.predict(one).score <= few.predict(one).score for one in new)


def test_held_out_scores_are_those_of_predict():
    detector = fitted(3)
    images = draw(19, seed=1)
    detector.calibrate(images)
    predicted = [detector.predict(image).score for image in images]
    np.testing.assert_allclose([image.score for image in detector.calibration.held_out], predicted, rtol=1e-5)
    rule = detector.decision_rule(0.05)
    assert rule.source == "held-out" and rule.threshold == max(image.score for image in detector.calibration.held_out)


def test_a_text_detector_is_calibrated_with_held_out_images_only():
    detector = make(TEXT)
    detector.class_name = "noise"
    detector.calibrate(draw(19))
    assert detector.calibration.references == () and len(detector.calibration.held_out) == 19
    assert detector.verdict(detector.predict(draw(1)[0]), 0.05).label in ("pass", "review", "reject")


def test_verdict_and_confidence_follow_from_score_and_threshold():
    detector = fitted(20)
    rule = detector.decision_rule(0.1)
    for prediction in detector.predict(draw(12, seed=4)):
        verdict = detector.verdict(prediction, 0.1)
        if verdict.label != "not this part":
            assert (verdict.label == "reject") == (prediction.score > rule.threshold) == (verdict.confidence > 0.5)
            at_least = sum(image.score >= prediction.score for image in detector.calibration.references)
            assert verdict.p_value == (1 + at_least) / 21


def test_an_image_unlike_all_normal_images_is_not_this_part():
    rng = np.random.default_rng(0)
    images = [np.clip(128 + rng.normal(0, 8, (32, 32, 3)), 0, 255).astype(np.uint8) for _ in range(20)]
    detector = make(BOTH).fit(images, "noise", calibrate=True)
    dark = np.zeros((32, 32, 3), np.uint8)
    dark[::2] = 255
    verdict = detector.verdict(detector.predict(dark))
    assert verdict.label == "not this part" and verdict.class_p_value == 1 / 21
    assert detector.verdict(detector.predict(images[0])).label == "pass"


def test_saved_and_loaded_it_gives_the_same_verdicts(tmp_path: Path):
    detector = fitted(20, BOTH).calibrate(draw(19, seed=5), defects=draw(2, seed=6))
    again = load(detector.save(tmp_path / "d"), backbone=tiny_backbone(), registry=REGISTRY)
    assert again.calibration == detector.calibration
    for prediction in detector.predict(draw(4, seed=7)):
        assert again.verdict(prediction, 0.05) == detector.verdict(prediction, 0.05)
    assert again.pixel_rule() == detector.pixel_rule()


def test_the_file_is_json_and_names_hashes_date_version_and_detector(tmp_path: Path):
    fitted(4).save(tmp_path / "d")
    found = json.loads((tmp_path / "d" / CALIBRATION).read_text())["calibration"]
    assert len(found["references"][0]["digest"]) == 64 and len(found["detector"]["weights"]) == 64
    assert found["date"][:2] == "20" and found["version"] and found["detector"]["dtype"] == "float32"


def test_a_fit_that_does_not_calibrate_removes_the_calibration_of_before(tmp_path: Path):
    detector = fitted(4)
    detector.save(tmp_path / "d")
    detector.fit(draw(3), "noise").save(tmp_path / "d")
    assert detector.calibration is None and not (tmp_path / "d" / CALIBRATION).exists()
    assert len(list((tmp_path / "d").glob("state-*"))) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: setattr(d, "class_name", "bolt"), "the recipe is another one"),
        (lambda d: d.backbone.to(torch.float64), "the dtype was float32 and is float64"),
        (lambda d: d.scorers[0].forget(), "the memory or the learned weights are others"),
    ],
    ids=["class name", "dtype", "memory"],
)
def test_a_calibration_of_another_detector_is_refused(change, message):
    detector = fitted(20)
    prediction = detector.predict(draw(1)[0])
    assert detector.verdict(prediction).label == "pass"
    change(detector)
    with pytest.raises(ConfigError, match=message):
        detector.verdict(prediction)
    with pytest.raises(ConfigError, match=message):
        detector.decision_rule(0.1)


def test_a_stale_calibration_can_be_renewed_and_is_not_mixed():
    detector = fitted(20)
    detector.class_name = "bolt"
    with pytest.raises(ConfigError, match="belongs to another detector"):
        detector.calibrate(draw(19, seed=1))
    assert len(detector.calibration.references) == 20
    detector.calibrate(draw(19, seed=1), renew=True)
    assert detector.calibration.references == () and len(detector.calibration.held_out) == 19


@pytest.mark.parametrize("damage", [lambda t: t[: len(t) // 2], lambda t: "", lambda t: t.replace('"score"', '"sc"')])
def test_a_damaged_calibration_is_refused_and_the_detector_is_unharmed(tmp_path: Path, damage):
    fitted(4).save(tmp_path / "d")
    path = tmp_path / "d" / CALIBRATION
    path.write_text(damage(path.read_text()))
    with pytest.raises(ConfigError, match=r"unharmed.*calibrate again"):
        load(tmp_path / "d", backbone=tiny_backbone(), registry=REGISTRY)
    path.unlink()
    assert load(tmp_path / "d", backbone=tiny_backbone(), registry=REGISTRY).calibration is None


def test_without_a_calibration_the_verdict_says_so_and_a_rate_is_refused():
    detector = make().fit(draw(3), "noise")
    prediction = detector.predict(draw(1)[0])
    assert detector.verdict(prediction).label == "uncalibrated"
    with pytest.raises(ConfigError, match="has no calibration"):
        detector.verdict(prediction, 0.05)


def test_one_normal_image_gives_no_calibration():
    assert fitted(1).calibration is None


def test_too_few_normal_images_are_refused_with_the_number_that_would_do():
    detector = fitted(5)
    prediction = detector.predict(draw(1)[0])
    assert detector.verdict(prediction).label == "uncalibrated"
    with pytest.raises(ConfigError, match=r"needs 19 .* there are 5\. Add 14 more"):
        detector.verdict(prediction, 0.05)
    with pytest.raises(ConfigError, match="59 normal images that the detector does not remember"):
        detector.verdict(prediction, 0.05, confidence=0.95)


@pytest.mark.parametrize("rate", [0, 1, -0.1, float("nan")])
def test_a_rate_that_is_none_is_refused(rate):
    detector = fitted(20)
    with pytest.raises(ConfigError, match="must be above 0 and below 1"):
        detector.verdict(detector.predict(draw(1)[0]), rate)


def test_copies_of_one_constant_image_are_one_normal_and_give_no_threshold():
    detector = make(TEXT)
    detector.class_name = "noise"
    flat = np.full((32, 32, 3), 7, np.uint8)
    with pytest.warns(UserWarning, match="18 images are copies"):
        detector.calibrate([flat] * 19)
    verdict = detector.verdict(detector.predict(flat))
    assert verdict.label == "uncalibrated" and "there are 1" in verdict.reason


def test_a_defect_among_the_normals_stands_out():
    rng = np.random.default_rng(0)
    images = [np.clip(128 + rng.normal(0, 5, (32, 32, 3)), 0, 255).astype(np.uint8) for _ in range(12)]
    images[7][8:24, 8:24] = (255, 0, 0)
    detector = make().fit(images, "noise", calibrate=True)
    assert next(found.image.name for found in outliers(detector.calibration.references)) == "image 8"


def test_no_normal_images_or_one_that_cannot_be_read_changes_nothing(tmp_path: Path):
    detector = fitted(4)
    before = detector.calibration
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    with pytest.raises(ImageError):
        detector.calibrate([])
    with pytest.raises(ImageError, match="for the calibration cannot be read"):
        detector.calibrate([*draw(2, seed=1), broken])
    with pytest.raises(ConfigError, match="as a defect"):
        detector.calibrate(draw(2, seed=1), defects=draw(1, seed=1))
    assert detector.calibration is before


def test_remembered_images_given_again_are_passed_over():
    detector = fitted(4)
    with pytest.warns(UserWarning, match="4 images are copies"):
        detector.calibrate([*draw(4), *draw(2, seed=1)])
    assert len(detector.calibration.held_out) == 2


def test_images_added_to_a_fitted_detector_cannot_be_calibrated():
    with pytest.raises(ConfigError, match="Fit all of them at once"):
        make().fit(draw(3), "noise", keep=True, calibrate=True)


def test_a_file_is_known_by_its_hash(tmp_path: Path):
    for i, pixels in enumerate(draw(3)):
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        detector = make().fit(tmp_path, "noise", calibrate=True)
    assert {Path(image.name).name for image in detector.calibration.references} == {"0.png", "1.png", "2.png"}
