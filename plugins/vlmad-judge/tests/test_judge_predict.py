"""``vlmad predict --judge``: a sentence and a vote beside the verdict, and nothing else."""

import json
import sys
import warnings

import numpy as np
import pytest
from PIL import Image

from vlmad_core.cli import __main__, terminal
from vlmad_core.registry import default_registry
from vlmad_judge.testing import reply, send

PLUGIN = """
from vlmad_core.registry import hookimpl
from vlmad_core.testing.registry import TINY

@hookimpl
def vlmad_backbones():
    yield TINY
"""
NO_DEFECT = {"defect": False, "where": "nowhere", "kind": "none", "why": "No defect is visible."}


@pytest.fixture
def vlmad(tmp_path, monkeypatch, capsys):
    """The command line in this process, with the built-ins, this plugin and the tiny backbone."""
    about = tmp_path / "site" / "vlmad_tinyjudge-0.1.0.dist-info"
    about.mkdir(parents=True)
    (tmp_path / "site" / "vlmad_tinyjudge.py").write_text(PLUGIN)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: vlmad-tinyjudge\nVersion: 0.1.0\n")
    (about / "entry_points.txt").write_text("[vlmad]\ntiny = vlmad_tinyjudge\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setenv("VLMAD_PLUGINS", "vlmad-tinyjudge vlmad-judge")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.setattr(terminal, "verbose", False)
    default_registry.cache_clear()

    def call(*arguments):
        with pytest.raises(SystemExit) as left:
            __main__.main([str(argument) for argument in arguments])
        written = capsys.readouterr()
        return int(left.value.code or 0), written.out, written.err

    yield call
    default_registry.cache_clear()
    sys.modules.pop("vlmad_tinyjudge", None)


@pytest.fixture
def images(tmp_path):
    """Ten normal images, and a folder with one of them and a defective one."""
    rng = np.random.default_rng(0)
    for name, count in (("good", 10), ("parts", 2)):
        (tmp_path / name).mkdir()
        for i in range(count):
            pixels = rng.integers(119, 122, (32, 32, 3), np.uint8)
            if name == "parts" and i == 1:
                pixels[4:20, 4:20] = (255, 0, 0)
            Image.fromarray(pixels).save(tmp_path / name / f"{i}.png")
    (tmp_path / "parts/0.png").write_bytes((tmp_path / "good/0.png").read_bytes())  # as normal as can be
    return tmp_path


def predict(vlmad, images, endpoint, *more):
    judge = ["--judge", "openai-compatible", "--judge-set", f"base_url={endpoint.url}", "--judge-set", "model=fake"]
    return vlmad(
        *("predict", images / "parts", "--recipe", "patch-memory", "--backbone", "tiny", "--normal", images / "good"),
        *("--set", "extractor.config.layers=[-1]"),
        *("--false-alarms", "0.1", *judge, *more),
    )


def test_a_no_defect_vote_is_stored_and_the_reject_still_fails_the_run(vlmad, images, endpoint):
    endpoint.answer = lambda handler: send(handler, 200, reply(json.dumps(NO_DEFECT)))
    code, out, err = predict(vlmad, images, endpoint, "--fail-on", "reject", "--out", images / "out")
    assert code == 4
    lines = [json.loads(line) for line in (images / "out/results.jsonl").read_text().splitlines()]
    by_name = {line["path"].rpartition("/")[2]: line for line in lines}
    assert by_name["1.png"]["verdict"] == "reject"
    assert by_name["1.png"]["opinion"]["outcome"] == "no defect"
    assert "No defect is visible." in out
    assert "1 image stay rejected" in err.replace("images stay", "image stay") or "stay rejected" in err
    assert "no defect: No defect is visible." in (images / "out/results.csv").read_text()


def test_images_that_pass_are_not_sent_unless_asked_for(vlmad, images, endpoint):
    _, _, err = predict(vlmad, images, endpoint, "--json")
    sent = len(endpoint.requests)
    assert "second opinion: of each image that does not pass is sent to" in err
    predict(vlmad, images, endpoint, "--json", "--judge-set", "asks_all=true")
    assert (sent, len(endpoint.requests) - sent) == (1, 2)


def test_verdicts_are_the_same_with_and_without_a_second_opinion(vlmad, images, endpoint):
    endpoint.answer = lambda handler: send(handler, 500, b"down")
    options = ("--judge-set", "retries=0", "--json")
    with_opinion = [json.loads(line) for line in predict(vlmad, images, endpoint, *options)[1].splitlines()]
    _, out, _ = vlmad(
        *("predict", images / "parts", "--recipe", "patch-memory", "--backbone", "tiny", "--normal", images / "good"),
        *("--set", "extractor.config.layers=[-1]"),
        *("--false-alarms", "0.1", "--json"),
    )
    without = [json.loads(line) for line in out.splitlines()]
    for name in ("verdict", "score", "threshold", "p_value"):
        assert [line[name] for line in with_opinion] == [line[name] for line in without]
    assert {line["opinion"]["outcome"] for line in with_opinion if line["opinion"]} == {"unreachable"}


def test_results_of_another_model_are_not_mixed(vlmad, images, endpoint):
    predict(vlmad, images, endpoint, "--out", images / "out")
    code, _, err = predict(vlmad, images, endpoint, "--out", images / "out", "--judge-set", "model=other")
    assert code == 1
    assert "opinion.model was" in err


def test_an_option_that_does_not_exist_is_refused_before_anything_is_sent(vlmad, images, endpoint):
    code, _, err = predict(vlmad, images, endpoint, "--judge-set", "temprature=1")
    assert code != 0
    assert "temprature" in err
    assert endpoint.requests == []


def test_settings_without_a_name_are_wrong_usage(vlmad, images):
    code, _, err = vlmad("predict", images / "parts", "--judge-set", "model=x")
    assert code == 2
    assert "--judge" in err
