"""The score that needs a whole test set: what it is, and what it cannot be computed from."""

import numpy as np
import pytest

import vlmad_core
from vlmad_april_gan.transductive import rescale


def test_half_of_probability_and_normalised_maximum():
    np.testing.assert_allclose(rescale([0.2, 0.8, 0.5], [1.0, 3.0, 1.5]), [0.1, 0.9, 0.375])


def test_the_range_of_the_maps_does_not_matter_but_the_set_does():
    chance, peak = np.array([0.3, 0.6, 0.9]), np.array([2.0, 5.0, 3.0])
    np.testing.assert_allclose(rescale(chance, 7 * peak + 3), rescale(chance, peak))
    assert not np.allclose(rescale(chance[:2], peak[:2]), rescale(chance, [2.0, 5.0, 9.0])[:2])


def test_equal_maxima_say_nothing():
    np.testing.assert_allclose(rescale([0.2, 0.8], [1.5, 1.5]), [0.1, 0.4])


@pytest.mark.parametrize(
    ("chance", "peak", "said"),
    [
        ([0.5], [1.0], "one image has no range"),
        ([], [], "one image has no range"),
        ([0.5, 0.5], [1.0], "needs one probability and one maximum an image"),
        (np.zeros((2, 2)), np.zeros((2, 2)), "needs one probability and one maximum an image"),
    ],
)
def test_what_has_no_range_is_refused(chance, peak, said):
    with pytest.raises(vlmad_core.errors.ConfigError, match=said):
        rescale(chance, peak)
