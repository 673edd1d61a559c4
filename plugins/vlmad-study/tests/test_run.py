"""A whole study with the tiny backbone: what is written, what is not measured twice, what is cut, what is refused."""

from __future__ import annotations

import json
import os
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from vlmad_core.errors import ConfigError
from vlmad_study import planning
from vlmad_study import run as running
from vlmad_study.backbone import inspect_backbone
from vlmad_study.cost import Timing
from vlmad_study.data import read_data
from vlmad_study.folder import drop_partial_rows
from vlmad_study.planning import Planner, first_scope, plan_study
from vlmad_study.run import study
from vlmad_study.settings import StudySettings
from vlmad_study.time_limit import TimeIsUpError, TimeLimit

ASKED = {"backbone": "tiny", "shots": (0, 1), "seeds": 1, "class_names": {"*": "steel plate"}}


@pytest.fixture(autouse=True)
def short_measurements(monkeypatch):
    monkeypatch.setattr("vlmad_study.cost._SECONDS", 0.05)


def test_a_study_writes_a_report_that_needs_nothing_else_and_measures_nothing_twice(
    data, tmp_path, registry, monkeypatch
):
    out, asked = tmp_path / "out", {"sections": ("prompts", "shots", "efficiency"), **ASKED}
    report = study(data, out, registry=registry, **asked)
    page, text = report.html.read_text(), report.markdown.read_text()
    assert set(re.findall(r'src="(.{10})', page)) == {"data:image"}
    assert not re.search(r"https?://|<script|<link", page)
    pictures = re.findall(r"\]\(([^)]+)\)", text)
    assert pictures
    assert all((out / picture).exists() for picture in pictures)
    summary = json.loads(report.json.read_text())
    assert report.recommended == summary["recommended"]["method"]
    assert f"Take “{report.recommended}”" in page
    assert "vlmad predict NEW_IMAGES" in page
    assert "Nothing was tuned on this data" in page
    assert {one["method"] for one in summary["speed"]} >= {"text", "patch-memory (tiny)"}
    assert any("pip install vlmad-winclip" in sentence for sentence in summary["left_out"]["shots"])

    before = {path: path.read_bytes() for path in out.rglob("*.jsonl")}
    assert before
    for name in ("shots", "speed"):  # drawn above
        monkeypatch.setattr(f"vlmad_core.report.plots.{name}", lambda *args, **kwargs: (out / "images/efficiency.png",))
    again = study(data, out, registry=registry, **asked)
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
    summary = json.loads(report.json.read_text())
    assert "The backbone has no text encoder, so methods that need text are left out." in summary["left_out"]["prompts"]
    assert report.shots == 1
    methods = {one["method"] for some in summary["sections"]["features"].values() for one in some}
    assert methods
    assert all(method.endswith(": memory") for method in methods)


def test_less_is_judged_where_the_time_is_short_and_the_plan_says_so(data, registry):
    scope, steps = plan_study(data, registry=registry, sections=("alignment",), minutes=0.001, **{**ASKED, "seeds": 2})
    assert scope.seeds == 1
    assert "one draw of normal images in place of 2" in scope.cuts["shots"]
    assert [step.name for step in steps] == ["shots"]
    whole, _ = plan_study(data, registry=registry, sections=("alignment",), minutes=60, **ASKED)
    assert (whole.max_images, whole.cuts) == ({"shots": None}, {})


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
    assert report.reason.startswith("No method is shown to work on these images")


def test_rows_of_methods_as_they_were_before_are_not_mixed_in(data, tmp_path, registry):
    study(data, tmp_path / "out", registry=registry, sections=("alignment",), **ASKED)
    rows = tmp_path / "out/shots/rows.jsonl"
    lines = rows.read_text().splitlines()
    rows.write_text("\n".join([*lines, json.dumps({**json.loads(lines[0]), "cell": "0" * 16})]) + "\n")
    with pytest.raises(ConfigError, match=r"as it was before; .* Use another --out"):
        study(data, tmp_path / "out", registry=registry, sections=("alignment",), **ASKED)


