import json
import math
from dataclasses import replace

import numpy as np
import pytest

from vlmad_core.errors import VlmadError
from vlmad_core.inspection.verdict import Verdict, confidences, labels, uncalibrated


def triples(n):
    """Scores, thresholds and scales over many orders of magnitude, many of them equal or one rounding step apart."""
    rng = np.random.default_rng(0)
    sign = rng.choice([-1.0, 1.0], n)
    threshold = sign * 10.0 ** rng.uniform(-30, 30, n)
    scale = 10.0 ** rng.uniform(-35, 35, n)
    near = rng.integers(0, 5, n)
    score = np.select(
        [near == 0, near == 1, near == 2, near == 3],
        [threshold, np.nextafter(threshold, np.inf), np.nextafter(threshold, -np.inf), threshold + scale],
        rng.standard_normal(n) * 10.0 ** rng.uniform(-30, 30, n),
    )
    return score, threshold, scale


def test_decision_and_confidence_agree_on_a_million_random_triples():
    score, threshold, scale = triples(1_000_000)
    confidence, label = confidences(score, threshold, scale), labels(score, threshold)
    assert ((confidence > 0.5) == (label == "reject")).all()
    assert ((confidence == 0.5) == (score == threshold)).all()
    assert ((confidence >= 0) & (confidence <= 1)).all()
    assert (score == threshold).sum() > 100_000
    assert (label == "reject").sum() > 300_000


def test_single_verdicts_agree_with_the_arrays_and_pass_their_check():
    score, threshold, scale = triples(3000)
    label, confidence = labels(score, threshold), confidences(score, threshold, scale)
    for i in range(3000):
        verdict = Verdict(label[i].item(), score[i].item(), threshold[i].item(), confidence=confidence[i].item())
        assert verdict.label == ("reject" if score[i] > threshold[i] else "pass")


def test_confidence_is_the_logistic_function_of_the_distance_to_the_threshold():
    assert confidences([1, 3, 5], 3, 2).tolist() == pytest.approx([1 / (1 + math.e), 0.5, math.e / (1 + math.e)])


def test_between_the_thresholds_is_review():
    assert labels([1, 2, 2.5, 3, 3.5], 3, 2).tolist() == ["pass", "pass", "review", "review", "reject"]


GOOD = Verdict("reject", 2.0, 1.0, confidence=0.9)


@pytest.mark.parametrize(
    "change",
    [
        {"label": "pass"},
        {"confidence": 0.5},
        {"confidence": 0.4},
        {"score": 1.0},
        {"threshold": None},
        {"confidence": None},
        {"confidence": 1.1},
        {"confidence": math.nan},
        {"label": "review", "review_threshold": 0.5},
        {"label": "pass", "score": 0.8, "confidence": 0.4, "review_threshold": 0.5},
        {"label": "review", "score": 0.8, "confidence": 0.4},
        {"label": "not this part"},
        {"label": "uncalibrated"},
        {"label": "fine"},
        {"score": math.nan},
    ],
)
def test_a_verdict_that_contradicts_itself_cannot_be_made(change):
    with pytest.raises(VlmadError, match="contradicts itself"):
        replace(GOOD, **change)


def test_a_verdict_without_thresholds_says_why():
    verdict = uncalibrated(0.4, "there are no normal images.")
    assert json.loads(json.dumps(verdict.to_dict()))["reason"] == "there are no normal images."
    assert (verdict.label, verdict.confidence, verdict.threshold) == ("uncalibrated", None, None)
