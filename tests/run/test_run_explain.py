"""``--explain``: reasons in the results, and files about them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlmad_core.inspection.evidence import Evidence
from vlmad_core.run import read_results, run
from vlmad_core.run.evidence_picture import draw_evidence
from vlmad_core.run.explain import NormalCrop, crop_around, normal_crop
from vlmad_core.run.predict import judge


def test_a_run_with_reasons_writes_them_into_lines_pictures_and_json(pipeline, pictures, tmp_path):
    out = tmp_path / "out"
    summary = run(pipeline, pictures[:3], out, explain=True)
    assert summary.done == 3 and not summary.failed
    results = list(read_results(out))
    plain = next(iter(judge(pipeline, pictures[:3])))
    for result, (other, _) in zip(results, plain, strict=True):
        assert result.score == other.score
        assert result.reasons is not None and result.score is not None
        assert sum(one["value"] for one in result.reasons) == pytest.approx(result.score, abs=1e-5)
        assert all(one["label"] for one in result.reasons)
        assert result.evidence is not None
        with Image.open(out / result.evidence) as picture:
            assert picture.width > 600
        numbers = json.loads((out / result.evidence).with_suffix(".json").read_text())
        assert sum(one["value"] for one in numbers["score"]["contributions"]) == pytest.approx(result.score, abs=1e-5)
        nearest = result.nearest_normal
        assert nearest is not None and (out / nearest["crop"]).is_file()
        assert Path(nearest["path"]).parent.name == "normals"
        left, top, right, bottom = nearest["box"]
        assert 0 <= left < right <= 48 and 0 <= top < bottom <= 40
        assert result.score_without_region is not None and result.score_without_region < result.score
    with (out / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert all("unlike the normals" in row["reasons"] and row["nearest_normal"].endswith(".png") for row in rows)


def test_without_it_nothing_about_reasons_is_written(pipeline, pictures, tmp_path):
    run(pipeline, pictures[:2], tmp_path / "out")
    assert not (tmp_path / "out" / "evidence").exists()
    assert all(result.reasons is None and result.evidence is None for result in read_results(tmp_path / "out"))


def test_runs_with_and_without_reasons_are_not_mixed(pipeline, pictures, tmp_path):
    run(pipeline, pictures[:2], tmp_path / "out")
    with pytest.raises(Exception, match="made with other settings"):
        run(pipeline, pictures[:2], tmp_path / "out", explain=True)


def test_overwriting_removes_the_files_about_reasons(pipeline, pictures, tmp_path):
    run(pipeline, pictures[:2], tmp_path / "out", explain=True)
    assert len(list((tmp_path / "out" / "evidence").iterdir())) == 6
    run(pipeline, pictures[:2], tmp_path / "out", resume=False)
    assert not list((tmp_path / "out" / "evidence").iterdir())


def evidence_of(pipeline, path) -> Evidence:
    found: Evidence = pipeline.predict(path).evidence()
    return found


def test_a_normal_image_that_changed_is_not_shown(pipeline, pictures):
    evidence = evidence_of(pipeline, pictures[0])
    assert evidence.nearest is not None
    assert normal_crop(evidence).image is not None
    path = Path(evidence.nearest.path)
    Image.fromarray(np.zeros((40, 48, 3), np.uint8)).save(path)
    from vlmad_core.run import explain

    explain._read.cache_clear()
    changed = normal_crop(evidence)
    assert changed.image is None and "another file now" in str(changed.problem)
    path.unlink()
    explain._read.cache_clear()
    missing = normal_crop(evidence)
    assert missing.image is None and str(path) in str(missing.problem)


def test_a_crop_is_square_where_the_image_has_room():
    image = Image.fromarray(np.zeros((100, 200, 3), np.uint8))
    assert crop_around(image, (90, 40, 110, 60)).size == (320, 320)
    assert crop_around(image, (0, 40, 20, 60)).size == (240, 320)  # cut at the border: 30 of 40 pixels


def test_a_picture_without_a_memory_or_with_an_unknown_normal_is_drawn(pipeline, pictures):
    prediction = pipeline.predict(pictures[0])
    evidence = prediction.evidence()
    image = Image.open(pictures[0]).convert("RGB")
    drawn = draw_evidence(image, prediction, evidence, NormalCrop(problem="not known"), title="\x1b[31m" * 40)
    assert drawn.width == 1040
    from dataclasses import replace

    without = draw_evidence(image, prediction, replace(evidence, nearest=None), NormalCrop())
    assert without.height <= drawn.height
