"""A defect of 20 pixels in 12 megapixels: found and outlined in tiles, within little memory."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

import vlmad_core
from vlmad_core.inspection.regions import find_regions
from vlmad_core.run.verdicts import region_record

PLACE = (2110, 1730)  # row and column


def texture() -> Image.Image:
    """A fibrous grey surface of 4000 x 3000 pixels."""
    noise = np.random.default_rng(0).normal(0, 60, (3000, 4000))
    image = Image.fromarray(np.clip(150 + noise, 0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(1.5))
    return image.convert("RGB")


@pytest.mark.slow
def test_scratch_of_20_pixels_in_12_megapixels_is_found_and_outlined():
    clean, damaged = texture(), texture()
    row, column = PLACE
    ImageDraw.Draw(damaged).line([(column, row), (column + 16, row + 12)], fill=(40, 40, 40), width=3)
    detector = vlmad_core.build("pocket", tiles="auto")
    before, found = (detector.predict(np.asarray(image), "surface") for image in (clean, damaged))
    assert found.tiles == 108
    assert found.score > before.score
    assert abs(found.peak[0] - row - 6) < 40
    assert abs(found.peak[1] - column - 8) < 40
    regions = find_regions(found.raw_map, float(before.raw_map.max()) + 1e-6).regions
    boxes = [region_record(region, found.raw_map.shape, found.size)["box"] for region in regions]
    left, top, right, bottom = boxes[0]
    assert left < column + 8 < right
    assert top < row + 6 < bottom
    assert max(right - left, bottom - top) < 200
