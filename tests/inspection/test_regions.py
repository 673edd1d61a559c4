import numpy as np
import pytest
from scipy import ndimage

from vlmad_core.errors import ConfigError
from vlmad_core.inspection.outline import outline, ring_area
from vlmad_core.inspection.regions import find_regions


def fill(rings, shape):
    """Pixels whose centre is inside, by counting crossings of a ray: shares nothing with the tracer."""
    rows, columns = np.indices(shape) + 0.5
    inside = np.zeros(shape, bool)
    for ring in rings:
        for (x0, y0), (x1, y1) in zip(ring, ring[1:] + ring[:1], strict=True):
            if x0 == x1:  # only upright edges cross a level ray to the right
                inside ^= (columns < x0) & (min(y0, y1) < rows) & (rows < max(y0, y1))
    return inside


def test_a_dot_of_one_pixel_is_a_square_of_one_pixel():
    values = np.zeros((5, 7), np.float32)
    values[2, 4] = 0.75
    found = find_regions(values, 0.5)
    (region,) = found.regions
    assert region.rings == (((4, 2), (5, 2), (5, 3), (4, 3)),)
    assert (region.box, region.area, region.peak, region.score) == ((4, 2, 5, 3), 1, (4, 2), 0.75)
    assert region.percent == pytest.approx(100 / 35)
    assert (found.area, found.percent, found.n_small, found.n_more) == (1, pytest.approx(100 / 35), 0, 0)


def test_a_ring_of_pixels_has_an_outer_line_and_a_hole():
    mask = np.ones((3, 3), bool)
    mask[1, 1] = False
    assert outline(mask) == (((0, 0), (3, 0), (3, 3), (0, 3)), ((1, 1), (1, 2), (2, 2), (2, 1)))


def test_pixels_that_touch_at_a_corner_are_one_region_with_one_line():
    (region,) = find_regions(np.eye(3), 0.5).regions
    assert region.area == 3
    assert len(region.rings) == 1
    assert ring_area(region.rings[0]) == 3


def test_outlines_cover_exactly_the_pixels_of_the_region():
    rng = np.random.default_rng(0)
    for density in (0.2, 0.5, 0.8):
        for _ in range(30):
            shape = tuple(rng.integers(1, 25, 2))
            values = rng.uniform(size=shape)
            found = find_regions(values, 1 - density, max_regions=10_000)
            labels, count = ndimage.label(values > 1 - density, np.ones((3, 3)))
            assert len(found.regions) == count
            assert found.area == (values > 1 - density).sum() == sum(region.area for region in found.regions)
            for region in found.regions:
                inside = fill(region.rings, shape)
                x, y = region.peak
                assert np.array_equal(inside, labels == labels[y, x])
                assert sum(map(ring_area, region.rings)) == region.area == inside.sum()
                assert ring_area(region.rings[0]) > 0
                assert all(ring_area(ring) < 0 for ring in region.rings[1:])
                assert region.score == values[y, x] == values[inside].max()
                rows, columns = np.nonzero(inside)
                assert region.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def test_a_pixel_at_the_threshold_is_not_flagged():
    assert find_regions(np.full((3, 3), 0.5), 0.5).regions == ()
    (region,) = find_regions(np.full((3, 3), 0.5), np.nextafter(0.5, 0)).regions
    assert (region.area, region.percent) == (9, 100)


def test_regions_that_are_not_listed_are_counted():
    values = np.zeros((9, 9))
    values[0, 0], values[0, 4], values[4, :3], values[8, 4:8] = 0.9, 0.8, 0.7, 0.6
    found = find_regions(values, 0.5, min_area=2, max_regions=1)
    assert [region.score for region in found.regions] == [0.7]
    assert (found.n_small, found.n_more, found.area) == (2, 1, 9)
    assert [region.score for region in find_regions(values, 0.5).regions] == [0.9, 0.8, 0.7, 0.6]


def test_a_map_that_is_none_is_refused():
    for values in (np.zeros((2, 2, 2)), np.array([[np.nan]]), np.zeros((0, 3))):
        with pytest.raises(ConfigError, match=r"finite numbers of shape \[H, W\]"):
            find_regions(values, 0.5)
    with pytest.raises(ConfigError, match="at least 1"):
        find_regions(np.zeros((2, 2)), 0.5, min_area=0)
    assert outline(np.zeros((2, 2), bool)) == ()
