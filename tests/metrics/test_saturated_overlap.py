"""AU-sPRO is its definition, defect by defect, and the plain overlap where nothing saturates early."""

from itertools import pairwise

import numpy as np
import pytest

from vlmad_core.metrics.pixel import aupro
from vlmad_core.metrics.saturated import Area, au_spro, resized


def scene(seed, size=14):
    """Overlapping defects of several pieces, with saturation areas of one pixel to all."""
    draw = np.random.default_rng(seed)
    maps = draw.normal(size=(4, size, size))
    maps = maps if seed % 2 else np.round(maps * 2)
    defects = []
    for count in (2, 0, 1, 3):
        masks = [draw.random((size, size)) < 0.1 for _ in range(count)]
        defects.append([Area("it", mask, int(draw.integers(1, mask.sum() + 1))) for mask in masks])
        for mask in masks:
            maps[len(defects) - 1] += mask
    return maps, defects


def by_definition(maps, defects, limit):
    normal = np.stack([~np.any([np.zeros(maps[0].shape, bool), *(a.mask for a in areas)], axis=0) for areas in defects])
    points = [(0.0, 0.0)]
    for threshold in np.unique(maps)[::-1]:
        found = maps >= threshold
        marks = [
            min((image & area.mask).sum() / area.saturation, 1)
            for image, areas in zip(found, defects, strict=True)
            for area in areas
        ]
        points.append((found[normal].mean(), np.mean(marks)))
    area = 0.0
    for (left, low), (right, high) in pairwise(points):
        end = min(right, limit)
        if end > left:
            area += (end - left) * (low + low + (high - low) * (end - left) / (right - left)) / 2
    return area / limit


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
def test_it_is_its_definition(seed, limit):
    maps, defects = scene(seed)
    np.testing.assert_allclose(au_spro(maps, defects, limit=limit), by_definition(maps, defects, limit), rtol=1e-9)


def test_whole_connected_defects_make_it_the_plain_overlap():
    masks = np.zeros((2, 9, 9), bool)
    masks[0, 1:4, 1:5] = masks[1, 6:8, 2:9] = True
    maps = np.random.default_rng(0).normal(size=masks.shape) + masks
    defects = [[Area("it", mask, int(mask.sum()))] for mask in masks]
    np.testing.assert_allclose(au_spro(maps, defects, limit=0.3), aupro(maps, masks, limit=0.3), rtol=1e-12)


def test_full_marks_for_as_much_as_saturates():
    mask = np.zeros((8, 8), bool)
    mask[:4] = True
    found = np.zeros((1, 8, 8))
    found[0, 0] = 1
    assert au_spro(found, [[Area("missing", mask, 8)]]) == 1.0
    assert au_spro(found, [[Area("missing", mask, 32)]]) < 0.3


def test_nan_without_a_defect():
    assert np.isnan(au_spro(np.zeros((1, 4, 4)), [[]]))


@pytest.mark.parametrize("saturation", [0, 5])
def test_a_saturation_area_out_of_range(saturation):
    with pytest.raises(ValueError, match=f"'it' has 4 pixels and a saturation area of {saturation}"):
        au_spro(np.zeros((1, 4, 4)), [[Area("it", np.eye(4, dtype=bool), saturation)]])


def test_a_defect_of_another_size_is_refused():
    with pytest.raises(ValueError, match="of one size"):
        au_spro(np.zeros((1, 4, 4)), [[Area("it", np.eye(5, dtype=bool), 1)]])


def test_resized_keeps_the_share_that_saturates():
    mask = np.zeros((40, 60), bool)
    mask[10:30, 20:40] = True
    small = resized(Area("it", mask, 100), (20, 30))
    assert (small.mask.shape, small.mask.sum(), small.saturation) == ((20, 30), 100, 25)
    large = resized(Area("it", mask, 100), (80, 120))
    assert (large.mask.sum(), large.saturation) == (1600, 400)
    assert (resized(small, (20, 30)) is small) and (small.name == "it")


def test_a_defect_smaller_than_a_pixel_stays():
    mask = np.zeros((64, 64), bool)
    mask[33, 49] = True
    small = resized(Area("it", mask, 1), (4, 4))
    assert np.argwhere(small.mask).tolist() == [[2, 3]]
    assert small.saturation == 1
