"""Presets of a recipe: the size of the input by a name."""

import pytest

import vlmad_core
from vlmad_core.errors import ConfigError
from vlmad_core.pipeline.defaults import take_few_shot
from vlmad_core.pipeline.resolve import resolve
from vlmad_core.registry.component import Recipe
from vlmad_core.testing import tiny_backbone


def test_a_preset_is_the_recipe_at_another_size():
    plain = resolve("pocket-few-shot").spec
    assert resolve("pocket-few-shot", quality="fast").spec == plain
    assert resolve("pocket-few-shot", quality="balanced").spec.backbone.config["image_size"] == 448
    best = resolve("pocket-few-shot", quality="best").spec
    assert best.scales == (224, 448)
    assert best.scorers == plain.scorers


def test_a_backbone_that_is_exchanged_takes_the_size_of_the_preset():
    spec = resolve("pocket-few-shot", {"backbone": "timm"}, quality="balanced").spec
    assert spec.backbone.name == "timm"
    assert spec.backbone.config["image_size"] == 448


def test_the_few_shot_counterpart_keeps_the_preset():
    assert take_few_shot(resolve("pocket", quality="best")).spec.scales == (224, 448)


def test_a_size_beside_a_preset_is_refused():
    with pytest.raises(ConfigError, match="quality chooses the size of the input, and so does scales"):
        resolve("pocket", {"scales": [224]}, quality="best")


def test_a_recipe_without_presets_names_those_that_have_some():
    with pytest.raises(ConfigError, match=r"'clip' has no presets of quality; these recipes have: .*pocket-few-shot"):
        resolve("clip", quality="best")


def test_another_name_and_half_a_set_of_presets_are_refused():
    with pytest.raises(ConfigError, match="quality must be one of fast, balanced, best; got 'good'"):
        resolve("pocket", quality="good")
    with pytest.raises(ConfigError, match="quality must have fast, balanced, best; got fast"):
        Recipe(name="mine", spec={}, summary="One.", quality={"fast": {}})


def test_a_backbone_that_was_built_already_has_its_size():
    with pytest.raises(ConfigError, match="quality: the backbone is built already"):
        vlmad_core.build("pocket", backbone=tiny_backbone(), quality="best")
