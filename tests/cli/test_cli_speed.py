"""`vlmad speed` and `vlmad compare`, in this process."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest


def test_speed_as_a_table_as_json_and_as_a_file(vlmad, pictures, normals, tmp_path):
    out = tmp_path / "speed.jsonl"
    arguments = ["speed", pictures, "-r", "remember", "-n", normals, "--repeats", 3, "-o", out]
    seen = vlmad(*arguments)
    assert seen.code == 0
    assert "p50 [ms]  p95 [ms]  p99 [ms]" in seen.out  # what is in brackets is no markup
    lines = [line.split() for line in seen.out.splitlines() if line.strip()[:1].isdigit()]
    assert [(line[0], len(line)) for line in lines] == [("1", 6), ("8", 3)]  # percentiles of single images alone
    assert "remember on tiny, 32 x 32 pixels" in seen.err and "GFLOP an image" in seen.err
    message = json.loads(vlmad(*arguments, "--batch-size", 2, "--json").out)
    assert [(row["method"], row["batch"], row["shots"]) for row in message] == [("remember", 2, 3)]
    assert [json.loads(line)["batch"] for line in out.read_text().splitlines()] == [1, 8, 2]


def test_speed_refuses_before_it_builds(vlmad, tmp_path):
    seen = vlmad("speed", tmp_path / "nowhere")
    assert seen.code == 1 and "no such file or folder" in seen.err
    assert vlmad("speed", tmp_path, "--repeats", 0).code == 2


@pytest.fixture
def benchmark(tmp_path: Path) -> Path:
    (tmp_path / "scores").mkdir()
    rng = np.random.default_rng(0)
    for method, quality in (("good", 3.0), ("bad", 0.3), ("too", 3.0)):
        common = {"status": "done", "dataset": "d", "backbone": "tiny", "shots": 0, "seed": 0}
        row = {"cell": method, "category": "c", "method": method, **common}
        with (tmp_path / "rows.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        lines = [{"path": str(i), "label": i % 2, "score": rng.normal() + quality * (i % 2)} for i in range(60)]
        (tmp_path / "scores" / f"{method}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def test_compare_says_which_is_better_or_that_none_was_shown(vlmad, benchmark):
    seen = vlmad("compare", benchmark, "good", "bad")
    assert seen.code == 0 and "good better" in seen.out and "<0.001" in seen.out
    assert "DeLong's test" in seen.err
    assert "no difference shown" in vlmad("compare", benchmark, "good", "too").out
    (message,) = json.loads(vlmad("compare", benchmark, "bad", "good", "--json").out)
    assert message["verdict"] == "second" and message["paired"]["high"] < 0


def test_compare_json_has_no_nan(vlmad, benchmark):
    """Perfect against perfectly wrong: the images tell no spread, so p is unknown."""
    for method, sign in (("good", 1), ("bad", -1)):
        lines = [{"path": str(i), "label": i % 2, "score": sign * (i % 2)} for i in range(60)]
        (benchmark / "scores" / f"{method}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    seen = vlmad("compare", benchmark, "good", "bad", "--json")
    assert json.loads(seen.out, parse_constant=pytest.fail)[0]["paired"]["p"] is None
    seen = vlmad("compare", benchmark, "good", "bad")
    assert "p is unknown" in seen.err


def test_compare_refuses_in_a_sentence(vlmad, benchmark, tmp_path):
    seen = vlmad("compare", benchmark, "god", "bad")
    assert seen.code == 1 and "Did you mean 'good'?" in seen.err
    assert vlmad("compare", benchmark, "good", "bad", "--metric", "aupro").code == 2
