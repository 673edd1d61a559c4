"""What cannot be read: the sentence that the user sees, and that a batch goes on without it."""

from __future__ import annotations

import os
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vlmad_core.contracts import Preprocess, open_image
from vlmad_core.contracts.images import read, stack
from vlmad_core.errors import ImageError

SMALL = Preprocess((8, 8))


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8)


@pytest.fixture
def photo(tmp_path, noise):
    path = tmp_path / "photo.png"
    Image.fromarray(noise).save(path)
    return path


def saved(tmp_path, image: Image.Image, name: str, **options) -> Path:
    path = tmp_path / name
    image.save(path, **options)
    return path


# -- what cannot be read


def cut(name: str):
    def make(folder: Path) -> Path:
        whole = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        path = saved(folder, Image.fromarray(whole), name)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        return path

    return make


def written(name: str, content: bytes):
    def make(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(content)
        return path

    return make


def png_header(width: int, height: int) -> bytes:
    """A PNG that has promised a size and holds no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def grey_tiff(name: str, array: np.ndarray):
    return lambda folder: saved(folder, Image.fromarray(array), name)


REFUSED = {
    "truncated jpeg": (cut("a.jpg"), r"is damaged or cut short \(.*truncated"),
    "truncated png": (cut("a.png"), r"is damaged or cut short \("),
    "truncated tiff": (cut("a.tif"), r"is damaged or cut short|is not an image"),
    "empty file": (written("a.png", b""), r"the file is empty\.$"),
    "text file": (written("a.png", b"hello, I am no picture\n"), r"is not an image that can be read\.$"),
    "web page": (written("a.jpg", b"<!doctype html><title>404</title>"), r"is not an image that can be read\.$"),
    "only a signature": (written("a.png", b"\x89PNG\r\n\x1a\n"), r"is damaged or cut short|is not an image"),
    "no pixels": (written("a.png", png_header(10, 10)), r"is damaged or cut short \("),
    "600 megapixels": (
        written("a.png", png_header(30_000, 20_000)),
        r"30000 x 20000 pixels need 2\.4 GB .* decompression bomb",
    ),
    "missing": (lambda folder: folder / "nowhere.png", r"no such file\.$"),
    "inside a file": (lambda folder: written("a.png", b"x")(folder) / "b.png", r"no such file\.$"),
    "folder": (lambda folder: folder, r"is a folder; give its images, or find_images\("),
    "32-bit int tiff, too large": (grey_tiff("a.tif", np.full((4, 4), 70_000, np.int32)), r"outside 0 to 65535"),
    "32-bit int tiff, negative": (grey_tiff("a.tif", np.full((4, 4), -1, np.int32)), r"outside 0 to 65535"),
    "float tiff above 1": (grey_tiff("a.tif", np.full((4, 4), 7.5, np.float32)), r"finite and in \[0, 1\]; divide"),
    "float tiff with NaN": (grey_tiff("a.tif", np.full((4, 4), np.nan, np.float32)), r"finite and in \[0, 1\]"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_is_told_with_its_path(tmp_path, case):
    make, words = REFUSED[case]
    path = make(tmp_path)
    with pytest.raises(ImageError, match=words) as caught:
        open_image(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).count(str(tmp_path)) <= 2
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_does_not_stop_a_batch(tmp_path, photo, case):
    make, _ = REFUSED[case]
    (batch,) = read([photo, make(tmp_path), photo], SMALL)
    assert [picture.error is None for picture in batch] == [True, False, True]
    assert batch[1].pixels is None
    assert batch[1].size is None
    assert stack(batch).shape == (2, 3, 8, 8)


def test_bomb_is_refused_without_decoding(tmp_path, monkeypatch):
    path = written("a.png", png_header(30_000, 20_000))(tmp_path)
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("decoded"))
    with pytest.raises(ImageError, match="Cut it into tiles"):
        open_image(path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_file_without_permission(photo):
    photo.chmod(0)
    with pytest.raises(ImageError, match="may not be read"):
        open_image(photo)


def test_permission_error_is_a_sentence(photo, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ImageError, match=r"may not be read \(permission denied\)\.$"):
        open_image(photo)


@pytest.mark.parametrize("error", [struct.error("x"), IndexError(), MemoryError(), ZeroDivisionError("y"), KeyError(1)])
def test_whatever_a_decoder_raises_is_an_image_error(photo, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(Image.Image, "load", fail)
    with pytest.raises(ImageError, match="is damaged or cut short"):
        open_image(photo)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "gif", "webp", "bmp", "ppm"])
def test_random_damage_is_told_or_survived(tmp_path, noise, suffix):
    whole = saved(tmp_path, Image.fromarray(noise), f"a.{suffix}").read_bytes()
    draws = np.random.default_rng(1)
    for _ in range(60):
        data = bytearray(whole)
        for place in draws.integers(0, len(data), 4):
            data[place] = draws.integers(256)
        path = written(f"b.{suffix}", bytes(data[: draws.integers(1, len(data) + 1)]))(tmp_path)
        try:
            assert open_image(path).mode == "RGB"
        except ImageError as error:
            assert str(error).startswith(str(path))


def test_pil_image_that_turns_out_damaged(tmp_path):
    with Image.open(cut("a.jpg")(tmp_path)) as lazy, pytest.raises(ImageError, match="damaged or cut short"):
        open_image(lazy)


@pytest.mark.parametrize("thing", [None, 3, b"a.png", torch.zeros(3, 4, 4), ["a.png"]])
def test_thing_that_is_no_image(thing):
    with pytest.raises(ImageError, match=rf"a path, a PIL image or a numpy array; got {type(thing).__name__}\."):
        open_image(thing)


def test_limit_of_pil_is_put_back_whatever_the_threads_do(photo, tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000_000)
    paths = [photo, tmp_path / "missing.png", written("b.png", b"x")(tmp_path)] * 60
    with ThreadPoolExecutor(4) as pool:
        assert sum(picture.result() is not None for picture in [pool.submit(opens, path) for path in paths]) == 60
    assert Image.MAX_IMAGE_PIXELS == 1_000_000


def opens(path: Path) -> Image.Image | None:
    try:
        return open_image(path)
    except ImageError:
        return None
