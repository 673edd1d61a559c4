"""What a phrase does is the difference of the scores with it and without it; nonsense words are the control."""

import numpy as np
import pytest
import torch

import vlmad_core
from vlmad_core.contracts.data import TextEmbeddings
from vlmad_core.errors import IncompatibleError
from vlmad_core.inspection.prompt_effects import control_of, effect_of
from vlmad_core.pipeline.prompt_lint import (
    items_of,
    nonsense_variants,
    score_variants,
    text_scorers,
    variants_of,
)
from vlmad_core.testing import memory_registry, tiny_backbone

STATES = {"normal": ["clean {}", "whole {}"], "abnormal": ["bent {}", "torn {}", "{} with a hole"]}
TEMPLATES = ["a photo of a {}.", "the {}."]


def make(states=STATES, templates=TEMPLATES):
    overrides = {"prompts.config.states": states, "prompts.config.templates": templates}
    detector = vlmad_core.build("pocket", backbone=tiny_backbone(depth=12), overrides=overrides)
    detector.class_name = "nut"
    return detector


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (32, 32, 3), np.uint8) for _ in range(3)]


def look(detector):
    with torch.no_grad():
        return detector.text_parts("nut"), detector.text_embeddings(["nut"])


def test_every_phrase_and_template_is_an_item():
    parts, texts = look(make())
    items = items_of(parts, texts.abnormal.tolist())
    assert [(one.kind, one.text, one.is_abnormal, len(one.rows)) for one in items] == [
        ("state", "clean nut", False, 2),
        ("template", "a photo of a {}.", None, 5),
        ("template", "the {}.", None, 5),
        ("state", "whole nut", False, 2),
        ("state", "bent nut", True, 2),
        ("state", "torn nut", True, 2),
        ("state", "nut with a hole", True, 2),
    ]
    assert sum(one.kind == "sentence" for one in items_of(parts, [False, True], sentences=True)) == 10


def test_the_only_phrase_of_a_state_cannot_be_left_out():
    parts, texts = look(make({"normal": ["clean {}"], "abnormal": ["bent {}", "torn {}"]}, ["a {}."]))
    assert [one.text for one in items_of(parts, texts.abnormal.tolist())] == ["bent nut", "torn nut"]


def test_without_a_phrase_the_scores_are_those_of_prompts_that_never_had_it(images):
    detector = make()
    parts, texts = look(detector)
    items = [one for one in items_of(parts, texts.abnormal.tolist()) if one.text in ("torn nut", "the {}.")]
    scores = score_variants(detector, images, variants_of(parts, items, 2), texts.abnormal)
    assert scores[0] == pytest.approx([one.score for one in detector.predict(images)], abs=1e-5)
    for item, row in zip(items, scores[1:], strict=True):
        fewer = {**STATES, "abnormal": [one for one in STATES["abnormal"] if one != "torn {}"]}
        other = make(fewer) if item.kind == "state" else make(templates=TEMPLATES[:1])
        assert row == pytest.approx([one.score for one in other.predict(images)], abs=1e-5)


def test_nonsense_keeps_the_class_name_and_the_template():
    detector = make()
    parts, texts = look(detector)
    variants = nonsense_variants(detector, parts, "nut", texts, draws=2)
    assert len(variants) == 2
    assert variants[0].vectors.norm(dim=-1) == pytest.approx([1, 1], abs=1e-5)
    assert not torch.allclose(variants[0].vectors, variants[1].vectors)
    # Not the mean of plain sentences: there is no control.
    turned = TextEmbeddings(texts.vectors.flip(-1), texts.abnormal)
    assert nonsense_variants(detector, parts, "nut", turned) == []


def test_a_memory_alone_is_refused():
    spec = {"backbone": "tiny", "extractor": {"use": "patches", "config": {"space": "raw"}}, "scorers": ["memory"]}
    with pytest.raises(IncompatibleError, match="the prompts decide nothing"):
        text_scorers(vlmad_core.build(spec, registry=memory_registry()))


LABELS = [False] * 20 + [True] * 20


def test_findings():
    rng = np.random.default_rng(0)
    good = np.concatenate([rng.normal(0, 1, 20), rng.normal(4, 1, 20)])
    poor = np.concatenate([rng.normal(0, 1, 20), rng.normal(0.5, 1, 20)])
    assert effect_of(good, poor, LABELS).finding == "useful"
    assert effect_of(poor, good, LABELS).finding == "harmful"
    assert effect_of(good, good + 0.001 * rng.normal(size=40), LABELS).finding == "dead"
    assert effect_of(good, good - 1, LABELS).finding == ""  # all scores are raised: nothing is told apart better
    effect = effect_of(good, good - 1, LABELS)
    assert (effect.normal, effect.defect, effect.auroc) == pytest.approx((1, 1, 0))
    alone = effect_of(good[:20], poor[:20], [False] * 20)
    assert (alone.defect, alone.auroc, alone.finding) == (None, None, "")


def test_the_control_counts_draws_below():
    own = np.arange(40.0)
    nonsense = np.stack([own, own[::-1], np.zeros(40)])
    control = control_of(own, nonsense, LABELS)
    assert control is not None
    assert (control.auroc, control.nonsense, control.share_below) == (1.0, (0.0, 0.5, 1.0), pytest.approx(2 / 3))
    assert control_of(own, nonsense, [False] * 40) is None
