import math
from dataclasses import replace

import numpy as np
import pytest

from vlmad_core.errors import ConfigError
from vlmad_core.inspection.calibration import Calibration, Fingerprint, ImageScore
from vlmad_core.inspection.conformal import cross_validation_bound
from vlmad_core.inspection.rule import make_rule

DETECTOR = Fingerprint("recipe", (448, 448), "float32")


def images(scores, prefix="n", **fields):
    return tuple(ImageScore(f"{prefix}{i}", float(score), **fields) for i, score in enumerate(scores))


def held_out(n, **fields):
    return Calibration(DETECTOR, held_out=images(np.random.default_rng(n).permutation(n) / n, **fields))


def test_with_99_normals_the_two_default_rates_give_three_labels():
    rule = make_rule(held_out(99))
    assert (rule.false_alarms, rule.review) == (0.01, 0.05)
    assert (rule.threshold, rule.review_threshold) == (98 / 99, 94 / 99)
    assert [rule.verdict(score).label for score in (0.1, 94 / 99, 95 / 99, 98 / 99, 0.999)] == [
        "pass",
        "pass",
        "review",
        "review",
        "reject",
    ]


def test_with_fewer_normals_the_default_is_the_rate_that_they_carry():
    rule = make_rule(held_out(98))
    assert (rule.false_alarms, rule.review, rule.review_threshold) == (0.05, None, None)
    with pytest.raises(
        ConfigError, match=r"rate of 0\.05 needs 19 independent normal images.*there are 18. Add 1 more"
    ):
        make_rule(held_out(18))


def test_each_number_of_a_verdict_is_what_it_says():
    rule = make_rule(held_out(19), false_alarms=0.1, review=0.5)
    verdict = rule.verdict(15 / 19)
    assert verdict.p_value == (1 + 4) / 20  # 15, 16, 17 and 18 of 19 are at least as high
    assert verdict.share_of_normals_below == 15 / 19
    assert (verdict.threshold, verdict.review_threshold) == (17 / 19, 9 / 19)
    assert (verdict.label, verdict.false_alarms) == ("review", 0.1)
    assert rule.verdict(17 / 19).confidence == 0.5
    assert rule.verdict(9 / 19).confidence == pytest.approx(0.05)  # the median normal


def test_a_rejected_image_is_one_with_a_p_value_at_most_the_rate():
    rng = np.random.default_rng(0)
    for alpha in (0.05, 0.1, 0.3):
        rule = make_rule(
            Calibration(DETECTOR, held_out=images(rng.integers(0, 15, 40) / 7)), false_alarms=alpha, review=0.9
        )
        for score in np.arange(-1, 20) / 7:
            verdict = rule.verdict(float(score))
            assert (verdict.label == "reject") == (verdict.p_value <= alpha) == (verdict.confidence > 0.5)
            assert (verdict.label != "pass") == (verdict.p_value <= 0.9)


def test_references_promise_the_weaker_bound_and_only_for_monotone_detectors():
    references = images(np.arange(40.0), "r")
    calibration = Calibration(DETECTOR, references=references, folds=40, is_monotone=True)
    rule = make_rule(calibration, false_alarms=0.05)
    assert (rule.source, rule.bound) == ("leave-one-out", 0.1)
    assert "proved on average is at most 0.1" in rule.promise
    rule = make_rule(replace(calibration, folds=10), false_alarms=0.05)
    assert rule.bound == cross_validation_bound(0.05, 40, 10)
    rule = make_rule(replace(calibration, is_monotone=False), false_alarms=0.05)
    assert rule.bound is None
    assert "nothing is proved" in rule.promise


def test_held_out_normals_come_first_where_they_carry_the_rate():
    references = images(np.arange(100.0), "r")
    few = Calibration(DETECTOR, held_out=images(np.arange(19.0), "h"), references=references, folds=100)
    assert make_rule(few, false_alarms=0.05).source == "held-out"
    assert make_rule(few, false_alarms=0.01).source == "leave-one-out"
    with pytest.raises(ConfigError, match=r"needs 59 normal images that the detector does not remember.*there are 19"):
        make_rule(few, false_alarms=0.05, confidence=0.95)


def test_a_confidence_gives_a_higher_threshold_and_says_so():
    rule = make_rule(held_out(299), confidence=0.95)
    assert (rule.false_alarms, rule.threshold, rule.bound) == (0.01, 298 / 299, 0.01)
    assert "with a confidence of 0.95 (order statistic of 299 held-out normal images)" in rule.promise
    assert make_rule(held_out(299)).threshold == 296 / 299


