"""Arrays as pictures: which kinds and shapes have a fixed meaning, and which are refused because they have none."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from vlmad_core.contracts import Preprocess, open_image
from vlmad_core.contracts.images import read, stack
from vlmad_core.errors import ImageError

WHITE = (255, 255, 255)
SMALL = Preprocess((8, 8))


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8)


def pixel(image: Image.Image) -> tuple[int, int, int]:
    assert image.mode == "RGB"
    return image.getpixel((0, 0))


@pytest.mark.parametrize(
    ("value", "becomes"),
    [
        (np.uint8(7), 7),
        (np.uint16(257 * 7), 7),
        (np.bool_(True), 255),
        (np.bool_(False), 0),
        (np.float16(0.5), 128),
        (np.float32(1.0), 255),
        (np.float64(0.0), 0),
    ],
)
@pytest.mark.filterwarnings("ignore:.* fits in .* of its 16 bits")
@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 3)])
def test_array_of_each_kind(value, becomes, shape):
    opened = open_image(np.full(shape, value))
    assert opened.size == (5, 4)
    assert pixel(opened) == (becomes,) * 3


def test_array_with_alpha():
    array = np.zeros((4, 5, 4), np.uint8)
    assert pixel(open_image(array)) == WHITE
    array[..., 3] = 255
    assert pixel(open_image(array)) == (0, 0, 0)


def test_array_that_is_a_view(noise):
    np.testing.assert_array_equal(np.asarray(open_image(noise[::-2, ::3])), noise[::-2, ::3])


def test_array_is_not_changed(noise):
    before = noise.copy()
    noise.setflags(write=False)
    stack(next(read([noise], SMALL)))
    np.testing.assert_array_equal(noise, before)


@pytest.mark.parametrize(
    "shape", [(), (5,), (0, 5), (5, 0, 3), (4, 5, 2), (4, 5, 5), (3, 40, 50), (1, 4, 5, 3), (4, 5, 0)]
)
def test_array_of_a_wrong_shape(shape):
    with pytest.raises(ImageError, match=r"an array must be \[height, width\] or .* got shape \("):
        open_image(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64, np.uint32, np.complex64, object, "U1"])
def test_array_of_a_wrong_type(dtype):
    with pytest.raises(ImageError, match=r"an array must be uint8, uint16, bool or float in \[0, 1\]; got "):
        open_image(np.zeros((4, 5), dtype))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -0.1, 1.1, 255.0])
def test_float_array_out_of_range(value):
    array = np.zeros((4, 5), np.float32)
    array[2, 3] = value
    with pytest.raises(ImageError, match=r"finite and in \[0, 1\]; divide by the largest possible value first"):
        open_image(array)
