import numpy as np
import pytest
from scipy import stats

from vlmad_core.errors import ConfigError
from vlmad_core.inspection.batch import adjusted_p_values, discoveries, fewest_discoveries
from vlmad_core.inspection.conformal import p_values


def test_adjusted_p_values_equal_those_of_scipy():
    rng = np.random.default_rng(0)
    for n in (1, 2, 17, 300):
        values = (rng.integers(1, 100, n)) / 100
        assert adjusted_p_values(values) == pytest.approx(stats.false_discovery_control(values))
    assert adjusted_p_values([]).size == 0


def test_discoveries_are_those_of_the_definition():
    rng = np.random.default_rng(1)
    for _ in range(200):
        m = int(rng.integers(1, 30))
        values, rate = rng.integers(1, 50, m) / 50, float(rng.choice([0.05, 0.1, 0.4]))
        ordered = sorted(values)
        largest = max([i for i in range(1, m + 1) if ordered[i - 1] <= rate * i / m], default=0)
        assert discoveries(values, rate).sum() == sum(value <= ordered[largest - 1] for value in values) * (largest > 0)
        assert discoveries(values, rate)[values.argmin()] == (largest > 0)
    assert discoveries([], 0.1).tolist() == []


def test_the_share_of_good_images_among_the_reported_is_kept():
    rng = np.random.default_rng(2)
    rate, wrong, found = 0.2, [], 0
    for _ in range(500):
        scores = np.concatenate([rng.standard_normal(80), 3 + rng.standard_normal(20)])
        reported = discoveries(p_values(rng.standard_normal(200), scores), rate)
        wrong.append(reported[:80].sum() / max(1, reported.sum()))
        found += reported[80:].sum()
    assert np.mean(wrong) <= rate * 0.8 + 4 * np.std(wrong) / np.sqrt(500)  # 80 of 100 are good
    assert found > 500 * 10


@pytest.mark.parametrize(("normals", "images", "rate"), [(99, 1000, 0.05), (19, 10, 0.1), (200, 7, 0.2), (5, 30, 0.01)])
def test_fewer_images_above_all_normals_than_needed_are_never_reported(normals, images, rate):
    fewest = fewest_discoveries(normals, images, rate)
    for count in range(images + 1):
        values = np.where(np.arange(images) < count, 1 / (normals + 1), 1.0)
        assert discoveries(values, rate).any() == (count >= fewest)


def test_p_values_and_rates_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="above 0 and at most 1"):
        discoveries([0.5, 0.0], 0.1)
    with pytest.raises(ConfigError, match="above 0 and below 1"):
        discoveries([0.5], 1.0)
