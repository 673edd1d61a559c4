"""`vlmad fit`, `calibrate` and `predict` with decisions, in this process."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlmad_core import load

Vlmad = Callable[..., object]


def draw(folder: Path, count: int, seed: int, *, defect: bool = False) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(seed)
    for i in range(count):
        pixels = np.clip(128 + rng.normal(0, 10, (40, 40, 3)), 0, 255).astype(np.uint8)
        if defect:
            pixels[8:28, 8:28] = (255, 0, 0)
        Image.fromarray(pixels).save(folder / f"{folder.name}-{i:02}.png")
    return folder


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return draw(tmp_path / "good", 20, 0)


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    draw(tmp_path / "parts", 4, 1)
    for path in draw(tmp_path / "bad", 2, 2, defect=True).iterdir():
        path.rename(tmp_path / "parts" / path.name)
    return tmp_path / "parts"


@pytest.fixture
def detector(vlmad: Vlmad, good: Path, tmp_path: Path) -> Path:
    done = vlmad("fit", good, "-r", "remember", "-c", "noise", "-o", tmp_path / "nut.vlmad")
    assert done.code == 0, done.err
    assert "20 leave-one-out" in done.out and "proved on average is at most 0.1" in done.out
    return tmp_path / "nut.vlmad"


def test_results_run_and_python_have_the_same_verdicts(vlmad: Vlmad, detector: Path, parts: Path, tmp_path: Path):
    out = tmp_path / "out"
    done = vlmad("predict", parts, "-d", detector, "-o", out, "--false-alarms", "0.1")
    assert done.code == 0, done.err
    assert "verdict" in done.out
    lines = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    pipeline = load(detector)
    for line in lines:
        verdict = pipeline.verdict(pipeline.predict(line["path"]), 0.1)
        assert (line["verdict"], line["threshold"]) == (verdict.label, verdict.threshold)
        if line["confidence"] is not None:
            assert (line["confidence"] > 0.5) == (line["verdict"] == "reject") == (line["score"] > line["threshold"])
    bad = next(line for line in lines if "bad" in line["path"])
    left, top, right, bottom = bad["regions"][0]["box"]
    assert left < 18 < right and top < 18 < bottom and 0 < bad["regions"][0]["area_share"] <= 1
    assert bad["regions"][0]["area_px"] == pytest.approx(bad["regions"][0]["area_share"] * 1600)
    assert (bad["p_value"], bad["share_below"]) == (1 / 21, 1.0)
    calibration = json.loads((out / "run.json").read_text())["calibration"]
    assert calibration["threshold"] == bad["threshold"] and len(calibration["normals"]) == 20
    assert (calibration["source"], calibration["false_alarms"]) == ("leave-one-out", 0.1)
    with (out / "results.csv").open(newline="") as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    assert rows[bad["path"]]["verdict"] == bad["verdict"] != "pass" and rows[bad["path"]]["regions"] == str(
        len(bad["regions"])
    )


def test_a_rejected_image_ends_with_4_where_that_is_asked_for(vlmad: Vlmad, detector: Path, parts: Path):
    assert vlmad("predict", parts, "-d", detector).code == 0
    assert vlmad("predict", parts, "-d", detector, "--fail-on", "reject").code == 4
    assert vlmad("predict", parts / "parts-00.png", "-d", detector, "--fail-on", "reject").code == 0


def test_without_a_calibration_all_is_as_before(vlmad: Vlmad, good: Path, parts: Path):
    done = vlmad("predict", parts, "-r", "remember", "-n", good, "--json")
    assert {json.loads(line)["verdict"] for line in done.out.splitlines()} == {"uncalibrated"}
    table = vlmad("predict", parts, "-r", "remember", "-n", good)
    assert "verdict" not in table.out and "calibrat" not in table.err


def test_normal_images_of_the_call_are_calibrated_where_a_rate_is_asked_for(vlmad: Vlmad, good: Path, parts: Path):
    done = vlmad("predict", parts, "-r", "remember", "-n", good, "--false-alarms", "0.1", "--json")
    found = [json.loads(line) for line in done.out.splitlines()]
    assert {line["p_value"] for line in found if "bad" in line["path"]} == {1 / 21}
    assert "uncalibrated" not in {line["verdict"] for line in found}


def test_held_out_images_carry_confidence_and_discoveries(vlmad: Vlmad, detector: Path, parts: Path, tmp_path: Path):
    refused = vlmad("predict", parts, "-d", detector, "--false-discoveries", "0.2")
    assert refused.code == 1 and "needs a calibration with held-out normal images" in refused.err
    more, bad = draw(tmp_path / "more", 30, 5), draw(tmp_path / "known", 2, 6, defect=True)
    done = vlmad("calibrate", detector, more, "--defects", bad)
    assert done.code == 0, done.err
    assert "30 held-out, 20 leave-one-out" in done.out and "0 of 2 known ones would not be rejected" in done.out
    sure = vlmad("predict", parts, "-d", detector, "--false-alarms", "0.1", "--confidence", "0.95")
    assert "with a confidence of 0.95" in sure.err
    found = vlmad("predict", parts, "-d", detector, "--false-alarms", "0.1", "--false-discoveries", "0.2", "--quiet")
    listed = {Path(line).name for line in found.out.splitlines() if "\t" not in line}
    assert {"bad-00.png", "bad-01.png"} <= listed


def test_a_text_detector_is_calibrated_and_saved(vlmad: Vlmad, good: Path, parts: Path, tmp_path: Path):
    out = tmp_path / "text.vlmad"
    assert vlmad("calibrate", good, "-r", "words", "-c", "noise", "-o", out).code == 0
    done = vlmad("predict", parts, "-d", out, "--json")
    assert {json.loads(line)["verdict"] for line in done.out.splitlines()} <= {"pass", "reject", "not this part"}


def test_groups_count_once(vlmad: Vlmad, good: Path, tmp_path: Path):
    done = vlmad("fit", good, "-r", "remember", "-c", "noise", "-o", tmp_path / "d", "--group", r"good-(\d)\d")
    assert done.code == 0 and "2 leave-one-out" in done.out
    refused = vlmad("fit", good, "-r", "remember", "-c", "noise", "-o", tmp_path / "e", "--group", "tray")
    assert refused.code == 1 and "matches nothing" in refused.err and not (tmp_path / "e").exists()


def test_a_manifest_says_which_images_are_of_one_object(vlmad: Vlmad, good: Path, tmp_path: Path):
    rows = [f"good/{path.name};part {i // 5}" for i, path in enumerate(sorted(good.iterdir()))]
    table = tmp_path / "parts.csv"
    table.write_text("\n".join(["image;group", *rows]))
    arguments = ["fit", good, "-r", "remember", "-c", "noise", "-o", tmp_path / "d", "--group", table]
    done = vlmad(*arguments)
    assert done.code == 0 and "4 leave-one-out" in done.out, done.err
    assert {image.group for image in load(tmp_path / "d").calibration.references} == {f"part {i}" for i in range(4)}
    table.write_text("\n".join(["image;group", *rows[1:]]))
    assert "does not list" in vlmad(*arguments).err and "good-00.png" in vlmad(*arguments).err
    table.write_text("\n".join(["image", *(row.split(";")[0] for row in rows)]))
    assert "needs a column 'group'" in " ".join(vlmad(*arguments).err.split())


def test_a_defect_among_the_normals_is_named_with_how_far_it_stands_out(vlmad: Vlmad, good: Path, tmp_path: Path):
    (wrong,) = draw(tmp_path / "bad", 1, 3, defect=True).iterdir()
    wrong.rename(good / "wrong.png")
    done = vlmad("fit", good, "-r", "remember", "-c", "noise", "-o", tmp_path / "d")
    (line,) = [line for line in done.out.splitlines() if line.startswith("look at")]
    assert "wrong.png" in line and "robust standard deviations above the median" in line


def test_constant_images_give_no_threshold_and_a_sentence(vlmad: Vlmad, tmp_path: Path):
    flat = tmp_path / "flat"
    flat.mkdir()
    for i in range(20):  # all of one colour; comments in the files make them 20 files
        Image.new("RGB", (40, 40), (90, 90, 90)).save(flat / f"{i}.jpg", comment=f"{i}".encode())
    done = vlmad("fit", flat, "-r", "remember", "-c", "noise", "-o", tmp_path / "d")
    assert done.code == 0 and "so no threshold can be set" in done.out and "blank" in done.out
    assert {
        json.loads(line)["verdict"] for line in vlmad("predict", flat, "-d", tmp_path / "d", "--json").out.splitlines()
    } == {"uncalibrated"}


def test_a_calibration_file_of_another_detector_is_refused(vlmad: Vlmad, detector: Path, parts: Path, tmp_path: Path):
    other = draw(tmp_path / "other", 20, 9)
    assert vlmad("fit", other, "-r", "remember", "-c", "noise", "-o", tmp_path / "b").code == 0
    record = json.loads((tmp_path / "b" / "calibration.json").read_text())
    for name in ("calibration.json", record["state"]["file"]):
        (detector / name).write_bytes((tmp_path / "b" / name).read_bytes())
    done = vlmad("predict", parts, "-d", detector, "--false-alarms", "0.1")
    assert done.code == 1 and "belongs to another detector" in " ".join(done.err.split())


def test_one_normal_image_is_no_calibration_and_none_is_refused(vlmad: Vlmad, good: Path, parts: Path, tmp_path: Path):
    done = vlmad("fit", good / "good-00.png", "-r", "remember", "-c", "noise", "-o", tmp_path / "d")
    assert done.code == 0 and "fewer than two normal images" in done.out
    refused = vlmad("predict", parts, "-d", tmp_path / "d", "--false-alarms", "0.1")
    assert refused.code == 1 and "has no calibration" in " ".join(refused.err.split())
    (tmp_path / "empty").mkdir()
    none = vlmad("fit", tmp_path / "empty", "-r", "remember", "-o", tmp_path / "e")
    assert none.code == 1 and "no image" in none.err and not (tmp_path / "e").exists()


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--false-alarms", "0"], 2, "above 0 and below 1"),
        (["--false-alarms", "1"], 2, "above 0 and below 1"),
        (["--false-alarms", "0.01"], 1, "needs 99 independent normal images"),
        (["--false-alarms", "0.1", "--class-name", "bolt"], 1, "belongs to another detector"),
    ],
)
def test_what_cannot_be_promised_is_refused(vlmad: Vlmad, detector: Path, parts: Path, options, code, said):
    done = vlmad("predict", parts, "-d", detector, *options)
    assert done.code == code and said in " ".join(done.err.split())


def test_a_stale_calibration_is_named_where_no_rate_is_asked_for(vlmad: Vlmad, detector: Path, parts: Path):
    done = vlmad("predict", parts, "-d", detector, "--class-name", "bolt")
    assert done.code == 0 and "belongs to another detector" in done.err and "verdict" not in done.out


def test_results_of_another_rate_are_not_mixed(vlmad: Vlmad, detector: Path, parts: Path, tmp_path: Path):
    arguments = ["predict", parts, "-d", detector, "-o", tmp_path / "out", "--false-alarms"]
    assert vlmad(*arguments, "0.1").code == vlmad(*arguments, "0.1").code == 0
    refused = vlmad(*arguments, "0.2")
    assert refused.code == 1 and "other settings" in refused.err


def test_predict_says_that_the_product_changed_and_keeps_the_state(vlmad: Vlmad, detector: Path, tmp_path: Path):
    more = draw(tmp_path / "more", 30, 5)
    assert vlmad("calibrate", detector, more).code == 0
    darker = draw(tmp_path / "darker", 40, 6)
    for path in darker.iterdir():
        Image.fromarray((np.asarray(Image.open(path)) // 3).astype(np.uint8)).save(path)
    out, state = tmp_path / "out", tmp_path / "line3.json"
    done = vlmad("predict", darker, "-d", detector, "-o", out, "--no-overlays", "--drift", state)
    assert done.code == 0 and "the camera or the product changed" in " ".join(done.err.split())
    kept = json.loads(state.read_text())
    assert json.loads((out / "drift.json").read_text()) == kept and kept["state"]["n_images"] == 40
    again = vlmad("predict", darker, "-d", detector, "-o", out, "--no-overlays", "--drift", state)
    assert again.code == 0 and json.loads(state.read_text()) == kept  # nothing was scored, so nothing counts twice
    same = draw(tmp_path / "same", 20, 7)
    assert "drift" not in vlmad("predict", same, "-d", detector).err


def test_drift_without_a_calibration_is_refused(vlmad: Vlmad, good: Path, parts: Path, tmp_path: Path):
    done = vlmad("predict", parts, "-r", "remember", "-n", good, "--drift", tmp_path / "a.json")
    assert done.code == 1 and "drift needs a calibrated detector" in done.err


def test_a_report_without_its_distribution_is_refused_before_anything_is_scored(
    vlmad: Vlmad, detector: Path, parts: Path, tmp_path: Path
):
    done = vlmad("predict", parts, "-d", detector, "-o", tmp_path / "out", "--report")
    assert done.code == 1 and "--report needs vlmad-report" in done.err and not (tmp_path / "out").exists()
    assert vlmad("predict", parts, "-d", detector, "--report").code == 2


def test_a_page_is_written_by_the_command_report_of_a_plugin(
    vlmad: Vlmad, site: Path, detector: Path, parts: Path, tmp_path: Path
):
    text = (site / "vlmad_tinytest.py").read_text()
    text += """
from vlmad_core.registry import Command

@hookimpl
def vlmad_commands():
    yield Command(name="report", target="vlmad_tinytest:write", summary="A page.")

def write(results, quiet, progress):
    (results / "report.html").write_text(f"{(results / 'results.jsonl').read_text().count(chr(10))} images")
"""
    (site / "vlmad_tinytest.py").write_text(text)
    import sys

    from vlmad_core.registry.registry import default_registry

    default_registry.cache_clear()
    sys.modules.pop("vlmad_tinytest", None)
    done = vlmad("predict", parts, "-d", detector, "-o", tmp_path / "out", "--report")
    assert done.code == 0, done.err
    assert (tmp_path / "out" / "report.html").read_text() == "6 images"
