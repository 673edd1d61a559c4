"""A fixed window and chosen channels: the same grey for the same stored value in every image and kind of file."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image

from vlmad_core.cli.options import parse_values
from vlmad_core.contracts.decode import decode
from vlmad_core.contracts.images import Preprocess
from vlmad_core.contracts.values import Values, values_of, values_text
from vlmad_core.errors import ConfigError, ImageError

WINDOW = "window=100:300"
STORED = np.array([[0, 100, 150], [200, 300, 60000]], np.uint16)
GREY = [[0, 0, 64], [128, 255, 255]]


def grey(source: Path | np.ndarray, bits: str = WINDOW) -> list[list[int]]:
    pixels = np.asarray(decode(source, bits=bits).image)
    assert (pixels == pixels[..., :1]).all()
    found: list[list[int]] = pixels[..., 0].tolist()
    return found


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_a_window_of_16_bits(name: str, tmp_path: Path) -> None:
    Image.fromarray(STORED).save(tmp_path / name)
    assert grey(tmp_path / name) == GREY


def test_a_window_of_floats_and_of_32_bits(tmp_path: Path) -> None:
    Image.fromarray(STORED.astype(np.float32)).save(tmp_path / "float.tif")
    Image.fromarray(STORED.astype(np.int32)).save(tmp_path / "whole.tif")
    assert grey(tmp_path / "float.tif") == grey(tmp_path / "whole.tif") == GREY


def test_a_window_of_an_array_of_any_type() -> None:
    assert grey(STORED.astype(np.float64)) == grey(STORED.astype(np.int64)) == GREY


def test_channels_are_chosen_in_the_order_that_is_given(tmp_path: Path) -> None:
    colour = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    Image.fromarray(colour).save(tmp_path / "a.png")
    assert (np.asarray(decode(tmp_path / "a.png", bits="channels=3,2,1").image) == colour[..., ::-1]).all()
    assert grey(tmp_path / "a.png", "channels=2") == colour[..., 1].tolist()


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_a_tiff_of_five_channels_is_read_by_tifffile(planar: str, tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    stored = (np.arange(2 * 3 * 5, dtype=np.uint16) * 10).reshape(2, 3, 5)
    given = stored if planar == "contig" else np.moveaxis(stored, -1, 0)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, given, photometric="minisblack", planarconfig=planar)
    found = np.asarray(decode(path, bits="window=0:255;channels=5,1,3").image)
    assert (found == np.minimum(stored[..., [4, 0, 2]], 255)).all()
    with pytest.raises(ImageError, match=r"has 5 channels; say which"):
        decode(path, bits="window=0:255")
    with pytest.raises(ImageError, match=r"5 x 16-bit integers a pixel"):
        decode(path)


def test_16_bits_a_channel_in_colour_keep_all_of_them(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    stored = np.array([[[0, 100, 200], [300, 400, 4000]]], np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb")
    found = np.asarray(decode(tmp_path / "a.tif", bits="window=0:255").image)
    assert found.tolist() == np.minimum(stored, 255).tolist()


def test_several_pages_are_refused_or_said(tmp_path: Path) -> None:
    pages = [Image.fromarray(STORED), Image.fromarray(STORED)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    assert any("holds 2 pages" in note for note in decode(tmp_path / "a.tif", bits=WINDOW).notes)


def test_what_was_done_is_stated_and_no_problem() -> None:
    found = decode(STORED[..., None].repeat(3, 2), bits="window=0:4000;channels=3,2,1")
    assert found.notes == ()  # it was asked for
    assert found.read_as == "an array: read with values 0 to 4000 as black to white and channels 3, 2, 1."


@pytest.mark.parametrize(
    ("array", "text", "words"),
    [
        (np.full((2, 2), np.nan), WINDOW, "not finite"),
        (STORED, "channels=2", "has 1 channels, and channel 2 was asked for"),
        (np.full((2, 2), 7.0), "channels=1", "float values outside 0 to 1"),
        (STORED.astype(np.int64), "channels=1", "type int64, whose scale is not known"),
    ],
)
def test_what_has_no_sure_grey_is_refused(array: np.ndarray, text: str, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        decode(array, bits=text)


@pytest.mark.parametrize("text", ["", "window=1", "window=a:b", "channels=", "window=0:1;", "bits=12", "window=5:5"])
def test_a_text_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        values_of(text)
    with pytest.raises(ConfigError):
        Preprocess((8, 8), bits=text)


def test_the_text_is_that_of_the_values() -> None:
    values = Values((-1000.5, 1e-3), (4, 3, 2))
    assert values_of(values_text(values)) == values


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((12, "0,1", None), "--bits goes with neither"),
        ((None, "0", None), "two numbers"),
        ((None, "0,x", None), "two numbers"),
        ((None, "9,1", None), "lower one first"),
        ((None, None, "1,2"), "one number, or three"),
        ((None, None, "0,1,2"), "from 1"),
    ],
)
def test_options_of_another_form_are_refused(options: tuple[int | None, str | None, str | None], words: str) -> None:
    with pytest.raises(typer.BadParameter, match=words):
        parse_values(*options)


def test_options_become_one_text() -> None:
    assert parse_values(12, None, None) == 12
    assert parse_values(None, "0,4000", "3,2,1") == "window=0:4000;channels=3,2,1"


def test_a_detector_keeps_its_window_and_scores_by_it(tmp_path: Path) -> None:
    import vlmad_core
    from vlmad_core.testing import memory_registry

    registry = memory_registry()
    spec = {"backbone": {"use": "tiny"}, "extractor": {"use": "patches"}, "scorers": [{"use": "memory"}]}
    detector = vlmad_core.build(spec, registry=registry)
    detector.bits = "window=0:4000"
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 4000, (32, 32)).astype(np.float32) for _ in range(3)]
    eight = [np.round(np.clip(image / 4000, 0, 1) * 255).astype(np.uint8) for image in images]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the note says what the window is
        detector.fit(images[:2])
        loaded = vlmad_core.load(detector.save(tmp_path / "nut"), registry=registry)
        found = loaded.predict(images[2]).score
    assert loaded.bits == "window=0:4000"
    detector.bits = None
    detector.fit(eight[:2])
    assert found == pytest.approx(detector.predict(eight[2]).score, abs=1e-6)
