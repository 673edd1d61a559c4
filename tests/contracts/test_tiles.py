"""Tiles of a large image: they cover it, and their maps become one without seams or shifts."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from vlmad_core.contracts.tiles import MAX_MAP, Tiles, blend_axis, map_shape, tile_starts
from vlmad_core.errors import ImageError


@pytest.mark.parametrize("given", [(3000, 4000), (700, 9000), (1345, 1344), (5774, 8660)])
@pytest.mark.parametrize("tiles", [Tiles(), Tiles(count=5), Tiles(side=512, overlap=0.0), Tiles(side=700, overlap=0.5)])
def test_tiles_cover_every_pixel_and_lie_inside(given, tiles):
    covered = np.zeros(given, bool)
    for top, left, bottom, right in tiles.of(given, (224, 224)):
        assert 0 <= top < bottom <= given[0]
        assert 0 <= left < right <= given[1]
        covered[top:bottom, left:right] = True
    assert covered.all()


@pytest.mark.parametrize(("length", "side", "overlap"), [(1000, 300, 0.25), (301, 300, 0.25), (5000, 448, 0.4)])
def test_neighbours_overlap_by_their_share_at_least(length, side, overlap):
    starts = tile_starts(length, side, overlap)
    assert starts[0] == 0
    assert starts[-1] == length - side
    assert max(b - a for a, b in pairwise(starts)) <= side * (1 - overlap) + 1


def test_tiles_are_chosen_by_themselves_from_36_times_the_input_on():
    assert Tiles().of((6 * 224, 6 * 224), (224, 224)) == ()
    boxes = Tiles().of((6 * 224, 6 * 224 + 1), (224, 224))
    assert {(bottom - top, right - left) for top, left, bottom, right in boxes} == {(448, 448)}


def test_count_is_along_the_longer_side():
    boxes = Tiles(count=6).of((1000, 3000), (224, 224))
    assert len({box[1] for box in boxes}) == 6
    assert boxes[0][3] - boxes[0][1] == boxes[0][2] - boxes[0][0] == 632


def test_tile_has_the_proportions_of_the_input():
    boxes = Tiles(side=800).of((3000, 3000), (240, 320))
    assert boxes[0] == (0, 0, 600, 800)


@pytest.mark.parametrize("given", [(1, 1), (300, 400), (512, 512)])
def test_tile_larger_than_the_image_is_the_image(given):
    assert Tiles(side=512).of(given, (224, 224)) == ()


def test_tile_higher_than_the_image_ends_at_its_border():
    assert Tiles(side=512).of((100, 900), (224, 224)) == ((0, 0, 100, 512), (0, 194, 100, 706), (0, 388, 100, 900))


def test_too_many_tiles_are_refused_with_a_size_that_would_do():
    with pytest.raises(ImageError, match=r"20000 x 20000 pixels would be 71,289 tiles of 100 x 100.*--tiles 400px"):
        Tiles(side=100).of((20_000, 20_000), (224, 224))


@pytest.mark.parametrize(
    ("given", "reduction"), [((3000, 4000), (2, 2)), ((5774, 8660), (2, 2)), ((1, 20_000), (0.1, 9))]
)
def test_map_is_bounded_and_no_finer_than_the_image(given, reduction):
    height, width = map_shape(given, reduction)
    assert height * width <= MAX_MAP * 1.01
    assert 1 <= height <= given[0]
    assert 1 <= width <= given[1]


def axis(length, cells, side, size, overlap=0.25):
    spans = [(start, min(start + side, length)) for start in tile_starts(length, side, overlap)]
    return spans, blend_axis(length, cells, spans, [size] * len(spans))


@pytest.mark.parametrize(
    ("length", "cells", "side", "size"), [(4000, 2000, 448, 224), (997, 100, 300, 32), (9, 9, 4, 8)]
)
def test_equal_maps_blend_to_the_same_value_everywhere(length, cells, side, size):
    _, parts = axis(length, cells, side, size)
    whole = np.zeros(cells, np.float32)
    for reach, matrix in parts:
        whole[reach] += matrix @ np.full(size, 0.7, np.float32)
    np.testing.assert_allclose(whole, 0.7, rtol=1e-5)


@pytest.mark.parametrize(
    ("length", "cells", "side", "size"), [(4000, 2000, 448, 224), (4000, 500, 448, 224), (997, 100, 300, 60)]
)
def test_line_through_all_tiles_comes_out_as_the_line(length, cells, side, size):
    spans, parts = axis(length, cells, side, size)
    whole = np.zeros(cells)
    for (start, end), (reach, matrix) in zip(spans, parts, strict=True):
        whole[reach] += matrix @ (start + (np.arange(size) + 0.5) * (end - start) / size)  # position in the image
    centres = (np.arange(cells) + 0.5) * length / cells
    border = side / size  # half a pixel at both ends is extended, as by every bilinear resize
    np.testing.assert_allclose(whole[1:-1], centres[1:-1], atol=border)
    inner = (centres > border) & (centres < length - border)
    np.testing.assert_allclose(whole[inner], centres[inner], atol=0.05 * border + 0.02)
