"""Corruptions are deterministic, stay in range, and grow with their severity."""

import numpy as np
import pytest

from vlmad_robustness.corruptions import CORRUPTIONS, exposure, hue, rotation, saturation
from vlmad_robustness.lighting import LIGHTING
from vlmad_robustness.measure import corrupted

ALL = (*CORRUPTIONS, *LIGHTING)


@pytest.fixture
def picture():
    """A smooth coloured picture with an object off the centre."""
    rows, columns = np.mgrid[:120, :160] / 160
    image = np.stack([0.3 + 0.4 * rows, 0.6 - 0.3 * columns, 0.4 + 0 * rows], -1)
    image[25:75, 30:90] = (0.8, 0.5, 0.3)
    return (image * 255).round().astype(np.uint8)


@pytest.mark.parametrize("corruption", ALL, ids=lambda c: c.name)
def test_each_severity_changes_the_image_more_than_the_one_before(corruption, picture):
    changes = [
        np.mean([np.abs(corrupted(corruption, picture, s, i).astype(float) - picture).mean() for i in range(6)])
        for s in (1, 3, 5)
    ]
    assert 0 < changes[0] < changes[1] < changes[2]


@pytest.mark.parametrize("corruption", ALL, ids=lambda c: c.name)
def test_the_same_image_is_corrupted_alike_each_time(corruption, picture):
    first = corrupted(corruption, picture, 3, 4)
    assert first.shape == picture.shape
    assert np.array_equal(first, corrupted(corruption, picture, 3, 4))


def test_one_stop_doubles_the_light():
    rng = np.random.default_rng(0)
    image = np.full((2, 2, 3), 0.25, np.float32)
    assert exposure(image, 1.0, rng) == pytest.approx((2 * 0.25**2.2) ** (1 / 2.2))


def test_hue_turned_by_120_degrees_exchanges_the_channels_and_keeps_grey():
    rng = np.random.default_rng(0)
    image = np.array([[[0.8, 0.4, 0.2], [0.5, 0.5, 0.5]]], np.float32)
    assert hue(image, 120, rng) == pytest.approx(np.array([[[0.2, 0.8, 0.4], [0.5, 0.5, 0.5]]]), abs=1e-6)


def test_saturation_zero_is_grey():
    image = np.array([[[0.9, 0.3, 0.3]]], np.float32)
    assert saturation(image, 0.0, np.random.default_rng(0)) == pytest.approx(0.5)


def test_rotation_by_180_degrees_turns_the_picture_over():
    image = np.random.default_rng(0).random((8, 8, 3)).astype(np.float32)
    assert rotation(image, 180, np.random.default_rng(0)) == pytest.approx(image[::-1, ::-1], abs=1e-5)


def test_dust_lies_at_the_same_place_in_every_image(picture):
    dust = next(c for c in ALL if c.name == "dust")
    white = np.full_like(picture, 255)
    assert np.array_equal(corrupted(dust, white, 3, 0), corrupted(dust, white, 3, 9))
