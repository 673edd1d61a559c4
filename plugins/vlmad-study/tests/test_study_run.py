"""A whole study with the tiny backbone: what is written, what is not measured twice, and what is refused."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from PIL import Image

from vlmad_core.errors import ConfigError
from vlmad_core.testing import memory_registry
from vlmad_study import run as running
from vlmad_study.run import plan_study, study

ASKED = {"backbone": "tiny", "shots": (0, 1), "seeds": 1, "class_names": {"*": "steel plate"}}


@pytest.fixture(autouse=True)
def no_tables_of_sections(monkeypatch):
    monkeypatch.setattr("vlmad_core.benchmark.folder.present", lambda rows, folder: iter(()))


@pytest.fixture
def registry():
    return memory_registry()


@pytest.fixture
def data(tmp_path):
    rng, root = np.random.default_rng(0), tmp_path / "things"
    for kind, count in (("train/good", 2), ("test/good", 4), ("test/hole", 4)):
        for i in range(count):
            pixels, mask = rng.integers(60, 160, (32, 32, 3), np.uint8), np.zeros((32, 32), np.uint8)
            if kind == "test/hole":
                mask[8 + i : 20 + i, 10:24] = 255
                pixels[mask > 0] = 250
                save(mask, root / f"plate/ground_truth/hole/{i}_mask.png")
            save(pixels, root / f"plate/{kind}/{i}.png")
    return root


def save(pixels, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def test_a_study_writes_a_report_that_needs_nothing_else_and_measures_nothing_twice(
    data, tmp_path, registry, monkeypatch
):
    out, said = tmp_path / "out", []
    report = study(data, out, registry=registry, sections=("prompts", "shots", "efficiency"), tell=said.append, **ASKED)
    page, text = report.html.read_text(), report.markdown.read_text()
    assert set(re.findall(r'src="(.{10})', page)) == {"data:image"}
    assert not re.search(r"https?://|<script|<link", page)
    pictures = re.findall(r"\]\(([^)]+)\)", text)
    assert pictures
    assert all((out / picture).exists() for picture in pictures)
    told = json.loads(report.json.read_text())
    assert report.recommended == told["recommended"]["method"]
    assert f"Take “{report.recommended}”" in page
    assert "vlmad predict NEW_IMAGES" in page
    assert "Nothing was tuned on this data" in page
    assert {one["method"] for one in told["speed"]} >= {"words", "patch-memory (tiny)"}
    assert any("pip install vlmad-winclip" in sentence for sentence in told["left_out"]["shots"])

    before = {path: path.read_bytes() for path in out.rglob("*.jsonl")}
    assert before
    for name in ("bars", "shots", "speed"):  # drawn above
        monkeypatch.setattr(
            f"vlmad_core.report.plots.{name}", lambda *args, **kwargs: (out / "pictures/efficiency.png",)
        )
    again = study(data, out, registry=registry, sections=("prompts", "shots", "efficiency"), **ASKED)
    assert {path: path.read_bytes() for path in out.rglob("*.jsonl")} == before
    assert again.reason == report.reason


def test_a_study_goes_on_where_it_was_stopped(data, tmp_path, registry, monkeypatch):
    asked = {"sections": ("shots",), **ASKED}

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(running, "draw_gallery", stop)
        with pytest.raises(KeyboardInterrupt):
            study(data, tmp_path / "out", registry=registry, **asked)
    rows = (tmp_path / "out/shots/rows.jsonl").read_bytes()
    scope = json.loads((tmp_path / "out/study-plan.json").read_text())["scope"]
    study(data, tmp_path / "out", registry=registry, **asked)
    assert (tmp_path / "out/shots/rows.jsonl").read_bytes() == rows
    assert json.loads((tmp_path / "out/study-plan.json").read_text())["scope"] == scope
    assert (tmp_path / "out/report.html").exists()


def test_another_study_in_the_same_folder_is_refused(data, tmp_path, registry):
    study(data, tmp_path / "out", registry=registry, sections=("alignment",), **ASKED)
    with pytest.raises(ConfigError, match=r"was made by another study: .*seeds was 1 and is now 2"):
        study(data, tmp_path / "out", registry=registry, sections=("alignment",), **{**ASKED, "seeds": 2})


def test_a_backbone_without_text_leaves_words_out_and_says_so(data, tmp_path, registry):
    blind = {**ASKED, "backbone": {"use": "tiny", "config": {"text": False}}}
    report = study(data, tmp_path / "out", registry=registry, sections=("features", "prompts", "shots"), **blind)
    told = json.loads(report.json.read_text())
    assert "The backbone has no text, so whatever compares with words is left out." in told["left_out"]["prompts"]
    assert report.shots == 1
    methods = {one["method"] for some in told["sections"]["features"].values() for one in some}
    assert methods
    assert all(method.endswith(", memory") for method in methods)


def test_less_is_judged_where_the_time_is_short_and_the_plan_says_so(data, registry):
    scope, steps = plan_study(data, registry=registry, sections=("alignment",), minutes=0.001, **{**ASKED, "seeds": 2})
    assert scope.seeds == 1
    assert "one draw of normal images is made in place of 2" in scope.reduced
    assert [step.name for step in steps] == ["alignment"]
    whole, _ = plan_study(data, registry=registry, sections=("alignment",), minutes=60, **ASKED)
    assert (whole.max_images, whole.reduced) == (None, "")


def test_more_normal_images_than_there_are_are_not_asked_for(data, registry):
    scope, _ = plan_study(data, registry=registry, sections=("alignment",), **{**ASKED, "shots": (0, 1, 2, 8)})
    assert scope.shots == (0, 1, 2)
    assert scope.reference == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"class_names": {"plat": "x"}}, "no category 'plat'.*Did you mean 'plate'"),
        ({"sections": ("speed",)}, "study.sections.0: "),
        ({"shots": (-1,)}, "numbers of normal images are 0 or more"),
        ({"backbones": "tiny"}, "study.backbones: no such option"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(data, tmp_path, registry, changes, words):
    with pytest.raises(ConfigError, match=words):
        study(data, tmp_path / "out", registry=registry, **{**ASKED, **changes})
    assert not (tmp_path / "out/shots").exists()


def test_a_method_that_guesses_is_not_praised(data, tmp_path, registry):
    for path in (data / "plate/test/hole").iterdir():
        path.write_bytes((data / "plate/test/good" / path.name).read_bytes())
    report = study(data, tmp_path / "out", registry=registry, sections=("shots",), **ASKED)
    assert "It is not shown to be better than chance on these images." in report.reason


def test_rows_of_methods_as_they_were_before_are_not_mixed_in(data, tmp_path, registry):
    study(data, tmp_path / "out", registry=registry, sections=("alignment",), **ASKED)
    rows = tmp_path / "out/alignment/rows.jsonl"
    lines = rows.read_text().splitlines()
    rows.write_text("\n".join([*lines, json.dumps({**json.loads(lines[0]), "cell": "0" * 16})]) + "\n")
    with pytest.raises(ConfigError, match=r"as it was before; .* Use another --out"):
        study(data, tmp_path / "out", registry=registry, sections=("alignment",), **ASKED)
