"""The 200-step AUPRO is its definition, and says why where it has no number."""

import numpy as np
import pytest
from scipy.ndimage import label

from vlmad_core.metrics.aupro_200 import stepped_aupro
from vlmad_core.metrics.pixel import aupro


def scene(seed):
    draw = np.random.default_rng(seed)
    masks = draw.random((4, 16, 16)) < 0.2
    masks[1] = False
    maps = draw.normal(size=masks.shape) + masks
    return maps if seed % 2 else np.round(maps * 4) / 4, masks


def by_definition(maps, masks, steps, limit):
    step = (maps.max() - maps.min()) / steps
    points = []
    for threshold in np.arange(maps.min(), maps.max(), step):
        shares = []
        for values, mask in zip(maps, masks, strict=True):
            regions, count = label(mask, structure=np.ones((3, 3)))
            shares += [(values[regions == region] > threshold).mean() for region in range(1, count + 1)]
        points.append(((maps[~masks] > threshold).mean(), np.mean(shares)))
    kept = np.array([point for point in points if point[0] < limit])
    rates = (kept[:, 0] - kept[:, 0].min()) / (kept[:, 0].max() - kept[:, 0].min())
    return -np.trapezoid(kept[:, 1], rates), len(kept)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("steps", "limit"), [(200, 0.3), (30, 0.1), (7, 1.0)])
def test_it_is_its_definition(seed, steps, limit):
    maps, masks = scene(seed)
    value, kept = by_definition(maps, masks, steps, limit)
    found = stepped_aupro(maps, masks, steps=steps, limit=limit)
    np.testing.assert_allclose(found.value, value, rtol=1e-10)
    assert (found.kept, found.reason) == (kept, "")


def test_monotone_changes_change_it_and_not_the_exact_one():
    maps, masks = scene(1)
    assert abs(stepped_aupro(np.exp(5 * maps), masks).value - stepped_aupro(maps, masks).value) > 0.01
    np.testing.assert_allclose(aupro(np.exp(5 * maps), masks), aupro(maps, masks), rtol=1e-12)


@pytest.mark.parametrize(
    ("maps", "masks", "reason"),
    [
        (np.full((1, 2, 2), 0.3), np.eye(2)[None], "All scores are the same"),
        (np.arange(4.0).reshape(1, 2, 2), np.zeros((1, 2, 2)), "There is no defect"),
        (np.arange(4.0).reshape(1, 2, 2), np.ones((1, 2, 2)), "There is no normal pixel"),
        (np.eye(2)[None], np.eye(2)[None], "The 200 steps below the limit share one false-positive rate"),
        (np.ones((1, 2, 2)) - np.eye(2), np.eye(2)[None], "The 0 steps below the limit share"),
        ([], [], "All scores are the same"),
    ],
)
def test_no_number_comes_with_its_reason(maps, masks, reason):
    found = stepped_aupro(maps, masks)
    assert np.isnan(found.value)
    assert found.reason.startswith(reason)


@pytest.mark.parametrize("options", [{"limit": 0}, {"limit": 1.5}, {"steps": 0}])
def test_options_out_of_range(options):
    with pytest.raises(ValueError, match="must be above 0 and at most 1 and steps 1 or more"):
        stepped_aupro(np.eye(2)[None], np.eye(2)[None], **options)
