"""`vlmad study`: options become a study, results go to stdout, messages to stderr, and the exit code is right."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from vlmad_core.registry import default_registry


def test_a_plan_is_printed_and_nothing_is_written(vlmad, typed, tmp_path):
    done = vlmad(*typed, "--plan")
    assert done.code == 0
    assert "shots" in done.out
    assert "left out: Methods that must be trained are left out" in done.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["site", "things"]
    plan = json.loads(vlmad(*typed, "--plan", "--json").out)
    assert [step["name"] for step in plan["steps"]] == ["shots"]


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
        (["--plan", "-c", "=x"], "takes NAME or CATEGORY=NAME"),
        (["--plan", "--shots", "few"], "takes whole numbers"),
    ],
)
def test_wrong_usage_is_refused(vlmad, typed, more, words):
    done = vlmad(*typed, *more)
    assert done.code == 2
    assert words in " ".join(done.err.replace("│", " ").split())


def test_nothing_read_is_a_failure(vlmad, typed, data, tmp_path):
    for path in data.rglob("*.png"):
        path.write_bytes(b"no image")
    done = vlmad(*typed, "--out", tmp_path / "out")
    assert done.code == 1
    assert "no image could be tested" in done.err


def test_some_images_not_read_has_its_own_exit_code(vlmad, typed, data, tmp_path):
    (data / "plate/test/good/0.png").write_bytes(b"no image")
    done = vlmad(*typed, "--out", tmp_path / "out")
    assert done.code == 3
    assert "1 image could not be read" in done.err


def test_the_command_is_found_through_its_hook_without_torch():
    code = "import sys, vlmad_study.plugin; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert default_registry().get("command", "study").plugin == "vlmad-study"
