"""Words of fields: every phrase names the object once, none is there twice, and each list says where it comes from."""

from importlib.resources import files

import pytest
import yaml

from vlmad_compositional.lists import read_states
from vlmad_compositional.plugin import CompositionalConfig

FILES = {
    file.name.removesuffix(".yaml"): yaml.safe_load(file.read_text(encoding="utf-8"))
    for file in (files("vlmad_compositional") / "data" / "fields").iterdir()
}


def test_the_fields_are_those_that_are_named_in_the_option():
    description = CompositionalConfig.model_fields["states"].description
    assert set(FILES) == {"industrial-surface", "textile", "food", "electronics", "medical-imaging"}
    assert all(name in description for name in FILES)


@pytest.mark.parametrize("name", FILES)
def test_every_phrase_names_the_object_once_and_none_is_there_twice(name):
    normal, kinds = read_states(name)
    phrases = [*normal, *kinds["abnormal"]]
    assert list(kinds) == ["abnormal"]
    assert all(phrase.count("{}") == 1 for phrase in phrases)
    formatted = [phrase.format("nut") for phrase in phrases]
    assert len({phrase.casefold() for phrase in formatted}) == len(formatted)
    assert all("nut" in phrase and phrase == phrase.strip() for phrase in formatted)


@pytest.mark.parametrize("name", FILES)
def test_a_list_says_where_its_words_come_from(name):
    assert set(FILES[name]) == {"source", "normal", "abnormal"}
    assert len(FILES[name]["source"]) > 20


def test_an_unknown_field_is_refused_with_those_that_exist():
    with pytest.raises(ValueError, match=r"'cars'.*electronics, food, industrial-surface, medical-imaging, textile"):
        read_states("cars")


def test_a_field_is_refused_where_there_are_no_states(monkeypatch):
    from vlmad_core.cli.choice import Choice
    from vlmad_core.cli.detector import resolve_choice
    from vlmad_core.errors import ConfigError

    with pytest.raises(ConfigError, match="recipe 'patch-memory' has no prompts, so --field would change nothing"):
        resolve_choice(Choice(recipe="patch-memory", field="textile"))
    found = resolve_choice(Choice(recipe="pocket", field="textile"))
    assert found.prompts.config.states == "textile"
