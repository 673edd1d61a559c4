"""Half or all of the distance, sums over levels, and how maps meet the border."""

import pytest
import torch
from torch.nn import functional as F

from vlmad_core.builtin.memory import Memory
from vlmad_core.builtin.plugin import MemoryConfig
from vlmad_core.contracts.data import Features, Level, LevelSpec
from vlmad_core.errors import IncompatibleError

SIZE = (20, 28)
SPECS = [LevelSpec("raw1", 8, False), LevelSpec("raw2", 8, False)]


def features(seed):
    draws = torch.Generator().manual_seed(seed)
    return Features(tuple(Level(spec, torch.randn(2, 12, 8, generator=draws), (3, 4)) for spec in SPECS))


def fitted(**options):
    memory = Memory(MemoryConfig(**options), SPECS, None)
    memory.fit(features(1))
    return memory


def distances(seen, shown, name):
    """``[B, h, w]`` of one minus the cosine to the nearest, one pair at a time."""
    rows = shown[name].vectors.flatten(0, 1)
    cosine = F.cosine_similarity(seen[name].vectors[:, :, None], rows[None, None], dim=-1)  # [B, M, N]
    return (1 - cosine.amax(-1)).reshape(2, 3, 4)


@pytest.mark.parametrize("halve", [True, False])
@pytest.mark.parametrize("align_corners", [True, False])
def test_the_map_is_the_sum_of_resized_distances(halve, align_corners):
    seen = features(2)
    scores = fitted(halve=halve, align_corners=align_corners, combine="sum")(seen, None, SIZE)
    total = 0
    for name in ("raw1", "raw2"):
        cells = distances(seen, features(1), name) / (2 if halve else 1)
        pixels = F.interpolate(cells[:, None], size=SIZE, mode="bilinear", align_corners=align_corners)[:, 0]
        torch.testing.assert_close(scores.levels[name], pixels)
        total = total + cells
    torch.testing.assert_close(scores.anomaly_map, sum(scores.levels.values()))
    torch.testing.assert_close(scores.image, total.amax((1, 2)))


@pytest.mark.parametrize("halve", [True, False])
def test_what_was_remembered_is_no_distance_away(halve):
    map_ = fitted(halve=halve)(features(1), None, SIZE).anomaly_map
    torch.testing.assert_close(map_, torch.zeros(2, *SIZE), atol=1e-6, rtol=0)


def test_all_of_the_distance_is_twice_the_half():
    whole, half = (fitted(halve=halve)(features(2), None, SIZE) for halve in (False, True))
    assert torch.equal(whole.anomaly_map, 2 * half.anomaly_map)
    assert torch.equal(whole.image, 2 * half.image)


@pytest.mark.parametrize(
    ("options", "maximum"),
    [({}, 1), ({"halve": False}, 2), ({"combine": "sum"}, 2), ({"halve": False, "combine": "sum"}, 4)],
)
def test_the_memory_states_the_highest_value_of_its_maps(options, maximum):
    specs = [LevelSpec("raw1", 3, False), LevelSpec("raw2", 3, False)]
    scorer = Memory(MemoryConfig(**options), specs, None)
    assert scorer.maximum == maximum
    vectors = torch.tensor([[[1.0, 0, 0]]])

    def features(sign):
        return Features(tuple(Level(spec, sign * vectors, (1, 1)) for spec in specs))

    scorer.fit(features(1))
    torch.testing.assert_close(scorer(features(-1), None, (1, 1)).anomaly_map, torch.full((1, 1, 1), float(maximum)))


def test_the_image_score_can_be_of_other_levels_than_the_map():
    both, seen = fitted(levels=("raw1",), score_levels=("raw2",)), features(2)
    first, second = fitted(levels=("raw1",))(seen, None, SIZE), fitted(levels=("raw2",))(seen, None, SIZE)
    found = both(seen, None, SIZE)
    assert torch.equal(found.anomaly_map, first.anomaly_map)
    assert torch.equal(found.image, second.image)
    assert list(found.levels) == ["raw1"]


def test_within_reach_a_cell_is_compared_with_its_neighbours_alone():
    seen, shown = features(2), features(1)
    for reach, cell, inside in ((0, 5, [5]), (1, 0, [0, 1, 4, 5]), (9, 7, list(range(12)))):
        found = fitted(reach=reach, levels=("raw1",))(seen, None, (3, 4)).levels["raw1"].flatten(1)[:, cell]
        rows = F.normalize(shown["raw1"].vectors[:, inside].flatten(0, 1), dim=-1)
        query = F.normalize(seen["raw1"].vectors[:, cell], dim=-1)
        torch.testing.assert_close(found, (1 - (query @ rows.T).amax(-1)) / 2)


def test_a_reach_is_refused_where_grids_differ():
    level = Level(SPECS[0], torch.randn(1, 10, 8), (2, 5))
    with pytest.raises(IncompatibleError, match="images must have the grid of the normal ones"):
        fitted(reach=1, levels=("raw1",))(Features((level,)), None, SIZE)


def test_a_bank_keeps_no_more_rows_than_it_may_and_is_no_longer_monotone_then():
    small, large = fitted(max_rows=24), fitted(max_rows=5)
    assert small.is_monotone
    assert len(small.bank("raw1")) == 24
    assert not large.is_monotone
    assert len(large.bank("raw1")) == 5
    assert large.state_dict()["bank_raw2"].shape == (5, 8)
    large.forget()
    assert large.is_monotone


def test_a_bank_that_is_fitted_again_and_again_does_not_grow():
    memory = Memory(MemoryConfig(max_rows=10), SPECS, None)
    for seed in range(20):
        memory.fit(features(seed))
        assert memory.held("raw1") <= 40 + 24
    assert len(memory.bank("raw1")) == 10


def test_what_is_remembered_of_a_reduced_bank_is_near_all_that_was():
    whole, reduced = (Memory(MemoryConfig(max_rows=rows), SPECS, None) for rows in (None, 120))
    for seed in range(10):
        for memory in (whole, reduced):
            memory.fit(features(seed))
    one, other = whole(features(99), None, SIZE).anomaly_map, reduced(features(99), None, SIZE).anomaly_map
    assert (other >= one - 1e-6).all()
    assert float((other - one).mean()) < 0.06


def test_places_and_a_reduced_bank_exclude_each_other():
    with pytest.raises(ValueError, match="'reach' or 'max_rows'"):
        MemoryConfig(reach=1, max_rows=10)
