from itertools import product

import numpy as np
import pytest
from scipy import stats

from vlmad_core.errors import ConfigError
from vlmad_core.inspection.persistence import any_window_rate, dependent_bound, window_rate


def test_k_of_n_independent_frames_is_a_binomial_tail():
    for rate, k, n in ((0.05, 3, 5), (0.3, 1, 4), (0.5, 7, 7), (0.0, 1, 3)):
        assert window_rate(rate, k, n) == pytest.approx(stats.binom.sf(k - 1, n, rate))


@pytest.mark.parametrize(("k", "n", "frames"), [(2, 3, 8), (3, 3, 10), (2, 5, 9), (1, 1, 6), (3, 5, 2)])
def test_the_rate_of_parts_with_an_alarm_is_that_of_all_possible_sequences(k, n, frames):
    rate, expected = 0.3, 0.0
    for bits in product((0, 1), repeat=frames):
        if any(sum(bits[max(0, i + 1 - n) : i + 1]) >= k for i in range(frames)):
            expected += rate ** sum(bits) * (1 - rate) ** (frames - sum(bits))
    assert any_window_rate(rate, k, n, frames) == pytest.approx(expected)


def test_dependent_frames_stay_under_their_bound_and_can_exceed_the_binomial():
    rng = np.random.default_rng(0)
    common = rng.standard_normal((20_000, 1))
    frames = 0.9 * common + np.sqrt(1 - 0.81) * rng.standard_normal((20_000, 5))
    measured = ((frames > stats.norm.isf(0.05)).sum(1) >= 3).mean()
    assert measured <= dependent_bound(0.05, 3, 5) == pytest.approx(1 / 12)
    assert measured > 10 * window_rate(0.05, 3, 5)
    assert dependent_bound(0.9, 1, 5) == 1


def test_numbers_out_of_range_are_refused():
    for rate, k, n in ((0.1, 0, 3), (0.1, 4, 3), (1.1, 1, 3)):
        with pytest.raises(ConfigError, match="k of n needs"):
            window_rate(rate, k, n)
    with pytest.raises(ConfigError, match="at most 16"):
        any_window_rate(0.1, 3, 17, 20)