def test_groups_count_once():
    grouped = [ImageScore(f"g{i}", i / 100, group=f"part {i // 10}") for i in range(100)]
    calibration = Calibration(DETECTOR, held_out=tuple(grouped))
    with pytest.raises(ConfigError, match=r"needs 19 .*there are 10"):
        make_rule(calibration, false_alarms=0.05)
    rule = make_rule(calibration, false_alarms=0.1)
    assert rule.normals.tolist() == [(9 + 10 * i) / 100 for i in reversed(range(10))]
    assert "10 held-out groups of normal images" in rule.promise


@pytest.mark.parametrize(
    ("calibration", "options", "part"),
    [
        (Calibration(DETECTOR), {}, "has no normal images"),
        (Calibration(DETECTOR, held_out=images([1])), {"false_alarms": 0.1}, "there are 1"),
        (Calibration(DETECTOR, held_out=images([0.5] * 50)), {}, "all 50 normal images have the score 0.5"),
        (held_out(30), {"false_alarms": 0}, "above 0 and below 1, not 0"),
        (held_out(30), {"false_alarms": 1}, "above 0 and below 1, not 1"),
        (held_out(30), {"confidence": 1}, "the confidence must be"),
        (held_out(30), {"false_alarms": 0.1, "review": 0.1}, r"review rate \(0.1\) must be above"),
    ],
)
def test_what_gives_no_threshold_is_refused_in_a_sentence(calibration, options, part):
    with pytest.raises(ConfigError, match=part):
        make_rule(calibration, **options)


def test_a_score_that_is_no_number_has_no_verdict():
    with pytest.raises(ConfigError, match="not finite"):
        make_rule(held_out(30)).verdict(math.nan)


def test_an_image_farther_from_all_normals_than_they_are_from_each_other_is_not_this_part():
    calibration = held_out(30, class_nearest=0.1, class_farthest=0.4)
    rule = make_rule(calibration)
    near, far = rule.verdict(0.5, 0.4), rule.verdict(0.5, 0.41)
    assert (near.label, far.label) == ("pass", "not this part")
    assert (near.class_p_value, far.class_p_value, far.confidence) == (1 / 31, 1 / 31, None)
    assert rule.verdict(0.5, 0.05).class_p_value == 1
    assert "0.41" in far.reason
    assert "0.4)" in far.reason
    assert rule.verdict(0.5).class_p_value is None


def test_of_exchangeable_images_at_most_one_is_not_this_part():
    rng = np.random.default_rng(3)
    found = []
    for _ in range(60):
        points = rng.standard_cauchy((12, 2))
        distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
        count = 0
        for new in range(12):
            rest = [i for i in range(12) if i != new]
            between = distances[np.ix_(rest, rest)]
            farthest, nearest = between.max(1), (between + 1e9 * np.eye(11)).min(1)
            normals = tuple(
                ImageScore(f"n{i}", i / 11, class_nearest=near, class_farthest=far)
                for i, (near, far) in enumerate(zip(nearest.tolist(), farthest.tolist(), strict=True))
            )
            rule = make_rule(Calibration(DETECTOR, held_out=normals), false_alarms=0.1)
            count += rule.verdict(0.5, float(distances[new, rest].min())).label == "not this part"
        found.append(count)
    assert set(found) == {0, 1}


def test_without_all_class_distances_there_is_no_such_label():
    calibration = held_out(30, class_nearest=0.1, class_farthest=0.4)
    some = replace(calibration, held_out=(*calibration.held_out, ImageScore("last", 0.2)))
    assert make_rule(some).verdict(0.5, 9.0).label == "pass"


def test_missed_defects_are_counted_and_move_no_threshold():
    calibration = held_out(30)
    with_defects, _ = calibration.with_defects(images([0.2, 0.5, 2.0, 3.0], "d"))
    rule = make_rule(with_defects)
    assert rule.threshold == make_rule(calibration).threshold
    missed = rule.missed(with_defects.defects)
    assert (missed.count, missed.total) == (2, 4)
    assert missed.interval == pytest.approx((0.0676, 0.9324), abs=1e-4)
    assert rule.missed(()) is None


def test_the_rate_of_rejected_good_images_is_the_promised_one():
    rng = np.random.default_rng(7)
    alpha, n, new, trials = 0.05, 39, 200, 300
    rates = []
    for _ in range(trials):
        rule = make_rule(Calibration(DETECTOR, held_out=images(rng.gamma(2, size=n))), false_alarms=alpha)
        rates.append((rng.gamma(2, size=new) > rule.threshold).mean())
    spread = math.sqrt(alpha * (1 - alpha) / (n + 2) + alpha * (1 - alpha) / new)  # of Beta(2, 38), then binomial
    assert abs(np.mean(rates) - 2 / 40) < 4 * spread / math.sqrt(trials)
