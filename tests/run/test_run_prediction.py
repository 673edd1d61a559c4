"""A prediction for people: short as text, a picture in a notebook."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlmad_core.contracts import Prediction
from vlmad_core.errors import ImageError
from vlmad_core.pipeline.pipeline import Pipeline


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (24, 20, 3), np.uint8)).save(path)
    return path


def test_text_is_one_short_line(pipeline: Pipeline, photo: Path) -> None:
    text = repr(pipeline.predict(photo))
    assert text.startswith("Prediction(score=0.")
    assert "size=(24, 20)" in text
    assert len(text) < 120 + len(str(photo))
    assert "\n" not in text


def test_overlay_in_a_notebook(pipeline: Pipeline, photo: Path) -> None:
    result = pipeline.predict(photo)
    data = result._repr_png_()
    assert data is not None
    with Image.open(io.BytesIO(data)) as shown:
        assert shown.size == result.overlay().size
    assert result.overlay().size == result.overlay(Image.open(photo)).size


def test_overlay_of_a_picture_in_memory_needs_the_picture(pipeline: Pipeline, photo: Path) -> None:
    with Image.open(photo) as image:
        result = pipeline.predict(image)
        assert result._repr_png_() is None
        with pytest.raises(ImageError, match=r"give it: result\.overlay\(image\)"):
            result.overlay()
        assert result.overlay(image).width >= 360


def test_show_opens_the_overlay(pipeline: Pipeline, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Image.Image] = []
    monkeypatch.setattr(Image.Image, "show", lambda image: shown.append(image))
    pipeline.predict(photo).show()
    assert shown[0].width >= 360


def test_prediction_knows_what_is_usual_and_can_be_pickled(pipeline: Pipeline, photo: Path) -> None:
    result = pipeline.predict(photo)
    median, usual = pipeline.normal_range.tolist()
    assert result.normal_range == (None if median != median else (median, usual))
    assert pickle.loads(pickle.dumps(result)).normal_range == result.normal_range


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_finite(bad: float) -> None:
    values = np.zeros((2, 2), np.float32)
    assert Prediction(0.0, values, (2, 2)).is_finite
    assert not Prediction(bad, values, (2, 2)).is_finite
    values[0, 0] = bad
    assert not Prediction(0.0, values, (2, 2)).is_finite
