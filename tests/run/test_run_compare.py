"""Runs side by side: each image stands where it should, with the heat of its run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlmad_core.errors import ConfigError
from vlmad_core.pipeline.pipeline import Pipeline
from vlmad_core.run import comparison, run


def test_each_group_has_its_photographs_and_both_runs(pipeline: Pipeline, pictures: list[Path], tmp_path: Path) -> None:
    for name, scale in (("cold", (5.0, 6.0)), ("hot", (-2.0, -1.0))):
        run(pipeline, pictures[:3], tmp_path / name, scale=scale)
    groups = {"bad": [str(pictures[0]), str(pictures[1])], "good": [str(pictures[2])]}
    runs = {"cold": tmp_path / "cold", "hot": tmp_path / "hot"}
    path = comparison(runs, groups, tmp_path / "new" / "sheet.png", title="Two runs")
    with Image.open(path) as opened:
        sheet = np.asarray(opened.convert("RGB"), dtype=float)
    assert sheet.shape[1] == 2 * (24 + 3 * 208 - 8) + 40  # two margins, two blocks of three, one gutter
    photograph, cold, hot = (sheet[150:300, left : left + 200].mean((0, 1)) for left in (24, 232, 440))
    np.testing.assert_allclose(cold, photograph, atol=3)  # nothing reaches that scale: the photograph shows
    assert np.abs(hot - photograph).max() > 50


def test_an_image_that_a_run_has_not_drawn_is_refused(pipeline: Pipeline, pictures: list[Path], tmp_path: Path) -> None:
    run(pipeline, pictures[:2], tmp_path / "out")
    with pytest.raises(ConfigError, match=f"holds no overlay of {pictures[3]}"):
        comparison({"one": tmp_path / "out"}, {"all": [str(pictures[3])]}, tmp_path / "sheet.png")
