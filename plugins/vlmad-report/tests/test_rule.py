"""The rule on the page and the rule of the core are the same: tried on random scores, with ties."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import numpy as np
import pytest
import quickjs

from vlmad_core.inspection.calibration import Calibration, Fingerprint, ImageScore
from vlmad_core.inspection.conformal import p_values
from vlmad_core.inspection.rule import make_rule
from vlmad_core.inspection.verdict import labels

DETECTOR = Fingerprint("recipe", (8, 8), "float32")


@pytest.fixture(scope="module")
def run() -> Any:
    """Evaluate an expression with ``Rule`` and ``given`` in scope."""
    context = quickjs.Context()
    context.eval((files("vlmad_report") / "page" / "rule.js").read_text("utf-8"))

    def evaluate(expression: str, given: Any) -> Any:
        context.set("text", json.dumps(given))
        script = f"(() => {{ const given = JSON.parse(text); return JSON.stringify({expression}) }})()"
        return json.loads(context.eval(script))

    return evaluate


def test_labels_are_those_of_the_core_on_random_cases(run):
    random = np.random.default_rng(0)
    scores = np.concatenate([random.normal(size=20_000), np.round(random.normal(size=20_000), 1)])
    thresholds = np.concatenate([random.normal(size=20_000), np.round(random.normal(size=20_000), 1)])
    reviews = thresholds - np.abs(np.round(random.normal(size=40_000), 1))
    given = np.stack([scores, thresholds, reviews], axis=1).tolist()
    for expression, review in (
        ("given.map(([s, t, r]) => Rule.label(s, t, r))", reviews),
        ("given.map(([s, t]) => Rule.label(s, t, null))", None),
    ):
        found = np.array(run(expression, given))
        assert (found == labels(scores, thresholds, review)).all()
        assert {"pass", "reject"} <= set(found.tolist())


@pytest.mark.parametrize("decimals", [1, 17])
def test_p_values_and_shares_are_those_of_the_core_to_the_last_bit(run, decimals):
    random = np.random.default_rng(1)
    for n in (1, 2, 19, 400):
        normals = np.sort(np.round(random.normal(size=n), decimals))[::-1]
        scores = np.concatenate([np.round(random.normal(size=500), decimals), normals])
        given = {"normals": normals.tolist(), "scores": scores.tolist()}
        found = run("given.scores.map((s) => Rule.pValue(given.normals, s))", given)
        assert found == p_values(normals, scores).tolist()
        shares = run("given.scores.map((s) => Rule.shareBelow(given.normals, s))", given)
        assert shares == [float((normals < score).sum() / n) for score in scores]


def test_a_whole_verdict_is_that_of_the_rule_that_the_core_makes(run, calibration_record):
    random = np.random.default_rng(2)
    for seed in range(40):
        scores = np.round(random.gamma(2.0, size=int(random.integers(20, 300))), int(random.integers(1, 6))).tolist()
        images = tuple(ImageScore(f"{i}", score) for i, score in enumerate(scores))
        rule = make_rule(Calibration(DETECTOR, images), false_alarms=[0.05, 0.1, 0.2][seed % 3])
        record = calibration_record(scores, false_alarms=rule.false_alarms)
        tested = [*random.gamma(2.0, size=100).tolist(), *scores[:20]]
        found = run(
            "given.scores.map((s) => [Rule.label(s, given.c.threshold, given.c.review_threshold), "
            "Rule.pValue(given.c.normals, s), Rule.shareBelow(given.c.normals, s)])",
            {"c": record, "scores": tested},
        )
        expected = [rule.verdict(score) for score in tested]
        assert found == [[each.label, each.p_value, each.share_of_normals_below] for each in expected]


def test_a_moved_threshold_has_the_rank_of_the_highest_normal_that_it_is_at_or_above(run):
    given = {"normals": [0.9, 0.5, 0.5, 0.1], "at": [1.0, 0.9, 0.7, 0.5, 0.3, 0.1, 0.0]}
    assert run("given.at.map((t) => Rule.rank(given.normals, t))", given) == [1, 1, 2, 2, 4, 4, 5]


@pytest.mark.parametrize(
    ("verdict", "label", "judgement"),
    [
        ("reject", "defect", "confirmed"),
        ("reject", "good", "false alarm"),
        ("pass", "good", "confirmed"),
        ("pass", "defect", "missed"),
        ("not this part", "other part", "confirmed"),
        ("not this part", "good", "false alarm"),
        ("review", "defect", "decided"),
        ("uncalibrated", "good", "decided"),
    ],
)
def test_a_judgement_compares_the_verdict_with_what_the_person_says(run, verdict, label, judgement):
    assert run("Rule.judgement(...given)", [verdict, label]) == judgement
