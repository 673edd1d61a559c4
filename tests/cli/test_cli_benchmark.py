"""`vlmad benchmark`: from a plan or from options to rows, a table and an exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """Tables and plots in files have tests of their own."""
    monkeypatch.setattr("vlmad_core.benchmark.folder.present", lambda rows, folder: iter(()))


@pytest.fixture
def data(tmp_path):
    rng, root = np.random.default_rng(0), tmp_path / "things"
    for kind, count in (("train/good", 3), ("test/good", 2), ("test/hole", 2)):
        folder = root / "plate" / kind
        folder.mkdir(parents=True)
        for i in range(count):
            Image.fromarray(rng.integers(0, 255, (32, 32, 3), np.uint8)).save(folder / f"{i}.png")
    return root


@pytest.fixture
def typed(data, tmp_path):
    return ["benchmark", "--data", data, "--recipe", "words", "--recipe", "remember", "--out", tmp_path / "out"]


def test_options_become_a_plan_and_the_table_is_printed(vlmad, typed, tmp_path):
    done = vlmad(*typed, "--shots", "0,1", "--seeds", "2", "--class-name", "plate=steel plate")
    assert done.code == 0
    assert "image AUROC" in done.out
    assert "5 of 6 cells to run, 1 makes no sense; 6 images through backbones, about " in done.err
    assert "tiny 32 x 32: 6 images, 6 passes through the backbone." in done.err
    assert "5 done, 1 skipped in " in done.err
    rows = [json.loads(line) for line in (tmp_path / "out/rows.jsonl").read_text().splitlines()]
    assert {row["class_name"] for row in rows} == {"steel plate"}
    assert {(row["shots"], row["seed"]) for row in rows} == {(0, 0), (1, 0), (1, 1)}
    again = vlmad(*typed, "--shots", "0,1", "--seeds", "2", "--class-name", "plate=steel plate")
    assert "6 cells, none left to run." in again.err


def test_json_is_one_document_and_nothing_else(vlmad, typed):
    done = vlmad(*typed, "--json", "--quiet")
    message = json.loads(done.out)
    assert (done.code, done.err) == (0, "")
    assert message["cells"] == {"done": 1, "skipped": 1}
    assert message["passes"]["tiny 32 x 32"]["passes"] == 4
    assert message["rows"][0]["image_auroc"] is not None


def test_plan_says_what_would_run_and_writes_nothing(vlmad, typed, tmp_path):
    done = vlmad(*typed, "--plan")
    assert done.code == 0
    assert done.out.startswith("1 of 2 cells to run, 1 makes no sense; 4 images through backbones, about ")
    assert "no cell (1): 'remember' compares with normal images, so it does not run with 0 shots." in done.out
    assert not (tmp_path / "out").exists()
    message = json.loads(vlmad(*typed, "--plan", "--json").out)
    assert (message["cells"], message["waiting"], message["images"]) == (2, 1, 4)
    assert message["seconds"] > 0


def test_options_are_put_in_place_of_what_a_plan_says(vlmad, data, tmp_path):
    plan = {"data": str(data), "methods": ["words"], "shots": [0], "seeds": 5}
    (tmp_path / "plan.yaml").write_text(json.dumps(plan))
    done = vlmad("benchmark", tmp_path / "plan.yaml", "--recipe", "remember", "--shots", "1", "--out", tmp_path / "out")
    assert done.code == 0
    record = json.loads((tmp_path / "out/plan.json").read_text())["settings"]["plan"]
    assert [method["recipe"] for method in record["methods"]] == ["remember"]
    assert (record["shots"], record["seeds"]) == ([1], [0, 1, 2, 3, 4])


def test_speed_is_measured_after_the_cells_and_not_twice(vlmad, typed, tmp_path, monkeypatch):
    monkeypatch.setattr("vlmad_core.benchmark.timing._SECONDS", 0.01)
    assert vlmad(*typed, "--shots", "0,1", "--speed").code == 0
    lines = [json.loads(line) for line in (tmp_path / "out/speed.jsonl").read_text().splitlines()]
    assert [(one["method"], one["shots"], one["batch"]) for one in lines] == [
        ("words", 0, 1),
        ("words", 1, 1),
        ("remember", 1, 1),
    ]
    assert all(0 < one["p50_ms"] <= one["p95_ms"] <= one["p99_ms"] and one["flops"] > 0 for one in lines)
    before = (tmp_path / "out/speed.jsonl").read_bytes()
    assert vlmad(*typed, "--shots", "0,1", "--speed", "-q").code == 0
    assert (tmp_path / "out/speed.jsonl").read_bytes() == before


def test_parts_make_a_grid_with_the_recipes(vlmad, typed):
    message = json.loads(
        vlmad(*typed, "--extractor", "patches", "--prompts", "templates", "--shots", "1", "--json", "-q").out
    )
    assert [row["method"] for row in message["rows"]] == ["words, patches, templates", "remember, patches, templates"]


def test_failed_cells_give_3_and_a_sentence(vlmad, typed, data):
    for path in (data / "plate/train/good").iterdir():
        path.unlink()
    done = vlmad(*typed, "--shots", "0,1")
    assert done.code == 3
    assert "2 cells failed: things/plate: has no normal image to draw 1 from (train/good)." in done.err
    assert "2 will fail" in done.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give a plan, or at least --data FOLDER and --recipe NAME"),
        (["--shots", "few"], "--shots wants whole numbers such as 0,1,4; got 'few'."),
        (["--class-name", "steel"], "--class-name wants CATEGORY=NAME"),
        (["--extractor", "patches"], "name it with --recipe"),
        (["--data", "x", "--recipe", "words"], "give a folder for the results: --out FOLDER"),
    ],
)
def test_wrong_usage_is_told(vlmad, arguments, said):
    done = vlmad("benchmark", *arguments)
    assert done.code == 2
    assert said in " ".join(done.err.replace("│", " ").split())


def test_a_plan_with_a_slip_is_refused_with_its_file(vlmad, data, tmp_path):
    (tmp_path / "plan.yaml").write_text(json.dumps({"data": str(data), "methods": ["words"], "shot": [1]}))
    done = vlmad("benchmark", tmp_path / "plan.yaml", "--out", tmp_path / "out")
    assert done.code == 1
    assert "plan.yaml: plan.shot: no such option of 'the plan'. Did you mean 'shots'?" in done.err


def test_another_plan_in_the_folder_is_refused(vlmad, typed):
    assert vlmad(*typed, "-q").code == 0
    done = vlmad(*typed, "--shots", "1", "-q")
    assert done.code == 1
    assert "was made by another plan: plan.shots was [0] and is now [1]" in done.err
    assert vlmad(*typed, "--shots", "1", "-q", "--extend").code == 0


def test_own_folders_are_fitted_on_a_share_and_their_problems_are_printed(vlmad, tmp_path):
    rng, root = np.random.default_rng(0), tmp_path / "own"
    for kind, count in (("good", 4), ("defects", 2), ("masks", 3)):
        (root / kind).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(rng.integers(0, 255, (32, 32, 3), np.uint8)).save(root / kind / f"{kind[:1]}{i}.png")
    done = vlmad(
        *("benchmark", "--data", root, "--recipe", "remember", "--shots", "2", "--out", tmp_path / "out"),
        *("--train-share", "0.5", "--workers", "1"),
    )
    assert done.code == 0, done.err
    (row,) = [json.loads(line) for line in (tmp_path / "out/rows.jsonl").read_text().splitlines()]
    assert (row["good"], row["defective"], len(row["references"])) == (2, 2, 2)
    assert "is a mask without an image" in done.err
    assert json.loads((tmp_path / "out/plan.json").read_text())["settings"]["plan"]["train_share"] == 0.5
    assert " to " in done.out  # the interval of the image AUROC


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs signals")
@pytest.mark.slow
def test_a_killed_run_goes_on(environment, typed, tmp_path):
    command = [sys.executable, "-m", "vlmad_core.cli", *map(str, typed), "--shots", "1,2,3", "--seeds", "12", "-q"]
    rows = tmp_path / "out/rows.jsonl"
    for _ in range(2):
        running = subprocess.Popen(command, env=environment)
        before = rows.read_bytes().count(b"\n") if rows.exists() else 0
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and running.poll() is None:
            if rows.exists() and rows.read_bytes().count(b"\n") > before + 3:
                break
            time.sleep(0.01)
        os.kill(running.pid, signal.SIGKILL)
        assert running.wait() == -signal.SIGKILL
    assert subprocess.run(command, env=environment, check=False).returncode == 0
    lines = [json.loads(line) for line in rows.read_text().splitlines()]
    assert len(lines) == len({row["cell"] for row in lines}) == 2 * 3 * 12
    assert {row["status"] for row in lines} == {"done"}


def test_another_window_than_that_of_the_rows_is_refused_as_other_bits_are(vlmad, typed, tmp_path):
    done = vlmad(*typed, "--window", "0,4000", "--channels", "3,2,1")
    assert done.code == 0
    record = json.loads((tmp_path / "out/plan.json").read_text())["settings"]["plan"]
    assert record["bits"] == "window=0:4000;channels=3,2,1"
    assert "none left to run" in vlmad(*typed, "--window", "0,4e3", "--channels", "3,2,1").err
    for other in (["--window", "0,2000", "--channels", "3,2,1"], ["--bits", 12], []):
        refused = vlmad(*typed, *other)
        assert refused.code == 1
        assert 'made by another plan: plan.bits was "window=0:4000;channels=3,2,1" and is now' in refused.err


def test_scores_of_a_benchmark_are_those_of_its_window(vlmad, typed, data, tmp_path):
    """A window that halves the values gives what images with half the values give."""
    found = {}
    for name, window in (("stored", "0,510"), ("halved", "0,255")):
        done = vlmad(*typed, "--window", window, "--json", "--quiet", "--overwrite")
        assert done.code == 0
        row = json.loads(done.out)["rows"][0]
        lines = (tmp_path / f"out/scores/{row['cell']}.jsonl").read_text().splitlines()
        found[name] = [json.loads(line)["score"] for line in lines]
        for path in data.rglob("*.png"):  # for the second time
            Image.fromarray(np.round(np.asarray(Image.open(path)) / 2).astype(np.uint8)).save(path)
    assert found["stored"] == pytest.approx(found["halved"], abs=1e-6)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (
            17,
            "plan.bits: must be a number of bits from 8 to 16, or a text such as window=0:4000;channels=3,2,1, got 17",
        ),
        ("window=9:0", "a window is two finite numbers, the lower one first; got 9 and 0"),
        ("wide", "values are read by a text such as 'window=0:4000;channels=3,2,1'; got 'wide'"),
    ],
)
def test_wrong_window_in_a_plan_is_refused_with_a_sentence(vlmad, data, tmp_path, value, problem):
    (tmp_path / "plan.yaml").write_text(json.dumps({"data": str(data), "methods": ["words"], "bits": value}))
    refused = vlmad("benchmark", tmp_path / "plan.yaml", "--out", tmp_path / "out")
    assert refused.code == 1
    assert problem in " ".join(refused.err.split())


def test_bits_of_a_plan_may_be_a_number_in_quotes():
    from vlmad_core.benchmark import BenchmarkPlan

    assert BenchmarkPlan(data="x", methods=["words"], bits="12").bits == 12
    assert BenchmarkPlan(data="x", methods=["words"], bits="window=0:4e3").bits == "window=0:4000"
