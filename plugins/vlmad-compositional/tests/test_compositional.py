"""Ensembles say what their lists say, and wrong lists are refused before anything is loaded."""

import json

import pytest
import torch
import yaml

import vlmad_core
from vlmad_compositional.compositional import Compositional
from vlmad_compositional.lists import read_states, read_templates
from vlmad_compositional.plugin import CompositionalConfig
from vlmad_core.registry.validate import validate
from vlmad_core.testing import tiny_backbone


@pytest.fixture(scope="module")
def backbone():
    return tiny_backbone()


@pytest.mark.parametrize(
    ("name", "count", "distinct"), [("winclip-22", 22, 22), ("winclip-21", 21, 20), ("april-gan-35", 35, 35)]
)
def test_lists_of_templates(name, count, distinct):
    templates = read_templates(name)
    assert (len(templates), len(set(templates))) == (count, distinct)


@pytest.mark.parametrize(("name", "abnormal"), [("winclip", 4), ("april-gan", 5)])
def test_lists_of_states(name, abnormal):
    normal, kinds = read_states(name)
    assert (len(normal), len(kinds["abnormal"])) == (7, abnormal)


@pytest.mark.parametrize("suffix", [".yaml", ".json"])
def test_files_are_read(tmp_path, suffix):
    dump = json.dumps if suffix == ".json" else yaml.safe_dump
    states, templates = {"normal": ["intact {}"], "abnormal": ["torn {}"]}, ["a drawing of a {}."]
    for name, data in {"states": states, "templates": templates}.items():
        (tmp_path / f"{name}{suffix}").write_text(dump(data))
    config = CompositionalConfig(
        states=str(tmp_path / f"states{suffix}"), templates=str(tmp_path / f"templates{suffix}")
    )
    prompts = Compositional(config, tiny_backbone())
    assert prompts.sentences("net", prompts.states[1]) == ["a drawing of a torn net."]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"states": "winklip"}, "no list of states is called 'winklip'; there are: winclip, april-gan"),
        ({"states": {"normal": ["{}"]}}, "exactly two lists, normal and abnormal"),
        ({"states": {"normal": [], "abnormal": ["bad {}"]}}, "states.normal is empty"),
        ({"states": {"normal": ["{}"], "abnormal": {}}}, "states.abnormal is empty"),
        ({"states": {"normal": ["{name}"], "abnormal": ["bad {}"]}}, "the only placeholder is {}; found {name}"),
        ({"states": {"normal": ["{}", "{"], "abnormal": ["bad {}"]}}, "found {"),
        ({"states": {"normal": "{}", "abnormal": ["bad {}"]}}, "states.normal must be a list of sentences"),
        ({"templates": "winclip-23"}, "no list of templates is called 'winclip-23'"),
        ({"templates": []}, "templates is empty"),
        ({"templates": ["a photo."]}, "a template needs {} where the object goes"),
        ({"templates": ["a {} of {thing}."]}, "found {thing}"),
        ({"templates": ["  "]}, "holds an empty sentence"),
        ({"templates": "nowhere.yaml"}, "nowhere.yaml cannot be read"),
    ],
)
def test_wrong_lists_are_refused(options, said):
    with pytest.raises(vlmad_core.errors.ConfigError) as error:
        validate(CompositionalConfig, options, "prompts.config")
    assert said in str(error.value)
    assert str(error.value).startswith("prompts.config.")


def test_kinds_of_defect_are_states_of_their_own(backbone):
    states = {"normal": ["{}"], "abnormal": {"scratch": ["scratched {}"], "hole": ["{} with a hole", "pierced {}"]}}
    prompts = Compositional(CompositionalConfig(states=states), backbone)
    with torch.no_grad():
        text_embeddings = prompts(backbone.text, ["nut", "bolt"])
    assert text_embeddings.vectors.shape == (2, 3, backbone.text.dim)
    assert text_embeddings.abnormal.tolist() == [False, True, True]
    torch.testing.assert_close(text_embeddings.vectors.norm(dim=-1), torch.ones(2, 3))


def test_the_two_means_differ_and_order_of_names_is_kept(backbone):
    unit, raw = (Compositional(CompositionalConfig(average=a), backbone) for a in ("unit", "raw"))
    with torch.no_grad():
        both = unit(backbone.text, ["nut", "bolt"]).vectors
        torch.testing.assert_close(both.flip(0), unit(backbone.text, ["bolt", "nut"]).vectors)
        assert (both - raw(backbone.text, ["nut", "bolt"]).vectors).abs().max() > 1e-4


def test_sentences_without_a_name_need_none(backbone):
    states = {"normal": ["flawless object"], "abnormal": ["damaged object"]}
    assert Compositional(CompositionalConfig(states=states), backbone).class_name_use == "ignored"
    assert Compositional(CompositionalConfig(), backbone).class_name_use == "required"
    named = Compositional(CompositionalConfig(needs_name=False), backbone)
    assert named.class_name_use == "optional"
