import math

import numpy as np
import pytest
from scipy import stats

from vlmad_core.errors import ConfigError
from vlmad_core.inspection.conformal import (
    binomial_interval,
    cross_validation_bound,
    group_maxima,
    normals_needed,
    p_values,
    rate_interval,
    split_rank,
    threshold_rank,
    tolerance_rank,
    upper_threshold,
)


def test_p_values_count_the_normals_at_least_as_high():
    rng = np.random.default_rng(0)
    normals, scores = rng.integers(0, 30, 50) / 10, rng.integers(-5, 35, 200) / 10  # many ties
    expected = [(1 + sum(normal >= score for normal in normals)) / 51 for score in scores]
    assert p_values(normals, scores).tolist() == expected


@pytest.mark.parametrize(("alpha", "n"), [(0.2, 4), (0.1, 9), (0.05, 19), (0.02, 49), (0.01, 99), (0.3, 3), (1 / 3, 2)])
def test_a_rate_on_average_needs_one_over_alpha_minus_one_normals(alpha, n):
    assert normals_needed(alpha) == n
    assert split_rank(n, alpha) == 1
    assert split_rank(n - 1, alpha) == 0


@pytest.mark.parametrize(("alpha", "n"), [(0.1, 29), (0.05, 59), (0.02, 149), (0.01, 299), (0.005, 598)])
def test_a_rate_with_confidence_needs_the_tabulated_number_of_normals(alpha, n):
    assert normals_needed(alpha, 0.95) == n
    assert tolerance_rank(n, alpha, 0.95) == 1
    assert tolerance_rank(n - 1, alpha, 0.95) == 0


def test_the_tolerance_rank_is_the_largest_that_the_binomial_allows():
    for n in (30, 100, 473, 2000):
        for alpha in (0.01, 0.05, 0.2):
            # brute force over the definition: P(Binomial(n, alpha) >= k) >= confidence
            allowed = [k for k in range(1, n + 1) if stats.binom.sf(k - 1, n, alpha) >= 0.9]
            assert tolerance_rank(n, alpha, 0.9) == max(allowed, default=0)


def test_above_the_threshold_is_exactly_a_p_value_at_most_alpha():
    rng = np.random.default_rng(1)
    for _ in range(300):
        n = int(rng.integers(5, 120))
        normals = rng.integers(0, 40, n) / 8
        alpha = float(rng.choice([0.2, 0.3, 1 / 3, 0.25, 0.7, rng.uniform(1 / (n + 1), 1)]))
        scores = np.concatenate([normals, normals + 1 / 16, rng.uniform(-1, 6, 50)])
        threshold = upper_threshold(normals, alpha)
        assert np.array_equal(scores > threshold, p_values(normals, scores) <= alpha)


def test_good_images_raise_alarms_at_the_promised_rate_on_average():
    rng = np.random.default_rng(2)
    for alpha, n in ((0.05, 19), (0.05, 50), (0.1, 37), (0.2, 20)):
        draws = rng.standard_cauchy((20_000, n + 1))  # no moment exists, and none is needed
        ordered = np.sort(draws[:, :n], axis=1)
        rate = (draws[:, n] > ordered[:, n - split_rank(n, alpha)]).mean()
        exact = split_rank(n, alpha) / (n + 1)
        assert exact <= alpha
        assert abs(rate - exact) < 4 * math.sqrt(exact * (1 - exact) / 20_000)


def test_a_rate_with_confidence_holds_for_that_share_of_calibrations():
    rng = np.random.default_rng(3)
    n, alpha, confidence = 100, 0.05, 0.9
    rank = tolerance_rank(n, alpha, confidence)
    thresholds = np.sort(rng.uniform(size=(20_000, n)), axis=1)[:, n - rank]
    kept = (1 - thresholds <= alpha).mean()  # the rate above t of uniform scores is 1 - t
    assert kept >= confidence - 4 * math.sqrt(confidence * (1 - confidence) / 20_000)
    loose = np.sort(rng.uniform(size=(20_000, n)), axis=1)[:, n - rank - 1]
    assert (1 - loose <= alpha).mean() < confidence  # one rank more would not keep it


@pytest.mark.parametrize(
    ("n", "alpha", "confidence", "parts"),
    [
        (18, 0.05, None, ["0.05", "needs 19", "are 18", "Add 1 more"]),
        (50, 0.01, 0.95, ["0.01 with 0.95 confidence", "needs 299", "are 50", "Add 249 more"]),
        (0, 0.1, None, ["needs 9", "are 0"]),
        (1, 0.1, None, ["needs 9", "are 1"]),
    ],
)
def test_a_rate_that_the_normals_cannot_carry_is_refused_with_the_number_that_can(n, alpha, confidence, parts):
    with pytest.raises(ConfigError) as error:
        upper_threshold(np.arange(n), alpha, confidence)
    assert all(part in str(error.value) for part in parts)


