from __future__ import annotations

import json

import numpy as np
import pytest

from vlmad_core.errors import ConfigError
from vlmad_core.inspection.calibration import Calibration, Fingerprint, ImageScore
from vlmad_core.inspection.conformal import tolerance_rank
from vlmad_core.inspection.rule import make_rule
from vlmad_report.calibration import CalibrationRecord, choices, promises
from vlmad_report.source import read_source


def test_a_run_without_calibration_is_read_by_its_scores_alone(tmp_path, write_run):
    source = read_source(write_run(tmp_path, [{"path": "a.png", "score": 0.5}, {"path": "b.png", "error": "broken"}]))
    assert [row.verdict for row in source.rows] == ["uncalibrated", "error"]
    assert source.calibration is None


def test_fields_that_the_report_does_not_know_are_passed_over(tmp_path, write_run):
    row = {"path": "a.png", "score": 0.5, "later": 1, "regions": [{"box": [0, 0, 2, 2], "later": 1}]}
    assert read_source(write_run(tmp_path, [row])).rows[0].regions[0].box == (0, 0, 2, 2)


def test_one_polygon_and_rings_are_both_read(tmp_path, write_run):
    ring = [[0, 0], [2, 0], [2, 2]]
    regions = [{"box": [0, 0, 2, 2], "polygon": ring}, {"box": [0, 0, 2, 2], "polygon": [ring, ring]}]
    row = read_source(write_run(tmp_path, [{"path": "a.png", "score": 0.5, "regions": regions}])).rows[0]
    assert [len(region.polygon) for region in row.regions] == [1, 2]


def test_reasons_are_texts_or_contributions(tmp_path, write_run):
    reasons = ["a hole", {"label": "memory", "value": -0.25}]
    row = read_source(write_run(tmp_path, [{"path": "a.png", "score": 0.5, "reasons": reasons}])).rows[0]
    assert [(reason.label, reason.value) for reason in row.reasons] == [("a hole", None), ("memory", -0.25)]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"score": 0.5}, "line 2: path"),
        ({"path": "b", "score": "high"}, "line 2: score"),
        ({"path": "b", "score": 0.5, "verdict": "bad"}, "line 2: verdict: must be one of pass"),
        ({"path": "b", "score": 0.5, "p_value": 2}, "line 2: p_value"),
        ({"path": "b", "score": 0.5, "regions": [{"box": [1, 2]}]}, "line 2: regions.0.box"),
        ({"path": "b", "score": float("nan")}, "line 2: score"),
        ([], "line 2: is not a JSON object"),
    ],
)
def test_a_wrong_field_is_named_with_its_line(tmp_path, row, problem, write_run):
    with pytest.raises(ConfigError, match=problem):
        read_source(write_run(tmp_path, [{"path": "a", "score": 0.5}, row]))


def test_a_last_line_that_was_cut_off_is_passed_over_and_reported(tmp_path, write_run):
    write_run(tmp_path, [{"path": "a", "score": 0.5}])
    with (tmp_path / "results.jsonl").open("a") as file:
        file.write('{"path": "b", "sco')
    source = read_source(tmp_path)
    assert len(source.rows) == 1
    assert "cut off" in source.notes[0]


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"results\.jsonl is missing"):
        read_source(tmp_path)
    (tmp_path / "results.jsonl").write_text("")
    with pytest.raises(ConfigError, match="no image"):
        read_source(tmp_path)


def test_a_name_that_is_not_utf_8_keeps_its_bytes(tmp_path, write_run):
    path = b"parts/\xff.png".decode("utf-8", "surrogateescape")
    assert read_source(write_run(tmp_path, [{"path": path, "score": 0.5}])).rows[0].path == path


def test_a_calibration_that_cannot_be_is_refused(tmp_path, calibration_record, write_run):
    for wrong in ({"normals": []}, {"false_alarms": 1.0}, {"source": "guess"}, {"source": "leave-one-out", "folds": 0}):
        record = {**calibration_record([0.1, 0.2, 0.3], false_alarms=0.5), **wrong}
        with pytest.raises(ConfigError, match="calibration"):
            read_source(write_run(tmp_path, [{"path": "a", "score": 0.5}], calibration=record))


def test_a_calibration_without_its_threshold_gets_the_one_of_its_rate(calibration_record):
    record = calibration_record(np.linspace(0, 1, 50).tolist(), false_alarms=0.1)
    short = {"normals": record["normals"], "false_alarms": 0.1}
    assert CalibrationRecord.model_validate(short).threshold == record["threshold"]


@pytest.mark.parametrize("confidence", [None, 0.95])
def test_each_choice_has_the_thresholds_that_the_core_sets_for_its_rate(confidence, calibration_record):
    scores = np.random.default_rng(3).normal(size=400).tolist()
    record = CalibrationRecord.model_validate(calibration_record(scores, false_alarms=0.03, confidence=confidence))
    calibration = Calibration(
        Fingerprint("recipe", (8, 8), "float32"), tuple(ImageScore(f"{i}", score) for i, score in enumerate(scores))
    )
    found = choices(record)
    assert [choice.rate for choice in found] == [0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2][confidence is not None :]
    for choice in found:
        rule = make_rule(calibration, false_alarms=choice.rate, confidence=confidence)
        assert (choice.threshold, choice.review_threshold) == (rule.threshold, rule.review_threshold)


def test_promises_are_never_rounded_down_and_need_the_ranks_that_the_core_needs(calibration_record):
    record = CalibrationRecord.model_validate(calibration_record(np.linspace(0, 1, 59).tolist(), false_alarms=0.05))
    table = promises(record)
    assert table[2][:2] == (0.05, 0.05)  # 3 / 60
    assert all(proved >= k / 60 for k, (_, proved, _) in enumerate(table, 1) if proved is not None)
    # 59 normals are the fewest that carry 5 % with a confidence of 0.95, by the highest of them.
    assert tolerance_rank(59, 0.05, 0.95) == 1
    assert 0.0495 < table[0][2] <= 0.05  # type: ignore[operator]


def test_references_promise_the_bound_of_cross_validation_only_where_it_is_proved():
    base = {"normals": [0.1 * i for i in range(40)], "source": "leave-one-out", "folds": 40, "false_alarms": 0.05}
    proved = promises(CalibrationRecord.model_validate({**base, "is_monotone": True}))
    assert proved[0] == (0.024391, 0.048781, None)  # 1 / 41 and 2 / 41, rounded up
    assert promises(CalibrationRecord.model_validate(base))[0] == (0.024391, None, None)


def test_a_line_holds_what_json_holds(tmp_path):
    (tmp_path / "results.jsonl").write_text(json.dumps({"path": "a", "score": 1}) + "\nnonsense\n")
    with pytest.raises(ConfigError, match="line 2 is not JSON"):
        read_source(tmp_path)
