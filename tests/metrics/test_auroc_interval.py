"""The interval of an AUROC holds in simulations, against its definition, and says something of perfect samples."""

import math
from statistics import NormalDist

import numpy as np
import pytest

from vlmad_core import metrics

SIZES = [(10, 10), (14, 32), (24, 48), (100, 100)]
AREAS = [0.85, 0.95, 0.98, 0.995]


def normal_scores(rng, area, normal, abnormal):
    shift = math.sqrt(2) * NormalDist().inv_cdf(area)
    return rng.normal(size=normal), rng.normal(shift, 1, size=abnormal)


def skewed_scores(rng, area, normal, abnormal):
    """Exponential: the abnormal ones are larger with probability b / (a + b)."""
    return rng.exponential(1, size=normal), rng.exponential(area / (1 - area), size=abnormal)


def coverage(draw, area, normal, abnormal, rounds):
    rng, covered = np.random.default_rng(0), 0
    for _ in range(rounds):
        low_scores, high_scores = draw(rng, area, normal, abnormal)
        observed = np.searchsorted(np.sort(low_scores), high_scores).sum() / (normal * abnormal)
        low, high = metrics.auroc_interval(observed, abnormal, normal)
        covered += low <= area <= high
    return covered / rounds


@pytest.mark.parametrize("area", AREAS)
@pytest.mark.parametrize(("normal", "abnormal"), SIZES)
def test_the_interval_covers_the_true_area_often_enough(area, normal, abnormal):
    assert coverage(normal_scores, area, normal, abnormal, rounds=300) >= 0.93


@pytest.mark.slow
@pytest.mark.parametrize("draw", [normal_scores, skewed_scores])
@pytest.mark.parametrize("area", AREAS)
@pytest.mark.parametrize(("normal", "abnormal"), SIZES)
def test_the_interval_covers_the_true_area_in_a_long_simulation(draw, area, normal, abnormal):
    assert coverage(draw, area, normal, abnormal, rounds=4000) >= 0.93


@pytest.mark.parametrize(("area", "abnormal", "normal"), [(0.9, 20, 30), (0.5, 8, 5), (0.999, 50, 12)])
def test_its_ends_solve_the_equation_of_newcombe(area, abnormal, normal):
    z = NormalDist().inv_cdf(0.975)
    for end in metrics.auroc_interval(area, abnormal, normal):
        weight = (abnormal + normal) / 2 - 1
        spread = 1 + weight * (1 - end) / (2 - end) + weight * end / (1 + end)
        variance = end * (1 - end) * spread / (abnormal * normal)
        assert abs(end - area) == pytest.approx(z * math.sqrt(variance), rel=1e-9)


def test_a_perfect_sample_has_an_upper_end_of_one_and_a_lower_end_below():
    for count in (1, 10, 1000, 100_000):
        low, high = metrics.auroc_interval(1.0, count, count)
        assert low < 1 == high
        assert metrics.auroc_interval(0.0, count, count) == pytest.approx((0, 1 - low), abs=1e-12)


def test_more_images_and_a_lower_level_make_it_narrower():
    def width(count, level=0.95):
        low, high = metrics.auroc_interval(0.9, count, count, level=level)
        return high - low

    assert width(10) > width(40) > width(160)
    assert width(40, 0.99) > width(40) > width(40, 0.8)


@pytest.mark.parametrize(("area", "abnormal", "normal", "level"), [(1.1, 5, 5, 0.9), (0.5, 0, 5, 0.9), (0.5, 5, 5, 1)])
def test_numbers_out_of_range_are_refused(area, abnormal, normal, level):
    with pytest.raises(ValueError, match="an interval needs an area"):
        metrics.auroc_interval(area, abnormal, normal, level=level)
