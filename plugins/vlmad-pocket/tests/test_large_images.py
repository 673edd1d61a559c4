"""A defect of 20 pixels in 12 megapixels: lost when the image is squashed, found and outlined in tiles."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

import vlmad_core
from vlmad_core.inspection.regions import find_regions
from vlmad_core.run.verdicts import region_record

PLACE = (2110, 1730)  # row and column of the scratch, which is 20 pixels long
NEAR = 120  # pixels around it that may be marked with it


@pytest.fixture(scope="module")
def damaged() -> np.ndarray:
    """A fibrous grey surface of 4000 x 3000 pixels with a dark scratch."""
    noise = np.random.default_rng(0).normal(0, 60, (3000, 4000))
    image = Image.fromarray(np.clip(150 + noise, 0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(1.5))
    row, column = PLACE
    ImageDraw.Draw(image).line([(column, row), (column + 16, row + 12)], fill=40, width=3)
    return np.asarray(image)


def at_scratch_and_elsewhere(found: vlmad_core.Prediction) -> tuple[float, float]:
    """The highest values of a map, near the scratch and in the rest of the image."""
    values = found.raw_map.copy()
    scale = values.shape[0] / found.size[0], values.shape[1] / found.size[1]
    rows, columns = (
        slice(max(0, int((place - NEAR) * one)), int((place + NEAR) * one) + 1)
        for place, one in zip(PLACE, scale, strict=True)
    )
    near = float(values[rows, columns].max())
    values[rows, columns] = -np.inf
    return near, float(values.max())


def test_scratch_of_20_pixels_is_lost_when_12_megapixels_are_squashed(damaged):
    near, elsewhere = at_scratch_and_elsewhere(vlmad_core.build("pocket").predict(damaged, "surface"))
    assert near < elsewhere


@pytest.mark.slow
def test_scratch_of_20_pixels_in_12_megapixels_is_found_and_outlined_in_tiles(damaged):
    found = vlmad_core.build("pocket", tiles="auto").predict(damaged, "surface")
    assert found.tiles == 108
    near, elsewhere = at_scratch_and_elsewhere(found)
    assert near > 1.5 * elsewhere
    row, column = PLACE
    assert abs(found.peak[0] - row - 6) < 40
    assert abs(found.peak[1] - column - 8) < 40
    (region,) = find_regions(found.raw_map, elsewhere + 1e-6).regions
    left, top, right, bottom = region_record(region, found.raw_map.shape, found.size)["box"]
    assert left < column + 8 < right
    assert top < row + 6 < bottom
    assert max(right - left, bottom - top) < 200
