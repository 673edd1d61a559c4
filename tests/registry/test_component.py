"""What a plugin hands over is checked when it is written down, not when it is used."""

from __future__ import annotations

import pytest

import vlmad_core
from vlmad_core.registry import Component, Recipe


@pytest.mark.parametrize("name", ["", "A", "a_b", "-a", "a-", "a--b", "a b", "1a", "ä", "a\n"])
def test_name_of_the_wrong_form_is_refused(name):
    with pytest.raises(vlmad_core.errors.ConfigError, match="lower-case words joined by dashes"):
        Component(name=name, target="a.b:C", summary="x")
    with pytest.raises(vlmad_core.errors.ConfigError, match="lower-case words joined by dashes"):
        Recipe(name=name, spec={}, summary="x")


@pytest.mark.parametrize("target", ["", "a", "a.b", "a:b:c", "a.b:", ":C", "a..b:C", "a b:C", "a.b:C.d", "1.b:C"])
def test_target_of_the_wrong_form_is_refused(target):
    with pytest.raises(vlmad_core.errors.ConfigError, match=r"'package\.module:Class'"):
        Component(name="a", target=target, summary="x")


@pytest.mark.parametrize("summary", ["", "  ", "two\nlines"])
def test_summary_must_be_one_line(summary):
    with pytest.raises(vlmad_core.errors.ConfigError, match="summary must be one line"):
        Component(name="a", target="a.b:C", summary=summary)


@pytest.mark.parametrize("config", [dict, 3, "Config", vlmad_core.registry.Component])
def test_config_must_be_a_subclass_of_config(config):
    with pytest.raises(vlmad_core.errors.ConfigError, match=r"subclass of vlmad_core\.registry\.Config"):
        Component(name="a", target="a.b:C", summary="x", config=config)


def test_spec_of_a_recipe_must_be_a_mapping():
    with pytest.raises(vlmad_core.errors.ConfigError, match="spec must be a mapping, got list"):
        Recipe(name="a", spec=[], summary="x")


def test_training_of_a_recipe_must_be_a_mapping():
    assert Recipe(name="a", spec={}, summary="x").training == {}
    with pytest.raises(vlmad_core.errors.ConfigError, match="training must be a mapping, got list"):
        Recipe(name="a", spec={}, summary="x", training=[])


@pytest.mark.parametrize("checkpoint", ["a", "a.b", "a:b:c", ":c", "a b:c"])
def test_checkpoint_of_the_wrong_form_is_refused(checkpoint):
    assert Recipe(name="a", spec={}, summary="x", checkpoint="a.b:c").checkpoint == "a.b:c"
    with pytest.raises(vlmad_core.errors.ConfigError, match=r"'package\.module:function'"):
        Recipe(name="a", spec={}, summary="x", checkpoint=checkpoint)
