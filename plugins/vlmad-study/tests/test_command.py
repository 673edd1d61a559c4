"""`vlmad study`: options become a study, and what it says stays apart from what it prints."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    monkeypatch.setattr("vlmad_core.benchmark.folder.present", lambda rows, folder: iter(()))


@pytest.fixture
def typed(tmp_path):
    rng, root = np.random.default_rng(0), tmp_path / "things"
    for kind, count in (("train/good", 2), ("test/good", 3), ("test/hole", 3)):
        folder = root / "plate" / kind
        folder.mkdir(parents=True)
        for i in range(count):
            Image.fromarray(rng.integers(0, 255, (32, 32, 3), np.uint8)).save(folder / f"{i}.png")
    return [
        "study",
        "--data",
        root,
        "--backbone",
        "tiny",
        "--sections",
        "alignment,shots",
        "--shots",
        "0,1",
        "--seeds",
        "1",
    ]


def test_a_plan_is_told_and_nothing_is_written(vlmad, typed, tmp_path):
    done = vlmad(*typed, "--plan")
    assert done.code == 0
    assert "alignment" in done.out
    assert "left out: Learned words and projections are left out" in done.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["site", "things"]
    told = json.loads(vlmad(*typed, "--plan", "--json").out)
    assert [step["name"] for step in told["steps"]] == ["shots", "alignment", "gallery"]


def test_the_report_is_named_and_json_is_one_document(vlmad, typed, tmp_path):
    done = vlmad(*typed, "--out", tmp_path / "out", "-c", "steel plate", "--synonyms", "plate=sheet,disc")
    assert done.code == 0
    assert done.out.startswith("Take “")
    assert "report.html" in done.err
    assert "steel plate" in (tmp_path / "out/report.md").read_text()
    again = vlmad(
        *typed, "--out", tmp_path / "out", "-c", "steel plate", "--synonyms", "plate=sheet,disc", "--json", "-q"
    )
    assert (again.code, again.err) == (0, "")
    assert json.loads(again.out)["recommended"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ([], "say where the report goes"),
        (["--plan", "--set", "scorers.0.config.top=0"], "takes backbone.config.OPTION=VALUE alone"),
        (["--plan", "-c", "=x"], "wants WORDS or CATEGORY=WORDS"),
        (["--plan", "--shots", "few"], "wants whole numbers"),
    ],
)
def test_wrong_usage_is_told(vlmad, typed, more, words):
    done = vlmad(*typed, *more)
    assert done.code == 2
    assert words in " ".join(done.err.replace("│", " ").split())
