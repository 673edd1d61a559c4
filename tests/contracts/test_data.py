"""Levels and their cover tables, and a prediction at the size of the picture."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from vlmad_core import Prediction
from vlmad_core.contracts import Features, Level, LevelSpec

SPEC = LevelSpec("window", 4, True)


def windows(side: int, grid: tuple[int, int] = (3, 3)) -> torch.Tensor:
    """The cover table of square windows at stride 1, row by row."""
    h, w = grid
    rows = []
    for top, left in itertools.product(range(h - side + 1), range(w - side + 1)):
        table = torch.zeros(h, w, dtype=torch.bool)
        table[top : top + side, left : left + side] = True
        rows.append(table.flatten())
    return torch.stack(rows)


def level(cover: torch.Tensor | None, grid: tuple[int, int] = (3, 3)) -> Level:
    count = grid[0] * grid[1] if cover is None else len(cover)
    return Level(SPEC, torch.zeros(1, count, 4), grid, cover)


def test_windows_by_hand():
    cells = [table.nonzero().flatten().tolist() for table in windows(2)]
    assert cells == [[0, 1, 3, 4], [1, 2, 4, 5], [3, 4, 6, 7], [4, 5, 7, 8]]


def test_harmonic_map_by_hand():
    found = level(windows(2)).to_map(torch.tensor([1, 0.75, 0.5, 0.25]), "harmonic")
    wanted = torch.tensor([[1, 0.8571, 0.75], [0.6667, 0.48, 0.375], [0.5, 0.3333, 0.25]])
    torch.testing.assert_close(found, wanted, atol=5e-5, rtol=0)


def test_arithmetic_map_by_hand():
    found = level(windows(2)).to_map(torch.tensor([1, 0.75, 0.5, 0.25]))
    wanted = torch.tensor([[1, 0.875, 0.75], [0.75, 0.625, 0.5], [0.5, 0.375, 0.25]])
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("mean", ["arithmetic", "harmonic"])
def test_one_region_a_cell_is_row_major(mean):
    values = torch.arange(6.0)
    assert level(None, (2, 3)).to_map(values, mean).tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("mean", ["arithmetic", "harmonic"])
def test_table_of_single_cells_equals_no_table(mean):
    values = torch.rand(2, 6) + 0.1
    single = level(torch.eye(6, dtype=torch.bool), (2, 3))
    torch.testing.assert_close(single.to_map(values, mean), level(None, (2, 3)).to_map(values, mean))


@pytest.mark.parametrize("mean", ["arithmetic", "harmonic"])
@pytest.mark.parametrize("lead", [(), (2,), (2, 5)])
def test_any_lead_is_kept(mean, lead):
    values = torch.rand(*lead, 4) + 0.1
    found = level(windows(2)).to_map(values, mean)
    assert found.shape == (*lead, 3, 3)
    flat = values.reshape(-1, 4)
    each = torch.stack([level(windows(2)).to_map(row, mean) for row in flat]).reshape(found.shape)
    torch.testing.assert_close(found, each)


@pytest.mark.parametrize("grid", [(3, 5), (5, 3), (2, 2)])
@pytest.mark.parametrize("mean", ["arithmetic", "harmonic"])
def test_equal_regions_give_an_even_map(grid, mean):
    cover = windows(2, grid)
    torch.testing.assert_close(level(cover, grid).to_map(torch.full((len(cover),), 0.3), mean), torch.full(grid, 0.3))


@pytest.mark.parametrize("mean", ["arithmetic", "harmonic"])
def test_order_of_regions_does_not_matter(mean):
    values, order = torch.rand(9) + 0.1, torch.randperm(9)
    cover = windows(2, (4, 4))
    found = level(cover[order], (4, 4)).to_map(values[order], mean)
    torch.testing.assert_close(found, level(cover, (4, 4)).to_map(values, mean))


@pytest.mark.parametrize("mean", ["arithmetic", "harmonic"])
@pytest.mark.parametrize("region", range(4))
def test_higher_region_raises_the_cells_under_it_and_no_others(mean, region):
    values = torch.rand(4, dtype=torch.float64) + 0.1
    cover, raised = windows(2), values.clone()
    raised[region] += 0.5
    change = level(cover).to_map(raised, mean) - level(cover).to_map(values, mean)
    assert torch.equal(change.flatten() > 1e-9, cover[region])
    assert change.min() > -1e-12


def test_map_lies_within_the_regions_over_each_cell():
    values, cover = torch.rand(9) + 0.01, windows(2, (4, 4))
    over = torch.where(cover, values[:, None], torch.nan)
    low, high = over.nan_to_num(9).amin(0), over.nan_to_num(-9).amax(0)
    for mean in ("arithmetic", "harmonic"):
        found = level(cover, (4, 4)).to_map(values, mean).flatten()
        assert ((found >= low - 1e-6) & (found <= high + 1e-6)).all()


def test_region_of_value_0_makes_its_cells_0_and_spoils_no_others():
    """What a memory gives for a picture that it has seen: 1/0 must not spread as NaN."""
    values = torch.tensor([0.0, 0.75, 0.5, 0.25], requires_grad=True)
    found = level(windows(2)).to_map(values, "harmonic")
    wanted = torch.tensor([[0, 0, 0.75], [0, 0, 0.375], [0.5, 1 / 3, 0.25]])
    torch.testing.assert_close(found.detach(), wanted)
    found.sum().backward()
    assert values.grad.isfinite().all()


def test_all_regions_of_value_0():
    values = torch.zeros(2, 4, requires_grad=True)
    found = level(windows(2)).to_map(values, "harmonic")
    assert found.detach().abs().max() < 1e-12
    found.sum().backward()
    assert values.grad.isfinite().all()


@pytest.mark.parametrize("mean", ["arithmetic", "harmonic"])
def test_map_gradients(mean):
    values = (torch.rand(2, 4, dtype=torch.float64) + 0.1).requires_grad_()
    assert gradcheck(lambda given: level(windows(2)).to_map(given, mean), (values,))


def test_features_find_levels_by_name():
    one, other = Level(LevelSpec("a", 4, True), torch.zeros(1, 9, 4), (3, 3)), level(None)
    assert Features((one, other))["window"] is other
    assert Features((one, other))["a"] is one


# -- predictions


def prediction(raw: np.ndarray, size: tuple[int, int]) -> Prediction:
    return Prediction(0.5, raw.astype(np.float32), size)


def test_map_has_the_size_of_the_picture():
    found = prediction(np.random.default_rng(0).random((4, 4)), (30, 20))
    assert found.anomaly_map.shape == (30, 20)
    assert found.anomaly_map.dtype == np.float32
    assert found.anomaly_map is found.anomaly_map
    assert found.map_at((5, 7)).shape == (5, 7)


def test_map_keeps_the_scale():
    raw = np.random.default_rng(0).random((4, 4)).astype(np.float32)
    found = prediction(raw, (40, 40)).anomaly_map
    assert found.min() >= raw.min()
    assert found.max() <= raw.max()
    np.testing.assert_allclose(prediction(np.full((3, 3), 0.25), (50, 9)).anomaly_map, 0.25)


def test_map_at_its_own_size_is_itself():
    raw = np.random.default_rng(0).random((4, 6)).astype(np.float32)
    np.testing.assert_array_equal(prediction(raw, (4, 6)).anomaly_map, raw)


def test_map_of_a_view():
    raw = np.random.default_rng(0).random((8, 8)).astype(np.float32)[::2, ::-2]
    np.testing.assert_array_equal(prediction(raw, (20, 20)).anomaly_map, prediction(raw.copy(), (20, 20)).anomaly_map)


@pytest.mark.parametrize(
    ("place", "size", "peak"),
    [
        ((0, 0), (40, 40), (5, 5)),
        ((3, 3), (40, 40), (35, 35)),
        ((0, 3), (40, 20), (5, 17)),
        ((2, 1), (4, 4), (2, 1)),
        ((3, 3), (1, 1), (0, 0)),
        ((3, 0), (2, 2), (1, 0)),
    ],
)
def test_peak_is_row_and_column_in_the_picture(place, size, peak):
    raw = np.zeros((4, 4))
    raw[place] = 1
    found = prediction(raw, size)
    assert found.peak == peak
    assert found.anomaly_map[found.peak] == pytest.approx(found.anomaly_map.max(), abs=0.5)


def test_prediction_says_where_it_came_from():
    assert prediction(np.zeros((2, 2)), (2, 2)).path is None
    assert Prediction(0.1, np.zeros((2, 2), np.float32), (2, 2), "a.png").path == "a.png"


# ------------------------------------------------------------------------------------------------ batches of features


def batch(count, *, image=True):
    draws = torch.Generator().manual_seed(count)
    cover = torch.ones(2, 4, dtype=torch.bool)
    levels = (
        Level(LevelSpec("raw1", 3, False), torch.randn(count, 4, 3, generator=draws), (2, 2)),
        Level(LevelSpec("window2", 5, True), torch.randn(count, 2, 5, generator=draws), (2, 2), cover),
    )
    return Features(levels, torch.randn(count, 5, generator=draws) if image else None)


def equal(one, other):
    assert [(level.spec, level.grid) for level in one.levels] == [(level.spec, level.grid) for level in other.levels]
    a, b = one.tensors(), other.tensors()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("image", [True, False])
def test_images_are_selected_in_the_order_asked_for(image):
    features = batch(4, image=image)
    found = features.select([3, 1])
    assert len(found) == 2 and len(features) == 4
    assert torch.equal(found["raw1"].vectors, features["raw1"].vectors[[3, 1]])
    assert (found.image is None) == (not image)
    one = features.select(slice(2, 3))
    assert one["raw1"].vectors.data_ptr() == features["raw1"].vectors[2].data_ptr()  # a view
    assert one["window2"].cover is features["window2"].cover


@pytest.mark.parametrize("image", [True, False])
def test_batches_that_were_split_are_joined_again(image):
    features = batch(5, image=image)
    parts = [features.select(slice(0, 2)), features.select([2]), features.select(slice(3, 5))]
    assert equal(Features.cat(parts), features)
    assert Features.cat([features]) is features


def test_a_device_is_reached_with_all_tensors():
    moved = batch(2).to("meta")
    devices = {tensor.device.type for tensor in moved.tensors().values()}
    assert devices == {"meta"} and moved["window2"].cover.device.type == "meta"
    assert equal(batch(2).to("cpu"), batch(2))


def test_tensors_come_back_from_a_file():
    features = batch(3)
    assert equal(features.select([0]).with_tensors(features.tensors()), features)
