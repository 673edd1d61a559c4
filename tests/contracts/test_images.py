"""What becomes of every kind of picture that can be read, on its way to pixels."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vlmad_core.contracts import Preprocess, find_images, open_image
from vlmad_core.contracts.images import read, to_pixels
from vlmad_core.errors import ConfigError

PARITY = Path(__file__).parents[1].joinpath("parity")
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
SMALL = Preprocess((8, 8))


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8)


def saved(tmp_path, image: Image.Image, name: str, **options) -> Path:
    path = tmp_path / name
    image.save(path, **options)
    return path


def pixel(image: Image.Image, x: int = 0, y: int = 0) -> tuple[int, int, int]:
    assert image.mode == "RGB"
    return image.getpixel((x, y))


# -- what is read, and what becomes of it


def test_grey_png(tmp_path):
    assert pixel(open_image(saved(tmp_path, Image.new("L", (3, 2), 77), "a.png"))) == (77, 77, 77)


@pytest.mark.filterwarnings("ignore:.* fits in .* of its 16 bits")
@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize(("value", "becomes"), [(0, 0), (257, 1), (128, 0), (129, 1), (30_000, 117), (65_535, 255)])
def test_16_bit_grey_has_a_fixed_scale(tmp_path, suffix, value, becomes):
    path = saved(tmp_path, Image.fromarray(np.full((2, 3), value, np.uint16)), f"a.{suffix}")
    assert pixel(open_image(path)) == (becomes,) * 3


def test_16_bit_big_endian_tiff(tmp_path):
    image = Image.frombytes("I;16B", (2, 1), struct.pack(">HH", 257 * 3, 257 * 200))
    assert pixel(open_image(saved(tmp_path, image, "a.tif")), x=1) == (200, 200, 200)


def test_32_bit_int_tiff_counts_as_16_bit(tmp_path):
    assert pixel(open_image(saved(tmp_path, Image.fromarray(np.full((2, 2), 25_700, np.int32)), "a.tif"))) == (
        100,
        100,
        100,
    )


def test_float_tiff_in_0_to_1(tmp_path):
    assert pixel(open_image(saved(tmp_path, Image.fromarray(np.full((2, 2), 0.5, np.float32)), "a.tif"))) == (
        128,
        128,
        128,
    )


@pytest.mark.parametrize(
    ("mode", "colour", "becomes"),
    [
        ("RGBA", (255, 0, 0, 255), RED),
        ("RGBA", (255, 0, 0, 0), WHITE),
        ("RGBA", (0, 0, 0, 128), (127, 127, 127)),
        ("LA", (10, 255), (10, 10, 10)),
        ("LA", (10, 0), WHITE),
        ("1", 1, WHITE),
    ],
)
def test_transparency_is_laid_on_white(tmp_path, mode, colour, becomes):
    assert pixel(open_image(saved(tmp_path, Image.new(mode, (3, 2), colour), "a.png"))) == becomes


def test_palette(tmp_path):
    image = Image.new("RGB", (4, 2), RED)
    image.putpixel((1, 0), BLUE)
    opened = open_image(saved(tmp_path, image.quantize(4), "a.png"))
    assert (pixel(opened), pixel(opened, x=1)) == (RED, BLUE)


def test_palette_with_transparency(tmp_path):
    image = Image.new("P", (4, 2), 0)
    image.putpalette([*RED, *BLUE])
    image.putpixel((1, 0), 1)
    opened = open_image(saved(tmp_path, image, "a.png", transparency=1))
    assert (pixel(opened), pixel(opened, x=1)) == (RED, WHITE)


def test_palette_with_transparency_in_bytes(tmp_path):
    image = Image.new("P", (4, 2), 0)
    image.putpalette([*RED, *BLUE])
    opened = open_image(saved(tmp_path, image, "a.png", transparency=bytes([0, 255])))
    assert pixel(opened) == WHITE


def test_transparent_colour_of_an_rgb_png(tmp_path):
    image = Image.new("RGB", (4, 2), RED)
    image.putpixel((1, 0), BLUE)
    opened = open_image(saved(tmp_path, image, "a.png", transparency=BLUE))
    assert (pixel(opened), pixel(opened, x=1)) == (RED, WHITE)


def test_cmyk_jpeg(tmp_path):
    image = Image.new("RGB", (16, 16), RED).convert("CMYK")
    red, green, blue = pixel(open_image(saved(tmp_path, image, "a.jpg", quality=100)), 8, 8)
    assert red > 245
    assert max(green, blue) < 10


def test_animated_gif_gives_its_first_frame(tmp_path):
    frames = [Image.new("RGB", (6, 4), colour) for colour in (RED, GREEN, BLUE)]
    path = saved(tmp_path, frames[0], "a.gif", save_all=True, append_images=frames[1:])
    with pytest.warns(UserWarning, match="a.gif: holds 3 pages or frames, and the first alone is read"):
        assert pixel(open_image(path)) == RED


def test_many_pages_give_the_first(tmp_path):
    path = saved(tmp_path, Image.new("L", (6, 4), 9), "a.tif", save_all=True, append_images=[Image.new("L", (2, 2))])
    with pytest.warns(UserWarning, match="a.tif: holds 2 pages"):
        assert open_image(path).size == (6, 4)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_turns_size_and_pixels(tmp_path, orientation):
    upright = Image.new("RGB", (6, 4), WHITE)
    upright.putpixel((0, 0), RED)
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # how a camera held that way would have stored it
    stored = upright.transpose(Image.Transpose(back[orientation])) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    opened = open_image(saved(tmp_path, stored, "a.png", exif=exif))
    assert opened.size == (6, 4)
    assert pixel(opened) == RED
    (batch,) = read([tmp_path / "a.png"], SMALL)
    assert batch[0].size == (4, 6)


@pytest.mark.filterwarnings("ignore::UserWarning")  # PIL warns of the block, and the user may know
@pytest.mark.parametrize(
    "block",
    [
        b"Exif\x00\x00rubbish",
        b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\xff\xff",
        b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x02\x00\xff\xff\xff\x7f\x00\x00\x00\x00",
        b"Exif\x00\x00",
        b"",
    ],
)
def test_broken_exif_does_not_hide_the_picture(tmp_path, noise, block):
    path = saved(tmp_path, Image.fromarray(noise), "a.jpg", exif=block)
    assert open_image(path).size == (20, 24)


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1)])
def test_thin_images(size):
    opened = open_image(Image.new("RGB", size, RED))
    pixels = to_pixels(opened, SMALL)
    assert opened.size == size
    assert pixels.shape == (3, 8, 8)
    assert torch.isfinite(pixels).all()


def test_large_scan_is_fine(tmp_path):
    path = saved(tmp_path, Image.new("1", (20_000, 2_000), 1), "a.png")
    (batch,) = read([path], SMALL)
    assert batch[0].error is None
    assert batch[0].size == (2_000, 20_000)


def test_limit_of_pil_neither_stops_a_scan_nor_warns(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    for name in ("a.png", "a.tif"):  # a TIFF is measured again when it is decoded
        assert open_image(saved(tmp_path, Image.new("L", (20, 20)), name)).size == (20, 20)
    assert Image.MAX_IMAGE_PIXELS == 10


@pytest.mark.parametrize("name", ["ein Bild.png", "çà ünï 図 🙂.png", "a'b\"c.png", "[1].png", "100%.png", "-x.png"])
def test_unusual_names(tmp_path, noise, name):
    path = saved(tmp_path, Image.fromarray(noise), name)
    assert open_image(str(path)).size == (20, 24)
    assert find_images(str(path)) == [path]
    assert find_images(tmp_path) == [path]


def test_suffix_does_not_matter_for_a_file_that_is_named(tmp_path, noise):
    path = saved(tmp_path, Image.fromarray(noise), "a.png").rename(tmp_path / "a.data")
    assert open_image(path).size == (20, 24)
    assert find_images(path) == [path]


# -- pixels


@pytest.mark.parametrize("index", range(7))
def test_pixels_equal_the_recorded_ones(index):
    with np.load(PARITY / "images.npz") as given, np.load(PARITY / "winclip.npz") as recorded:
        source, wanted = given[f"image_{index}"], torch.from_numpy(recorded["pixels"][index])
    pixels = to_pixels(open_image(source), Preprocess((80, 80)))
    assert (pixels - wanted).abs().max() <= 5e-6


def test_picture_of_the_right_size_is_not_resampled(noise):
    pixels = to_pixels(open_image(noise), Preprocess((24, 20), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)))
    assert torch.equal(pixels, torch.from_numpy(noise).permute(2, 0, 1) / 255)


def test_size_is_height_then_width(noise):
    assert to_pixels(open_image(noise), Preprocess((8, 16))).shape == (3, 8, 16)


def test_mean_and_std_are_by_channel():
    pixels = to_pixels(Image.new("RGB", (2, 2), (255, 0, 0)), Preprocess((2, 2), (0.5, 0.25, 0.0), (0.5, 0.5, 1.0)))
    assert pixels[:, 0, 0].tolist() == [1.0, -0.5, 0.0]


@pytest.mark.parametrize("kernel", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_each_interpolation_is_pils(noise, kernel):
    wanted = Image.fromarray(noise).resize((7, 9), Image.Resampling[kernel.upper()])
    plain = Preprocess((9, 7), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), kernel)
    np.testing.assert_array_equal(
        (to_pixels(open_image(noise), plain) * 255).round(), np.asarray(wanted).transpose(2, 0, 1)
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"size": (8, 8), "interpolation": "cubic"},
            "interpolation must be one of nearest, bilinear",
        ),
        ({"size": (0, 8)}, r"must be greater than 0, got size \(0, 8\)"),
        ({"size": (8, 8), "std": (1.0, 0.0, 1.0)}, r"std \(1\.0, 0\.0, 1\.0\)"),
    ],
)
def test_impossible_preprocessing_is_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        Preprocess(**options)


def test_premultiplied_grey_with_transparency_is_laid_on_white() -> None:
    grey = Image.merge("LA", [Image.new("L", (4, 4), 100), Image.new("L", (4, 4), 128)])
    pixels = np.asarray(open_image(grey.convert("La")))
    assert abs(pixels.astype(int) - np.asarray(open_image(grey)).astype(int)).max() <= 1  # rounding of the product
    assert abs(int(pixels[0, 0, 0]) - round(100 * 128 / 255 + 255 * 127 / 255)) <= 1
