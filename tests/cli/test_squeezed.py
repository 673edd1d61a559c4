"""Images much larger than the encoder's input: said once, with the size of a cell, and counted; never for others."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from vlmad_core.contracts.image_size import ImageSize
from vlmad_core.contracts.tiles import Tiles
from vlmad_core.contracts.views import Views, squeezed

SQUARE = ImageSize((32, 32))


@pytest.mark.parametrize(
    ("views", "given", "reduction"),
    [
        (Views((SQUARE,)), (192, 192), None),
        (Views((SQUARE,)), (192, 193), (6, 193 / 32)),
        (Views((SQUARE, ImageSize((64, 64)))), (320, 320), None),
        (Views((SQUARE,), Tiles()), (320, 320), None),
        (Views((SQUARE,), Tiles(count=2)), (1600, 1600), (1600 / 1.75 / 32,) * 2),
    ],
)
def test_image_is_squeezed_from_36_times_its_finest_input_on(views, given, reduction):
    found = squeezed(views.of(given))
    assert found == (None if reduction is None else pytest.approx(reduction, abs=0.05))


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, (width, height) in enumerate([(320, 640), (40, 40), (400, 400)]):
        pixels = np.random.default_rng(i).integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


def test_predict_says_once_how_large_a_cell_is_and_counts(vlmad, photos):
    seen = vlmad("predict", photos, "-r", "words", "--class-name", "nut", "--json")
    text = " ".join(seen.err.split())
    assert text.count("become") == 1
    assert "320 x 640 pixels become 32 x 32 for the encoder: a cell of the map stands for 80 x 160 pixels" in text
    assert "a defect of less than about 40 may not be found. --tiles auto" in text
    assert "2 of them much larger than the encoder's input" in text
    assert [json.loads(line)["squeezed"] for line in seen.out.splitlines()] == [[20, 10], None, [12.5, 12.5]]


def test_nothing_is_said_where_images_are_not_much_larger_or_quiet_is_asked_for(vlmad, photos):
    assert "become" not in vlmad("predict", photos / "1.png", "-r", "words", "--class-name", "nut").err
    assert vlmad("predict", photos, "-r", "words", "--class-name", "nut", "--quiet").err == ""


def test_fit_and_calibrate_say_it_too(vlmad, photos, tmp_path):
    seen = vlmad("fit", photos, "-r", "remember", "--out", tmp_path / "d", "--class-name", "nut")
    assert seen.code == 0
    assert seen.err.count("become") == 1
    again = vlmad("calibrate", tmp_path / "d", photos / "2.png")
    assert "400 x 400 pixels become 32 x 32" in " ".join(again.err.split())


def test_with_tiles_a_folder_of_mixed_sizes_is_named_and_nothing_is_squeezed(vlmad, photos):
    seen = vlmad("predict", photos, "-r", "words", "--class-name", "nut", "--tiles", "auto", "--json")
    text = " ".join(seen.err.split())
    assert "2 of 3 images were large enough for tiles" in text
    assert "become" not in text
    assert [json.loads(line)["squeezed"] for line in seen.out.splitlines()] == [None, None, None]
    one_size = vlmad(
        "predict", photos / "0.png", photos / "2.png", "-r", "words", "--class-name", "nut", "--tiles", "auto"
    )
    assert "were large enough" not in one_size.err
