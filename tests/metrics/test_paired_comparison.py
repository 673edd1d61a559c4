"""Two detectors on the same images: DeLong's test against its definition, the bootstrap, and honest caution."""

from statistics import NormalDist

import numpy as np
import pytest

from vlmad_core.metrics import aupro, auroc, average_precision
from vlmad_core.metrics.paired import delong, paired_bootstrap


def scene(seed, count=60, gap=1.0):
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % 3 == 0
    shared = draw.normal(size=count)
    first, second = shared + gap * labels, shared + 0.5 * draw.normal(size=count) + 0.8 * labels
    return (np.round(first, 1), np.round(second, 1), labels) if seed % 2 else (first, second, labels)


@pytest.mark.parametrize("seed", range(6))
def test_delong_is_its_definition(seed):
    """The placement values by counting all pairs, their covariances over both kinds of image."""
    first, second, labels = scene(seed)
    places = []
    for scores in (first, second):
        pairs = scores[labels][:, None] - scores[~labels]
        places.append((pairs > 0) + (pairs == 0) / 2)
    abnormal, normal = (np.cov(*(place.mean(axis) for place in places)) for axis in (1, 0))
    covariance = abnormal / labels.sum() + normal / (~labels).sum()
    error = np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    found = delong(first, second, labels)
    np.testing.assert_allclose([found.first, found.second], [auroc(first, labels), auroc(second, labels)])
    assert found.difference == found.first - found.second
    np.testing.assert_allclose(found.high - found.low, 2 * 1.959963984540054 * error)
    np.testing.assert_allclose(found.p, 2 - 2 * NormalDist().cdf(abs(found.difference) / error), atol=1e-12)
    assert (found.method, found.caution) == ("delong", "")


def test_equal_detectors_differ_by_chance_as_often_as_the_level_says():
    """Of 400 pairs that are alike by construction, about one in twenty has p below 0.05."""
    draw = np.random.default_rng(0)
    labels = np.arange(200) % 2 > 0
    tests = [delong(draw.normal(size=200) + labels, draw.normal(size=200) + labels, labels).p for _ in range(400)]
    assert 0.025 < np.mean(np.array(tests) < 0.05) < 0.08


def test_swapping_the_detectors_turns_the_sign():
    first, second, labels = scene(0)
    one, other = delong(first, second, labels), delong(second, first, labels)
    np.testing.assert_allclose([one.difference, one.low, one.p], [-other.difference, -other.high, other.p])


def test_the_same_scores_do_not_differ():
    first, _, labels = scene(0)
    found = delong(first, np.exp(first), labels)
    assert (found.difference, found.p, found.low, found.high) == (0.0, 1.0, 0.0, 0.0)


def test_few_images_are_said():
    labels = np.array([0, 0, 0, 1, 1, 1])
    found = delong([1, 2, 3, 4, 5, 2.5], [3, 1, 2, 2, 5, 4], labels)
    assert found.caution.startswith("Only 3 normal and 3 abnormal images")
    perfect = delong([0, 0, 0, 1, 1, 1], [1, 1, 1, 0, 0, 0], labels)
    assert np.isnan(perfect.p)
    assert "unknown" in perfect.caution


@pytest.mark.parametrize(
    ("first", "second", "labels", "text"),
    [
        ([1, 2, 3], [1, 2, 3], [0, 1, 1], "two images of each kind; got 1 normal and 2 abnormal"),
        ([1, 2, 3], [1, 2], [0, 1, 1], "3 and 2 scores for 3 labels"),
        ([1, 2, np.nan, 4], [1, 2, 3, 4], [0, 0, 1, 1], "must be finite"),
    ],
)
def test_what_cannot_be_compared_is_refused(first, second, labels, text):
    with pytest.raises(ValueError, match=text):
        delong(first, second, labels)


def test_bootstrap_and_delong_agree_on_auroc():
    first, second, labels = scene(0, count=240, gap=1.4)
    one, other = delong(first, second, labels), paired_bootstrap(auroc, first, second, labels, draws=400)
    assert one.difference == pytest.approx(other.difference)
    np.testing.assert_allclose([one.low, one.high], [other.low, other.high], atol=0.015)
    assert (other.method, other.caution) == ("bootstrap", "")
    assert max(one.p, other.p) < 0.02


def test_pairing_tells_apart_what_intervals_of_their_own_cannot():
    """Both share what is hard; their difference is far more certain than either."""
    first, _, labels = scene(2, gap=1.2)
    found = paired_bootstrap(average_precision, first, first - 0.3 * labels, labels, draws=300)
    assert found.low > 0
    assert found.high - found.low < 0.15
    assert found.p < 0.02
    same = paired_bootstrap(average_precision, first, first * 2, labels, draws=50)
    assert (same.difference, same.p) == (0.0, 1.0)


def test_maps_and_masks():
    draw = np.random.default_rng(0)
    masks = np.zeros((8, 12, 12), bool)
    masks[::2, 3:6, 3:9] = True
    noise = draw.normal(size=masks.shape)
    found = paired_bootstrap(aupro, noise + 2 * masks, noise, masks, draws=40)
    assert found.low > 0
    assert found.difference == aupro(noise + 2 * masks, masks) - aupro(noise, masks)
    assert found.caution.startswith("Only 4 normal and 4 abnormal")


def test_bootstrap_of_one_kind_has_no_interval():
    found = paired_bootstrap(auroc, [1, 2], [2, 1], [1, 1], draws=5)
    assert np.isnan([found.difference, found.low, found.high, found.p]).all()
    assert found.caution == "No draw had images of both kinds."


def test_bootstrap_refuses_rows_that_do_not_pair():
    with pytest.raises(ValueError, match="got 2, 2, 3 rows"):
        paired_bootstrap(auroc, [1, 2], [1, 2], [0, 1, 1])