class Hurried(TimeLimit):
    """Ten seconds are always left, and a step is stopped where `stop` says so."""

    left, stop = 10.0, False

    def check(self):
        if self.stop:
            raise TimeIsUpError


def test_what_does_not_fit_is_cut_and_named_and_completed_by_a_call_with_more_time(
    data, tmp_path, registry, monkeypatch
):
    out, asked = tmp_path / "out", {**ASKED, "sections": ("shots", "features", "prompts")}
    slow = [Timing({}, 0.0)]  # of section shots; whatever else there is takes too long
    with monkeypatch.context() as patch:
        patch.setattr(running, "TimeLimit", Hurried)
        patch.setattr(planning, "time_cells", lambda *_, **__: slow.pop() if slow else Timing({}, 1e4))
        short = study(data, out, registry=registry, minutes=0.5, **asked)
    cuts = json.loads((out / "study-plan.json").read_text())["scope"]["cuts"]
    assert set(cuts) == {"features, time", "prompts, time"}
    assert "The limit of 0.5 minutes allowed less than everything" in short.markdown.read_text()
    assert "features: left out for lack of time; it needs" in short.html.read_text()
    rows = (out / "shots/rows.jsonl").read_bytes()
    whole = study(data, out, registry=registry, minutes=5, **asked)
    assert json.loads((out / "study-plan.json").read_text())["scope"]["cuts"] == {}
    assert (out / "shots/rows.jsonl").read_bytes() == rows
    assert json.loads(whole.json.read_text())["sections"]["features"]


def test_a_section_that_is_stopped_leaves_a_report_that_says_so(data, tmp_path, registry, monkeypatch):
    monkeypatch.setattr(running, "TimeLimit", Hurried)
    monkeypatch.setattr(Hurried, "stop", True)
    report = study(data, tmp_path / "out", registry=registry, **{**ASKED, "sections": ("shots",)})
    assert (report.tested, report.recommended) == (0, "")
    assert "shots: stopped when its time was over" in report.markdown.read_text()


