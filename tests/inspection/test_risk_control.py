import math

import numpy as np
import pytest

from vlmad_core.errors import ConfigError
from vlmad_core.inspection.calibration import Calibration, Fingerprint, ImageScore
from vlmad_core.inspection.pixel_rule import group_tails, make_pixel_rule
from vlmad_core.inspection.risk_control import TAIL_SHARES, map_tail, pixel_threshold


def random_map(rng):
    return (rng.standard_normal((32, 32)) + 0.3 * rng.standard_normal()).astype(np.float32)


def test_the_tail_of_a_map_is_the_lowest_value_that_a_share_of_pixels_exceeds():
    rng = np.random.default_rng(0)
    for values in (random_map(rng), rng.integers(0, 5, (20, 30)) / 4, np.zeros((4, 4))):
        tail = map_tail(values)
        assert tail[0] == values.max()
        for share, value in zip(TAIL_SHARES, tail, strict=True):
            assert (values > value).mean() <= share
            lower = values[values < value]
            if share < 1 and lower.size:
                assert (values > lower.max()).mean() > share


def test_the_threshold_is_the_lowest_that_risk_control_allows():
    rng = np.random.default_rng(1)
    shares = np.array(TAIL_SHARES)
    for n, alpha in ((19, 0.05), (30, 0.05), (60, 0.1), (100, 0.3)):
        tails = np.array([map_tail(random_map(rng)) for _ in range(n)])

        def risk(threshold, tails=tails, n=n):  # n/(n+1) mean loss + 1/(n+1), the loss being the rounded-up share
            losses = [shares[tail <= threshold].min(initial=1.0) for tail in tails]
            return (sum(losses) + 1) / (n + 1)

        candidates = np.unique(tails[:, :-1])
        expected = min(value for value in candidates if risk(value) <= alpha + 1e-15)
        assert pixel_threshold(tails.tolist(), alpha) == expected


def test_the_share_of_flagged_normal_pixels_is_at_most_the_promised_one():
    rng = np.random.default_rng(2)
    alpha, n, shares = 0.05, 40, []
    for _ in range(150):
        threshold = pixel_threshold([map_tail(random_map(rng)) for _ in range(n)], alpha)
        shares += [(random_map(rng) > threshold).mean() for _ in range(5)]
    assert np.mean(shares) <= alpha
    assert np.mean(shares) > alpha / 4  # and not by flagging nothing


def test_constant_and_equal_maps_have_a_threshold_that_flags_none_of_them():
    assert pixel_threshold([map_tail(np.full((3, 3), 0.25))] * 20, 0.05) == 0.25


def test_too_few_maps_are_refused_with_the_number_that_would_do():
    with pytest.raises(
        ConfigError, match=r"0\.01 of the normal pixels flagged needs 99 normal images, and there are 20"
    ):
        pixel_threshold([map_tail(np.eye(3))] * 20, 0.01)
    with pytest.raises(ConfigError, match="above 0 and below 1"):
        pixel_threshold([map_tail(np.eye(3))] * 20, 0)
    with pytest.raises(ConfigError, match="27 values"):
        pixel_threshold([[1.0, 0.5]] * 20, 0.1)
    with pytest.raises(ConfigError, match="no pixels"):
        map_tail([])
    with pytest.raises(ConfigError, match="not finite"):
        map_tail([[0.1, math.nan]])


def images(n, prefix="n", **fields):
    rng = np.random.default_rng(n)
    return tuple(ImageScore(f"{prefix}{i}", 0.1 * i, tail=map_tail(random_map(rng)), **fields) for i in range(n))


DETECTOR = Fingerprint("recipe", (32, 32), "float32")


def test_the_rule_for_pixels_promises_only_what_is_proved():
    proved = make_pixel_rule(Calibration(DETECTOR, held_out=images(25)))
    assert (proved.max_share, proved.is_proved) == (0.05, True)
    assert proved.promise.startswith("At most 0.05 of the pixels")
    assert proved.threshold == pixel_threshold([image.tail for image in images(25)], 0.05)
    references = make_pixel_rule(Calibration(DETECTOR, references=images(100, "r"), folds=10))
    assert (references.max_share, references.is_proved) == (0.01, False)
    assert "proved for held-out images only" in references.promise


def test_the_rule_for_pixels_refuses_what_it_cannot_compute():
    with pytest.raises(ConfigError, match="no maps of normal images"):
        make_pixel_rule(Calibration(DETECTOR, held_out=(ImageScore("a", 1.0),)))
    with pytest.raises(ConfigError, match="needs 19 normal images, and there are 10"):
        make_pixel_rule(Calibration(DETECTOR, held_out=images(10)))
    with pytest.raises(ConfigError, match="needs 19 normal images, and there are 1"):
        make_pixel_rule(Calibration(DETECTOR, held_out=images(25, group="one part")))


def test_no_image_of_a_group_flags_more_than_the_group():
    group = images(5, group="g")
    (tail,) = group_tails(group)
    assert tail.tolist() == np.max([image.tail for image in group], axis=0).tolist()
