"""The command that a report prints gives the very scores that the report is about."""

from __future__ import annotations

import json
import shlex
import shutil
import warnings

import pytest

from vlmad_core.pipeline import PipelineSpec
from vlmad_core.pipeline.resolve import resolve
from vlmad_core.registry import validate
from vlmad_core.report import read_rows
from vlmad_study import study
from vlmad_study.ranking import rank
from vlmad_study.usage import command, save_method


@pytest.fixture
def measured(data, tmp_path, vlmad):
    """Rows of section `shots` on the tiny backbone with an option, by label."""
    out = tmp_path / "out"
    backbone = {"use": "tiny", "config": {"image_size": (48, 48)}}
    study(data, out, backbone=backbone, sections=("shots", "alignment"), shots=(0, 1), seeds=1)
    return {one.method: one for one in rank(read_rows(out / "shots"))}, out


def test_a_printed_command_repeats_the_scores_that_were_measured(measured, data, tmp_path, vlmad):
    methods, out = measured
    for method in ("text", "text + memory", "patch-memory (tiny)", "clip (tiny)"):
        one, here = methods[method], tmp_path / method
        row = one.rows.done[0]
        path = save_method(one, here / "own.yaml")
        assert resolve(path).spec == validate(PipelineSpec, row["spec"])
        normal = here / "normal"
        normal.mkdir()
        for name in row["references"]:
            shutil.copy(data / name, normal)
        places = {"NEW_IMAGES": str(data / "plate/test"), "NORMAL_IMAGES": str(normal), "RESULTS": str(here / "new")}
        words = [places.get(word, word) for word in shlex.split(command(one, path, None))]
        done = vlmad(*words[1:], "-q")
        assert done.code == 0, done.err
        lines = (out / f"shots/scores/{row['cell']}.jsonl").read_text().splitlines()
        expected = {line["path"][-10:]: line["score"] for line in map(json.loads, lines)}
        results = [json.loads(line) for line in (here / "new/results.jsonl").read_text().splitlines()]
        assert {one["path"][-10:]: one["score"] for one in results} == pytest.approx(expected, abs=1e-5)


def test_each_command_of_a_report_names_a_recipe_file_of_its_own(measured):
    _, out = measured
    text = (out / "report.md").read_text()
    commands = [line for line in text.splitlines() if line.startswith("vlmad predict")]
    files = [words[words.index("--recipe") + 1] for words in map(shlex.split, commands)]
    assert len(files) == len(set(files)) == 2
    for file, words in zip(files, map(shlex.split, commands), strict=True):
        memory = any(part.name == "memory" for part in resolve(file).spec.scorers)
        assert memory == ("--normal" in words)


def test_a_recipe_that_was_not_written_is_not_named(measured, tmp_path):
    methods, _ = measured
    one = methods["text"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert save_method(one, tmp_path / "recipe.txt") is None
    assert command(one, None, None) is None