@pytest.mark.parametrize("alpha", [0, 1, -0.1, 1.5, math.nan])
def test_rates_outside_zero_and_one_are_refused(alpha):
    with pytest.raises(ConfigError, match="above 0 and below 1"):
        upper_threshold([1, 2, 3], alpha)
    with pytest.raises(ConfigError, match="above 0 and below 1"):
        normals_needed(alpha)


def test_scores_that_are_not_numbers_are_refused_by_place():
    with pytest.raises(
        ConfigError, match="1 of 3 scores of normal images are not finite numbers, the first is number 2"
    ):
        p_values([0.1, math.nan, 0.2], [1])
    with pytest.raises(ConfigError, match="no score of a normal image"):
        p_values([], [1])


def test_the_bound_of_cross_validation_is_that_of_the_theorem():
    assert cross_validation_bound(0.05, 40, 40) == 0.1  # jackknife+
    assert cross_validation_bound(0.05, 40, 10) == pytest.approx(0.1 + min(2 * 0.9 / 5, 0.75 / 11))
    assert cross_validation_bound(0.05, 1000, 2) == pytest.approx(0.1 + min(2 * 0.5 / 501, 0.998 / 3))
    assert cross_validation_bound(0.05, 41, 10) == pytest.approx(0.1 + 2 * 0.9 / 5.1)  # unequal folds: one term
    assert cross_validation_bound(0.6, 40, 40) == 1
    with pytest.raises(ConfigError, match="from 2 to the number of normals"):
        cross_validation_bound(0.05, 5, 6)


def test_a_nearest_neighbour_memory_scored_by_leave_one_out_keeps_the_bound():
    rng = np.random.default_rng(4)
    n, alpha, alarms, trials = 20, 0.1, 0, 3000
    for _ in range(trials):
        points = rng.standard_normal((n + 1, 3))
        distance = np.linalg.norm(points[:, None] - points[None], axis=-1)
        np.fill_diagonal(distance, math.inf)
        normals, score = distance[:n, :n].min(1), distance[n, :n].min()
        alarms += p_values(normals, [score])[0] <= alpha
    assert alarms / trials <= cross_validation_bound(alpha, n, n)
    assert 0.04 < alarms / trials < 0.12  # and is in fact near alpha


def test_a_group_counts_once_with_its_highest_score():
    scores, groups = [3.0, 1.0, 5.0, 2.0, 4.0, 9.0], ["b", "", "a", "b", "a", ""]
    assert sorted(group_maxima(scores, groups)) == [1, 3, 5, 9]


def test_dependent_frames_break_the_promise_and_groups_restore_it():
    rng = np.random.default_rng(5)
    trials, objects, frames, alpha = 3000, 20, 10, 0.05
    single = grouped = 0
    names = [str(i) for i in range(objects) for _ in range(frames)]
    for _ in range(trials):
        scores = np.repeat(rng.standard_normal(objects + 1), frames) + 0.1 * rng.standard_normal((objects + 1) * frames)
        normals, new = scores[:-frames], scores[-1]
        single += p_values(normals, [new])[0] <= 0.01
        grouped += p_values(group_maxima(normals, names), [new])[0] <= alpha
    assert grouped / trials <= alpha + 4 * math.sqrt(alpha * (1 - alpha) / trials)
    assert single / trials > 0.02  # 200 frames seem to carry 1 %, but are only 20 objects


def test_intervals_equal_those_of_the_beta_and_binomial_distributions():
    assert rate_interval(50, 2) == pytest.approx(stats.beta(2, 49).interval(0.95))
    for count, total in ((0, 10), (3, 17), (10, 10)):
        expected = stats.binomtest(count, total).proportion_ci(0.95, "exact")
        assert binomial_interval(count, total) == pytest.approx((expected.low, expected.high))


def test_the_rank_with_and_without_confidence_has_one_name():
    assert threshold_rank(100, 0.05) == split_rank(100, 0.05) == 5
    assert threshold_rank(100, 0.05, 0.95) == tolerance_rank(100, 0.05, 0.95) == 2


@pytest.mark.parametrize("alpha", [5e-324, 1e-10])
def test_a_rate_that_no_number_of_images_carries_is_refused_in_a_sentence(alpha):
    with pytest.raises(ConfigError, match=r"the false-alarm rate must be at least 1e-09"):
        normals_needed(alpha)
