"""The test for drift over the images of a run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vlmad_core import Pipeline, build
from vlmad_core.errors import ConfigError
from vlmad_core.inspection.drift import ALARM_LEVEL
from vlmad_core.run.drift import DriftMonitor
from vlmad_core.run.results import Result
from vlmad_core.testing import memory_registry, tiny_backbone

TEXT = {"backbone": "tiny", "extractor": "patches", "prompts": "templates", "scorers": ["text-match"]}
MEMORY = {"backbone": "tiny", "extractor": {"use": "patches", "config": {"space": "raw"}}, "scorers": ["memory"]}


def draw(count: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in range(count)]


@pytest.fixture(scope="module")
def detector() -> Pipeline:
    made = build(TEXT, backbone=tiny_backbone(), registry=memory_registry())
    made.class_name = "noise"
    return made.calibrate(draw(30))


def scores_like(detector: Pipeline, count: int, seed: int, shift: float = 0.0) -> list[Result]:
    normals = np.array([image.score for image in detector.calibration.held_out])
    drawn = np.random.default_rng(seed).normal(normals.mean(), normals.std(), count) + shift * normals.std()
    return [Result(path=f"{i}.png", score=float(score)) for i, score in enumerate(drawn)]


def fed(monitor: DriftMonitor, results: list[Result]) -> DriftMonitor:
    for result in results:
        monitor.add(result)
    return monitor


def test_exchangeable_runs_raise_an_alarm_at_most_as_often_as_the_level_says():
    """The normals and the images of each of 200 runs are drawn alike; the level is 10, so at most 20 alarms."""
    made = build(TEXT, backbone=tiny_backbone(), registry=memory_registry())
    made.class_name = "noise"
    from dataclasses import replace

    from vlmad_core.inspection.calibration import ImageScore

    made.calibrate(draw(2))
    stored, random = made.stored_calibration, np.random.default_rng(0)
    alarms = 0
    for _ in range(200):
        normals = tuple(ImageScore(f"hash {i}", float(score)) for i, score in enumerate(random.normal(size=20)))
        made.stored_calibration = replace(stored, calibration=replace(stored.calibration, held_out=normals))
        run = [Result(path="a.png", score=float(score)) for score in random.normal(size=60)]
        alarms += bool(fed(DriftMonitor(made, level=10), run).message)
    assert alarms <= 20


def test_a_shift_since_the_calibration_is_found_and_no_threshold_moves(detector):
    before = detector.decision_rule().threshold
    monitor = fed(DriftMonitor(detector), scores_like(detector, 60, 0, shift=2.5))
    assert monitor.state.alarm_at and monitor.state.alarm_at < 40
    assert "the camera or the product changed" in monitor.message and "level 100" in monitor.message
    assert "at most 0.01 of the periods" in monitor.message and ALARM_LEVEL == 100
    assert detector.decision_rule().threshold == before
    assert not fed(DriftMonitor(detector), scores_like(detector, 60, 0)).message


def test_a_state_goes_on_from_run_to_run_as_if_it_were_one(detector, tmp_path: Path):
    file = tmp_path / "state" / "line3.json"
    results = scores_like(detector, 40, 1, shift=1)
    fed(DriftMonitor(detector, file), results[:25]).save()
    second = fed(DriftMonitor(detector, file), results[25:])
    assert second.state == fed(DriftMonitor(detector), results).state


def test_images_without_a_score_are_left_out(detector):
    monitor = fed(DriftMonitor(detector), [Result(path="a.png", error="cannot be read")])
    assert monitor.state.n_images == 0


def test_remembered_normals_do_not_start_a_period():
    made = build(MEMORY, backbone=tiny_backbone(), registry=memory_registry()).fit(draw(20), "noise", calibrate=True)
    assert DriftMonitor(made).state.start == ()
    made.calibrate(draw(3, seed=1))
    assert len(DriftMonitor(made).state.start) == 3


def test_a_state_of_another_detector_or_a_damaged_one_is_refused(detector, tmp_path: Path):
    file = tmp_path / "drift.json"
    fed(DriftMonitor(detector, file), scores_like(detector, 3, 0)).save()
    whole = file.read_text()
    with pytest.raises(ConfigError, match="belongs to another detector, calibration or alarm level"):
        DriftMonitor(detector, file, level=50)
    other = build(MEMORY, backbone=tiny_backbone(), registry=memory_registry()).fit(draw(20), "noise", calibrate=True)
    with pytest.raises(ConfigError, match="belongs to another detector"):
        DriftMonitor(other, file)
    for text in (whole[:50], "[]", json.dumps({"format": 1, "state": {}})):
        file.write_text(text)
        with pytest.raises(ConfigError, match=r"drift\.json"):
            DriftMonitor(detector, file)
    plain = build(MEMORY, backbone=tiny_backbone(), registry=memory_registry()).fit(draw(3), "noise")
    with pytest.raises(ConfigError, match="needs a calibrated detector"):
        DriftMonitor(plain)