def test_rows_of_a_stopped_section_are_kept_only_where_methods_can_be_compared(tmp_path):
    def row(method, category):
        return {"cell": f"{method}-{category}", "dataset": "d", "category": category, "method": method} | {
            "shots": 0,
            "seed": 0,
        }

    rows = [row(m, c) for m, c in (("a", "x"), ("b", "x"), ("a", "y"), ("b", "y"), ("a", "z"), ("late", "x"))]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    drop_partial_rows(tmp_path)
    kept = [json.loads(line)["cell"] for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert kept == ["a-x", "b-x", "a-y", "b-y"]


def test_a_paper_s_name_alone_stands_for_its_own_backbone_only(data, tmp_path, registry):
    report = study(data, tmp_path / "out", registry=registry, sections=("shots",), **ASKED)
    methods = {
        one["method"] for some in json.loads(report.json.read_text())["sections"]["shots"].values() for one in some
    }
    assert methods == {"text", "text + memory", "patch-memory (tiny)", "clip (tiny)"}


def test_folders_without_a_split_can_be_used_with_normal_images(data, tmp_path, registry):
    root = tmp_path / "own"
    for kind, source in (("good", "test/good"), ("defects", "test/hole")):
        shutil.copytree(data / "plate" / source, root / kind)
    asked = {**ASKED, "sections": ("shots",), "class_names": {}}
    none = study(root, tmp_path / "none", registry=registry, **asked)
    assert none.shots == 0
    few = study(root, tmp_path / "few", registry=registry, train_share=0.5, **asked)
    assert few.tested == 6
    methods = {one["method"] for one in json.loads(few.json.read_text())["sections"]["shots"]["own"]}
    assert "patch-memory (tiny)" in methods


def test_names_that_are_not_utf_8_do_not_end_a_study(data, tmp_path, registry):
    root = tmp_path / "strange"
    broken = os.fsdecode(b"pl\xe9te\xff")
    try:
        shutil.copytree(data / "plate", root / broken)
        (root / broken / "test/good/0.png").rename(root / broken / os.fsdecode(b"test/good/=1+\xfe`<b>.png"))
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    asked = {**ASKED, "class_names": {}, "sections": ("alignment", "shots")}
    report = study(root, tmp_path / "out", registry=registry, **asked)
    assert report.tested == 8
    assert "\ufffd" in report.markdown.read_text(encoding="utf-8")
    assert "<b>" not in report.html.read_text(encoding="utf-8")


def test_what_takes_longest_is_left_out_first_but_never_the_backbone_s_own(data, registry):
    settings = StudySettings(data=data, **{**ASKED, "shots": (0, 1, 2), "seeds": 2})
    planner = Planner(settings, read_data(settings, registry), inspect_backbone(settings.backbone, registry), registry)
    scope = first_scope(settings, planner.data)
    chosen = planner.choose("shots", scope, 1e-6, 1.0, lambda: None)
    assert (chosen.scope.seeds, chosen.scope.shots) == (1, (0, 2))
    assert "one draw of normal images in place of 2; 2 normal images alone in place of 0, 1, 2" in chosen.cuts["shots"]
    kept = {method.name for method in chosen.planned.methods}
    assert kept == {"text", "text + memory", "memory in the joint space"}  # the last has the features of the first
    assert "patch-memory (tiny)" in chosen.cuts["shots, methods"]
    whole = planner.choose("shots", scope, 1e6, 1.0, lambda: None)
    assert (whole.scope.seeds, whole.scope.shots, whole.cuts) == (2, (0, 1, 2), {})


@pytest.mark.slow
def test_trained_methods_take_part_and_are_marked_where_they_are_tested_on_their_own_data(data, tmp_path, registry):
    for name in ("learned-prompts", "dpam", "compositional"):
        registry.add(f"vlmad_{name.replace('-', '_')}.plugin", f"vlmad-{name}")
    other = tmp_path / "second"
    shutil.copytree(data, other)
    for path in [*other.glob("*/train/*/*.png"), *other.glob("*/test/*/*.png")]:  # a copy would be recognised
        Image.fromarray(np.asarray(Image.open(path))[::-1].copy()).save(path)
    asked = {**ASKED, "sections": ("alignment", "prompts", "cross-domain"), "other": other, "epochs": 1}
    report = study(data, tmp_path / "out", registry=registry, **asked)
    summary = json.loads(report.json.read_text())
    methods = {one["method"]: one for one in summary["sections"]["cross-domain"]["things"]}
    assert methods["anomalyclip (tiny), trained on things"]["trained_on_this"]
    assert not methods["anomalyclip (tiny), trained on second"]["trained_on_this"]
    tested = {one["method"] for one in summary["sections"]["prompts"]["things"]}
    assert "anomalyclip (tiny) on plain patches, trained on second" in tested
    assert {effect["kind"] for effect in summary["effects"]} == {"normal state", "abnormal state", "template"}


def test_methods_that_were_left_out_are_added_by_a_call_with_more_time(data, tmp_path, registry, monkeypatch):
    out, asked = tmp_path / "out", {**ASKED, "sections": ("shots",)}
    with monkeypatch.context() as patch:
        patch.setattr(running, "TimeLimit", Hurried)
        patch.setattr(planning, "time_cells", lambda *_, **__: Timing({("clip (tiny)",): 10.0}, 0.0))
        study(data, out, registry=registry, **asked)
    assert "clip (tiny)" in json.loads((out / "study-plan.json").read_text())["scope"]["dropped"]
    report = study(data, out, registry=registry, **asked)
    scope = json.loads((out / "study-plan.json").read_text())["scope"]
    assert (scope["dropped"], "shots, methods" in scope["cuts"]) == ([], False)
    assert "clip (tiny)" in report.markdown.read_text()
