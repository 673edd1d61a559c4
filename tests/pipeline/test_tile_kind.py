"""A calibration knows whether its images were read in tiles: no image of the other kind is compared with its scores."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from vlmad_core import build, load
from vlmad_core.errors import ConfigError, ImageError
from vlmad_core.testing import memory_registry

ZERO_SHOT = {
    "backbone": "tiny",
    "extractor": {"use": "patches", "config": {"space": "both"}},
    "prompts": "templates",
    "scorers": [{"use": "text-match", "config": {"levels": ["block*"]}, "optional": True}],
}
SMALL, LARGE = 64, 320
NAMES = {
    SMALL: "64 x 64 pixels are too few for tiles, and every normal",
    LARGE: "320 x 320 pixels are read in tiles, and no",
}


def images(side, count=3, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(100, 140, (side, side, 3), np.uint8) for _ in range(count)]


@pytest.fixture
def registry():
    return memory_registry()


@pytest.fixture
def detector(registry):
    made = build(ZERO_SHOT, tiles="auto", registry=registry)
    made.class_name = "nut"
    return made


@pytest.mark.parametrize(("side", "other"), [(SMALL, LARGE), (LARGE, SMALL)])
def test_image_of_the_other_kind_is_refused_and_the_saved_detector_knows_it(detector, registry, tmp_path, side, other):
    before = detector.predict(images(other, 1)[0])
    detector.calibrate(images(side, 20))
    again = load(detector.save(tmp_path / "d"), registry=registry)
    for one in (detector, again):
        assert {image.is_tiled for image in one.calibration.held_out} == {side == LARGE}
        assert one.verdict(one.predict(images(side, 1, seed=9)[0])).label in ("pass", "reject")
        with pytest.raises(ImageError, match=NAMES[other]):
            one.predict(images(other, 1)[0])
        verdict = one.verdict(before, 0.1)
        assert verdict.label == "uncalibrated"
        assert NAMES[other] in verdict.reason


def test_calibration_of_both_kinds_is_refused_in_one_sentence_and_nothing_changes(detector):
    with pytest.raises(ConfigError, match="'image 4' is read in tiles and 'image 1' is too small") as refused:
        detector.calibrate([*images(SMALL), *images(LARGE)])
    assert str(refused.value).count(". ") == 0
    assert detector.calibration is None
    detector.calibrate(images(SMALL))
    stored = detector.stored_calibration
    with pytest.raises(ConfigError, match="no threshold holds for both"):
        detector.calibrate(images(LARGE))
    with pytest.raises(ConfigError, match="no threshold holds for both"):
        detector.calibrate(images(SMALL, seed=1), defects=images(LARGE))
    assert detector.stored_calibration is stored


def test_a_renewed_calibration_may_be_of_the_other_kind(detector):
    detector.calibrate(images(SMALL)).calibrate(images(LARGE), renew=True)
    assert detector.predict(images(LARGE, 1)[0]).tiles == 49
    with pytest.raises(ImageError, match=NAMES[SMALL]):
        detector.predict(images(SMALL, 1)[0])


def test_detector_without_tiles_compares_images_of_all_sizes(registry):
    detector = build(ZERO_SHOT, registry=registry)
    detector.class_name = "nut"
    detector.calibrate([*images(SMALL, 10), *images(LARGE, 10)])
    assert {image.is_tiled for image in detector.calibration.held_out} == {None}
    assert detector.verdict(detector.predict(images(LARGE, 1, seed=9)[0])).label in ("pass", "reject")


def test_calibration_of_an_earlier_version_loads_and_refuses_nothing(detector, registry, tmp_path):
    folder = detector.calibrate(images(SMALL, 20)).save(tmp_path / "d")
    path = folder / "calibration.json"
    record = json.loads(path.read_text())
    for image in record["calibration"]["held_out"]:
        del image["is_tiled"]
    path.write_text(json.dumps(record))
    again = load(folder, registry=registry)
    assert again.calibration.held_out[0] == replace(detector.calibration.held_out[0], is_tiled=None)
    assert again.predict(images(LARGE, 1)[0]).tiles == 49
    assert again.verdict(again.predict(images(SMALL, 1, seed=9)[0])).label in ("pass", "reject")
    with pytest.raises(ConfigError, match="did not keep whether its images were read in tiles"):
        again.calibrate(images(SMALL, seed=1))
    again.calibrate(images(SMALL, seed=1), renew=True)
    with pytest.raises(ImageError, match=NAMES[LARGE]):
        again.predict(images(LARGE, 1)[0])
