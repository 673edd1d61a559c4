"""The mosaic is four images of a category, kinds of defect drawn alike, each with its mask under it."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from vlmad_core.datasets.base import Sample
from vlmad_core.training.data import Mosaics

HEIGHT, WIDTH = 12, 16


def mosaic(samples, index, seed):
    return Mosaics(samples).make(index, seed)


def plain(colour, kind, category="nut", size=(HEIGHT, WIDTH)):
    """A picture of one colour; where it is defective, its left half is."""
    mask = np.zeros(size, np.uint8)
    mask[:, : size[1] // 2] = 255
    picture = np.full((*size, 3), colour, np.uint8)
    return Sample(picture, kind != "good", category, "test", kind, () if kind == "good" else (mask,))


def quarters(array):
    top, bottom = np.split(array, 2)
    return [*np.split(top, 2, axis=1), *np.split(bottom, 2, axis=1)]


SAMPLES = [
    *(plain(i, "good") for i in range(30)),
    plain(100, "hole"),
    plain(101, "scratch"),
    plain(200, "good", "bolt"),
]


@pytest.mark.parametrize("seed", range(8))
def test_each_quarter_is_an_image_of_the_category_above_its_own_mask(seed):
    made = mosaic(SAMPLES, 3, seed)
    picture, mask = np.asarray(made.image), np.asarray(made.masks[0])
    assert picture.shape == (2 * HEIGHT, 2 * WIDTH, 3)
    assert mask.shape == (2 * HEIGHT, 2 * WIDTH)
    assert (made.category, made.split) == ("nut", "test")
    defective = []
    for tile, under in zip(quarters(picture), quarters(mask), strict=True):
        (colour,) = np.unique(tile)
        assert colour < 102  # never the other category
        defective.append(colour >= 100)
        assert (under > 0).mean() == (0.5 if colour >= 100 else 0)
        assert not under[:, WIDTH // 2 :].any()
    assert made.label == any(defective)


def test_kinds_of_defect_are_drawn_alike_however_many_images_they_have():
    drawn = Counter()
    for seed in range(300):
        for tile in quarters(np.asarray(mosaic(SAMPLES, 0, seed).image)):
            drawn[{100: "hole", 101: "scratch"}.get(int(tile[0, 0, 0]), "good")] += 1
    for count in drawn.values():
        assert abs(count / 1200 - 1 / 3) < 0.06
    assert set(drawn) == {"good", "hole", "scratch"}


def test_the_seed_decides_the_draw():
    first, again, other = (np.asarray(mosaic(SAMPLES, 0, seed).image) for seed in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_images_of_other_sizes_take_the_size_of_the_first():
    samples = [plain(i, kind, size=(8 + 4 * i, 24 - 4 * i)) for i, kind in enumerate(["good", "hole", "scratch"])]
    for seed in range(12):
        made = mosaic(samples, 0, seed)
        picture, mask = np.asarray(made.image), np.asarray(made.masks[0])
        first = samples[int(picture[0, 0, 0])]
        assert picture.shape[:2] == mask.shape == tuple(2 * side for side in first.image.shape[:2])
        for tile, under in zip(quarters(picture), quarters(mask), strict=True):
            (index,) = np.unique(tile)
            assert (under > 0).mean() == (0.5 if index else 0)


def test_pictures_are_read_from_files_too(tmp_path):
    Image.new("RGB", (WIDTH, HEIGHT), (9, 9, 9)).save(tmp_path / "x.png")
    made = mosaic([Sample(tmp_path / "x.png", False, "nut", "test", "good")], 0, 0)
    assert np.unique(np.asarray(made.image)).tolist() == [9]
    assert not made.label
