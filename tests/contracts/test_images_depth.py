"""Bits, negatives, floats and pages: what the header says is honoured, and what it cannot say is noted."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlmad_core.contracts import Preprocess, open_image
from vlmad_core.contracts.decode import decode
from vlmad_core.contracts.images import read
from vlmad_core.errors import ConfigError, ImageError

GREY = np.arange(48, dtype=np.uint16).reshape(6, 8)


def tiff(path: Path, array: np.ndarray, photometric: int = 1, bits: int = 0) -> Path:
    """A baseline TIFF in one strip, written by hand."""
    height, width = array.shape[:2]
    samples = 1 if array.ndim == 2 else array.shape[2]
    data, start = array.tobytes(), 8 + 2 + 12 * 10 + 4
    kind = {"u": 1, "i": 2, "f": 3}[array.dtype.kind]
    bits = bits or 8 * array.itemsize
    extra = struct.pack("<3H", *[bits] * 3) + struct.pack("<3H", *[kind] * 3) if samples == 3 else b""
    shared = [bits if samples == 1 else start, kind if samples == 1 else start + 6]
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, samples, shared[0]), (259, 3, 1, 1)]
    tags += [(262, 3, 1, photometric), (273, 4, 1, start + len(extra)), (277, 3, 1, samples), (278, 4, 1, height)]
    tags += [(279, 4, 1, len(data)), (339, 3, samples, shared[1])]
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    path.write_bytes(head + b"\0\0\0\0" + extra + data)
    return path


def shown(path: Path, **options: int) -> np.ndarray:
    return np.asarray(open_image(path, **options))[..., 0]


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_few_bits_in_16_are_noted_and_can_be_given(tmp_path: Path, bits: int, suffix: str) -> None:
    values = GREY * ((2**bits - 1) // 48)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(values).save(path)
    with pytest.warns(UserWarning, match=rf"a\.{suffix}: its highest value, \d+, fits in {bits} of its 16 bits"):
        dark = shown(path)
    assert dark.max() < 64
    np.testing.assert_allclose(shown(path, bits=bits), values.astype(float) * 255 / (2**bits - 1), atol=0.51)
    np.testing.assert_array_equal(np.asarray(open_image(values, bits=bits))[..., 0], shown(path, bits=bits))
    np.testing.assert_array_equal(np.asarray(open_image(Image.open(path), bits=bits))[..., 0], shown(path, bits=bits))


def test_values_above_the_given_bits_are_refused(tmp_path: Path) -> None:
    Image.fromarray(GREY * 1000).save(tmp_path / "a.png")
    with pytest.raises(ImageError, match="has a value of 47000, and 12 bits end at 4095"):
        open_image(tmp_path / "a.png", bits=12)


def test_bits_say_nothing_of_8_bit_files(tmp_path: Path) -> None:
    Image.fromarray(GREY.astype(np.uint8)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(shown(tmp_path / "a.png", bits=12), GREY)


@pytest.mark.parametrize("bits", [7, 17])
def test_bits_that_no_16_bit_file_has(bits: int) -> None:
    with pytest.raises(ConfigError, match=f"bits must be from 8 to 16, got {bits}"):
        decode(GREY, bits=bits)
    with pytest.raises(ConfigError, match=f"bits must be from 8 to 16, got {bits}"):
        Preprocess((8, 8), bits=bits)


def test_packed_12_bit_tiff_is_read_on_its_own_scale(tmp_path: Path) -> None:
    pairs = np.array([[0, 4095, 2048, 1024]], np.uint16)
    a, b = pairs[0, ::2], pairs[0, 1::2]
    packed = np.stack([a >> 4, (a & 15) << 4 | b >> 8, b & 255], -1).astype(np.uint8).reshape(1, -1)
    path = tiff(tmp_path / "a.tif", packed, bits=12)
    data = bytearray(path.read_bytes())
    place = data.index(struct.pack("<HHI", 256, 4, 1)) + 8
    data[place : place + 4] = struct.pack("<I", 4)
    path.write_bytes(data)
    assert shown(path).tolist() == [[0, 255, 128, 64]]


def test_deep_colour_that_is_nearly_black_is_noted_and_its_bits_refused(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", np.stack([GREY * 80] * 3, -1), photometric=2)
    with pytest.warns(UserWarning, match="fits in 12 of its 16 bits.*save it with 8 bits a channel"):
        open_image(path)
    with pytest.raises(ImageError, match="has 16 bits a channel in colour"):
        open_image(path, bits=12)


@pytest.mark.parametrize("dtype", ["<u1", "<u2", "<f4"])
def test_white_is_zero_is_shown_as_it_is_meant(tmp_path: Path, dtype: str) -> None:
    top = {"<u1": 255, "<u2": 65535, "<f4": 1}[dtype]
    values = (GREY / 47 * top).astype(dtype)
    black = shown(tiff(tmp_path / "black.tif", values, 1)).astype(int)
    white = shown(tiff(tmp_path / "white.tif", (top - values).astype(dtype), 0)).astype(int)
    assert np.abs(black - white).max() <= 1
    assert np.ptp(black) == 255


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_float_that_is_not_finite_is_refused(tmp_path: Path, bad: float) -> None:
    values = np.full((4, 5), 0.5, np.float32)
    values[1, 2] = bad
    with pytest.raises(ImageError, match="must be finite"):
        open_image(tiff(tmp_path / "a.tif", values))
    with pytest.raises(ImageError, match="must be finite"):
        open_image(values)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((4, 5), np.float64), "1 x 64-bit floats"),
        (np.zeros((4, 5), np.float16), "1 x 16-bit floats"),
        (np.zeros((4, 5, 3), np.float32), "3 x 32-bit floats"),
    ],
)
def test_tiff_of_a_kind_that_cannot_be_read_says_which(tmp_path: Path, array: np.ndarray, words: str) -> None:
    path = tiff(tmp_path / "a.tif", array, photometric=2 if array.ndim == 3 else 1)
    with pytest.raises(ImageError, match=f"is a TIFF of {words} a pixel, a kind that cannot be read"):
        open_image(path)


def test_note_is_a_warning_once_a_reading_and_stays_with_its_picture(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path in paths:
        Image.fromarray(GREY * 80).save(path)
    with pytest.warns(UserWarning, match="0.png: its highest value") as caught:
        (batch,) = read(paths, Preprocess((8, 8)))
    assert len(caught) == 1
    assert all("fits in 12" in picture.notes[0] for picture in batch)
    (right,) = read(paths, Preprocess((8, 8), bits=12))
    assert not any(picture.notes for picture in right)
    assert right[0].pixels.max() > batch[0].pixels.max() + 3


def test_preview_of_a_photo_is_no_page(tmp_path: Path) -> None:
    photo = Image.new("RGB", (32, 24), "teal")
    photo.save(tmp_path / "a.mpo", save_all=True, append_images=[photo.resize((8, 6))])
    assert open_image(tmp_path / "a.mpo").size == (32, 24)


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.apng", "a.tif"])
def test_pages_and_frames_are_noted(tmp_path: Path, name: str) -> None:
    frames = [Image.new("RGB", (32, 24), colour) for colour in ("red", "lime", "blue")]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], format="PNG" if "apng" in name else None)
    with pytest.warns(UserWarning, match=rf"{name}: holds 3 pages or frames, and the first alone is read"):
        assert np.abs(np.asarray(open_image(tmp_path / name))[0, 0].astype(int) - (255, 0, 0)).max() < 4


def test_postscript_is_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess

    monkeypatch.setattr(subprocess, "check_call", lambda *_, **__: pytest.fail("a program was started"))
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6)).save(buffer, "EPS")
    for name in ("a.png", "a.eps", "a.jpg"):
        (tmp_path / name).write_bytes(buffer.getvalue())
        with pytest.raises(ImageError, match="is PostScript or PDF, which is not opened"):
            open_image(tmp_path / name)
