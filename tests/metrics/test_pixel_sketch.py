"""The sketch is exact while maps fit, and within its bound where they do not, whatever the data."""

import numpy as np
import pytest

from vlmad_core.metrics.pixel import pixel_metrics
from vlmad_core.metrics.sketch import PixelSketch

LIMITS = (1.0, 0.3, 0.02)
KINDS = ("normal", "ties", "heavy", "constant", "narrow", "double", "signs", "huge", "defects-first", "normal-first")


def scene(kind, seed=0, count=6, size=20):
    draw = np.random.default_rng(seed)
    masks = draw.random((count, size, size)) < 0.15
    masks[::3] = False
    maps = draw.normal(size=masks.shape) + masks
    maps = {
        "normal": maps,
        "ties": np.round(maps),
        "heavy": np.exp(12 * maps),
        "constant": np.full(maps.shape, 0.25),
        "narrow": 1 + 2e-6 * maps,
        "double": maps,
        "signs": np.where(maps > 0, np.exp(9 * maps), -np.exp(-9 * maps)),
        "huge": maps * 1e300,
        "defects-first": 1 + 1e-3 * masks + 1e-4 * draw.random(masks.shape),
        "normal-first": 1 - 1e-3 * masks + 1e-4 * draw.random(masks.shape),
    }[kind]
    return (maps if kind in ("double", "huge") else maps.astype(np.float32)), masks


def sketched(maps, masks, **options):
    sketch = PixelSketch(**options)
    for values, mask in zip(maps, masks, strict=True):
        sketch.update(values, mask)
    return sketch


def errors(one, other):
    found = {name: abs(getattr(one, name) - getattr(other, name)) for name in ("auroc", "ap", "f1max")}
    return found | {f"aupro {limit:g}": abs(one.aupro[limit] - other.aupro[limit]) for limit in one.aupro}


@pytest.mark.parametrize("bins", [1, 2, 7, 64, 1000, 1 << 16])
@pytest.mark.parametrize("kind", KINDS)
def test_error_is_within_the_bound(kind, bins):
    for seed in range(4):
        maps, masks = scene(kind, seed)
        found = sketched(maps, masks, memory=0, bins=bins).result(LIMITS)
        for name, error in errors(found, pixel_metrics(maps, masks, limits=LIMITS)).items():
            assert error <= found.bounds[name] + 1e-12, name
        assert found.bound == max(found.bounds.values())


@pytest.mark.parametrize("kind", KINDS)
def test_exact_while_maps_fit(kind):
    maps, masks = scene(kind)
    found = sketched(maps, masks).result(LIMITS)
    assert found.exact
    assert max(errors(found, pixel_metrics(maps, masks, limits=LIMITS)).values()) < 1e-12


@pytest.mark.parametrize("kind", ["ties", "constant", "narrow"])
def test_bins_of_one_score_are_exact_and_say_so(kind):
    maps, masks = scene(kind)
    found = sketched(maps, masks, memory=0, bins=1 << 16).result(LIMITS)
    assert found.exact
    assert max(errors(found, pixel_metrics(maps, masks, limits=LIMITS)).values()) < 1e-12


@pytest.mark.parametrize("kind", ["defects-first", "normal-first"])
def test_the_bound_of_auroc_is_reached_by_the_worst_order(kind):
    maps, masks = scene(kind)
    found = sketched(maps, masks, memory=0, bins=1).result(LIMITS)
    found_errors = errors(found, pixel_metrics(maps, masks, limits=LIMITS))
    assert found_errors["auroc"] == found.bounds["auroc"] == 0.5
    np.testing.assert_allclose(found_errors["aupro 1"], found.bounds["aupro 1"])


def test_more_bins_bind_tighter():
    maps, masks = scene("normal")
    bounds = [sketched(maps, masks, memory=0, bins=bins).result().bound for bins in (4, 64, 1024, 1 << 18)]
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[-1] < 1e-2


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_maps_and_the_time_of_binning_change_no_count(seed):
    """Late outliers make the runs widen after most is counted; the counts come out as if known before."""
    maps, masks = scene("signs", seed, count=9)
    maps *= np.logspace(-6, 6, 9, dtype=np.float32)[:, None, None]
    first = sketched(maps, masks, memory=0, bins=512).result()
    for options in ({"memory": 0}, {"memory": 4000}):
        other = sketched(maps[::-1], masks[::-1], bins=512, **options).result()
        assert (other.regions, other.defective, other.normal) == (first.regions, first.defective, first.normal)
        exact = pixel_metrics(maps, masks)
        assert all(error <= other.bounds[name] + 1e-12 for name, error in errors(other, exact).items())


def test_memory_stays_where_it_is():
    draw = np.random.default_rng(0)
    sketch = PixelSketch(memory=200_000, bins=1 << 12)
    held = []
    for index in range(60):
        values = draw.normal(size=(64, 64)).astype(np.float32)
        sketch.update(values, values > 2 if index % 2 else None)
        held.append(sketch.nbytes)
    assert sketch.maps == 60
    assert max(held) <= 200_000 + 64 * 64 * 8
    assert len(set(held[30:])) == 1
    assert held[-1] == 32 * (1 << 12)
    assert not sketch.result().exact


def test_what_is_given_may_be_changed_afterwards():
    values, mask = np.array([[0.0, 1.0]]), np.array([[False, True]])
    sketch = PixelSketch()
    sketch.update(values, mask)
    values[:], mask[:] = values[:, ::-1], False
    assert sketch.result().auroc == 1.0


def test_no_map_and_no_defect_are_nan():
    for sketch in (PixelSketch(), sketched(np.ones((2, 3, 3)), [None, None], memory=0, bins=4)):
        result = sketch.result()
        assert np.isnan([result.auroc, result.ap, result.f1max, *result.aupro.values()]).all()
        assert result.exact


def test_a_refused_map_counts_for_nothing():
    sketch = PixelSketch()
    sketch.update([[0.0, 1.0]], [[0, 1]])
    with pytest.raises(ValueError, match="Map 1 holds NaN"):
        sketch.update([[np.nan, 1.0]], [[0, 1]])
    assert (sketch.maps, sketch.result().defective) == (1, 1)


def test_options_out_of_range():
    with pytest.raises(ValueError, match="bins 1 or more, got 10 and 0"):
        PixelSketch(memory=10, bins=0)
