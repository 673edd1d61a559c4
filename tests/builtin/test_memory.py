"""Half or all of the distance, sums over levels, and how maps meet the border."""

import pytest
import torch
from torch.nn import functional as F

from vlmad_core.builtin.memory import Memory
from vlmad_core.builtin.plugin import MemoryConfig
from vlmad_core.contracts.data import Features, Level, LevelSpec

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
