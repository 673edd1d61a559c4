"""resolve: every part is looked up and validated once, and what was named is what is meant."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from vlmad_core import build, load
from vlmad_core.errors import ConfigError, IncompatibleError, UnknownComponentError
from vlmad_core.pipeline import resolve as resolving
from vlmad_core.pipeline.build import assemble, make_backbone
from vlmad_core.pipeline.defaults import default_recipe, take_few_shot
from vlmad_core.pipeline.resolve import resolve
from vlmad_core.pipeline.spec import PartSpec
from vlmad_core.registry import Component, Config, Recipe, Registry
from vlmad_core.testing import TINY, memory_registry, tiny_backbone

WORDS = {
    "backbone": {"use": "tiny", "config": {"depth": 2}},
    "extractor": {"use": "patches", "config": {"space": "both"}},
    "prompts": {"use": "templates", "config": {"normal": ["a good {}."]}},
    "scorers": [{"use": "text-match", "config": {"levels": ["block*"]}}],
}
MEMORY = {
    "backbone": "tiny",
    "extractor": {"use": "patches", "config": {"layers": [2], "space": "raw"}},
    "scorers": [{"use": "memory", "config": {"top": 0.25}}],
}
RECIPES = [
    Recipe(name="words", spec=WORDS, summary="Text.", few_shot="remember"),
    Recipe(name="remember", spec=MEMORY, summary="A memory bank."),
]
REGISTRY = memory_registry(recipes=RECIPES)


class FarConfig(Config):
    """No option."""


FAR = "vlmad_core.testing.tiny:TinyConfig"


def crowded() -> Registry:
    """Beside everything else, a plugin whose parts have the names of the built-in ones."""
    names = {"extractors": "patches", "prompts": "templates", "scorers": "memory"}
    parts = {
        kind: [Component(name=name, target=FAR, config=FarConfig, summary="Not ours.")] for kind, name in names.items()
    }
    return memory_registry(backbones=(), plugin="vlmad-other", base=REGISTRY, **parts)


# -- once


def test_each_part_is_looked_up_and_validated_once(monkeypatch):
    asked, checked = Counter(), Counter()
    get, validate = Registry.get, resolving.validate

    def counted_get(self, kind, name, **more):
        asked[kind, name] += 1
        return get(self, kind, name, **more)

    def counted_validate(model, data, where="", owner=""):
        checked[owner] += 1
        return validate(model, data, where, owner)

    monkeypatch.setattr(Registry, "get", counted_get)
    monkeypatch.setattr(resolving, "validate", counted_validate)
    build("words", registry=REGISTRY)
    parts = {("backbone", "tiny"), ("extractor", "patches"), ("prompts", "templates"), ("scorer", "text-match")}
    assert asked == dict.fromkeys(parts | {("recipe", "words")}, 1)
    assert checked == {"": 1, "tiny": 1, "patches": 1, "templates": 1, "text-match": 1}


def test_everything_wrong_is_told_at_once():
    changes = {"extractor.config.laiers": [1], "scorers.0.config.temprature": 1}
    with pytest.raises(ConfigError) as message:
        resolve("words", changes, registry=REGISTRY)
    assert "extractor.config.laiers: no such option of 'patches'. Did you mean 'layers'?" in str(message.value)
    assert "scorers.0.config.temprature: no such option of 'text-match'. Did you mean 'tempera" in str(message.value)


# -- a part that is exchanged for itself


@pytest.mark.parametrize("name", ["tiny", "in-memory:tiny", {"use": "tiny"}, PartSpec(use="tiny")])
def test_naming_the_own_backbone_changes_nothing(name):
    assert resolve("words", {"backbone": name}, registry=REGISTRY).spec == resolve("words", registry=REGISTRY).spec


def test_naming_any_own_part_keeps_its_options():
    changes = {"extractor": "patches", "prompts": "vlmad-core:templates", "scorers": ["text-match", "memory"]}
    spec = resolve("words", changes, registry=REGISTRY).spec
    assert spec.extractor.config == {"space": "both"}
    assert spec.prompts.config == {"normal": ["a good {}."]}
    assert [part.config for part in spec.scorers] == [{"levels": ["block*"]}, {}]


def test_options_that_are_given_replace_the_own_ones():
    part = {"use": "tiny", "config": {"seed": 3}}
    assert resolve("words", {"backbone": part}, registry=REGISTRY).spec.backbone.config == {"seed": 3}
    kept = resolve("words", {"backbone": "tiny", "backbone.config.seed": 3}, registry=REGISTRY).spec
    assert kept.backbone.config == {"depth": 2, "seed": 3}


def test_backbone_that_is_built_is_taken_with_its_own_options():
    shared = make_backbone(PartSpec(use="tiny", config={"seed": 5}), registry=REGISTRY)
    assert build("words", backbone=shared, registry=REGISTRY).spec.backbone.config == {"seed": 5}


# -- names that two plugins offer


def test_part_with_the_name_of_a_built_in_disables_no_recipe_that_ships():
    spec = resolve("patch-memory", {"backbone": "tiny"}, registry=crowded()).spec
    assert [spec.extractor.use, spec.scorers[0].use] == ["vlmad-core:patches", "vlmad-core:memory"]


def test_short_names_of_a_recipe_are_those_of_its_own_plugin_and_of_the_core():
    found = resolve("words", registry=crowded())
    assert found.extractor.entry.full_name == "vlmad-core:patches"
    assert take_few_shot(found, registry=crowded()).scorers[0].entry.full_name == "vlmad-core:memory"


def test_short_name_in_a_mapping_is_refused_where_two_offer_it():
    with pytest.raises(UnknownComponentError, match=r"say which: vlmad-core:patches, vlmad-other:patches"):
        resolve(MEMORY, registry=crowded())


def test_saved_detector_still_loads_beside_parts_of_the_same_name(tmp_path):
    folder = build(MEMORY, registry=REGISTRY).save(tmp_path / "detector")
    assert load(folder, registry=crowded()).plugins == {
        "in-memory": "",
        "vlmad-core": load(folder, registry=REGISTRY).plugins["vlmad-core"],
    }


# -- the recipe that is meant


@pytest.mark.parametrize(
    ("normal_images", "own", "name"),
    [
        (False, True, "pocket"),
        (True, True, "pocket-few-shot"),
        (False, False, "winclip"),
        (True, False, "patch-memory"),
    ],
)
def test_default_recipe(normal_images, own, name):
    assert default_recipe(normal_images=normal_images, own_backbone=own) == name


def test_build_without_a_recipe_takes_the_default_one():
    theirs = [
        Recipe(name="pocket", spec=WORDS, summary="A."),
        Recipe(name="pocket-few-shot", spec=MEMORY, summary="B."),
    ]
    registry = memory_registry(recipes=theirs, plugin="vlmad-pocket")
    assert [scorer.needs_fit for scorer in build(registry=registry).scorers] == [False]
    assert [scorer.needs_fit for scorer in build(few_shot=True, registry=registry).scorers] == [True]
    beside = memory_registry(recipes=theirs, backbones=(), plugin="vlmad-other", base=registry)
    assert "vlmad-pocket" in resolve("pocket", prefer=("vlmad-pocket",), registry=beside).prefer
    assert build(registry=beside).spec.scorers[0].use == "text-match"


def test_few_shot_counterpart_takes_over_with_the_same_changes():
    detector = build("words", few_shot=True, image_size=(16, 16), registry=REGISTRY)
    assert detector.labels == ["memory"]
    assert detector.backbone.preprocess.size == (16, 16)
    assert build("words", registry=REGISTRY).labels == ["text-match"]
    assert build("remember", few_shot=True, registry=REGISTRY).labels == ["memory"]


def test_fit_without_a_memory_bank_says_how_to_get_one():
    with pytest.raises(IncompatibleError, match=r"few_shot=True"):
        build("words", registry=REGISTRY).fit([])


# -- model, image_size, device


def test_image_size_and_model_are_options_of_the_backbone():
    assert build("words", image_size=(16, 24), registry=REGISTRY).backbone.preprocess.size == (16, 24)
    with pytest.raises(ConfigError, match=r"backbone\.config\.model: no such option of 'tiny'"):
        build("words", model="ViT-L-14", registry=REGISTRY)
    with pytest.raises(ConfigError, match=r"image_size: the backbone is built already"):
        build("words", backbone=tiny_backbone(), image_size=16, registry=REGISTRY)


@pytest.mark.parametrize("side", [10**6, 10**12, 10**400])
def test_image_size_that_no_machine_has_memory_for_is_refused(side):
    with pytest.raises(ConfigError, match="image_size"):
        build("words", image_size=(side, side), registry=REGISTRY)


class DeviceConfig(Config):
    """As backbones that ship have it."""

    device: str = "cpu"
    text: bool = True


def on_a_device(config):
    device = torch.device(config.device)
    backbone = tiny_backbone()
    backbone.provenance = {"device": str(device)}
    return backbone


def test_device_goes_to_the_backbone_and_not_into_what_is_saved(monkeypatch, tmp_path):
    part = Component(name="there", target=f"{__name__}:on_a_device", config=DeviceConfig, summary="Says where.")
    registry = memory_registry(backbones=[TINY, part])
    monkeypatch.setattr("vlmad_core.registry.entry.import_module", lambda _: __import__("sys").modules[__name__])
    monkeypatch.setattr(
        "vlmad_core.pipeline.construct.find_device", lambda name: torch.device("meta" if name == "auto" else name)
    )
    made = make_backbone(PartSpec(use="there"), registry=registry)
    assert made.provenance["device"] == "meta"
    assert made.made_from.config == {}
    assert make_backbone(PartSpec(use="there"), device="cpu", registry=registry).provenance["device"] == "cpu"
    named = PartSpec(use="there", config={"device": "cpu"})
    assert make_backbone(named, registry=registry).provenance["device"] == "cpu"
    assert make_backbone(named, device="meta", registry=registry).provenance["device"] == "meta"


def test_resolved_pipeline_is_assembled_as_it_is():
    found = resolve("remember", {"scorers.0.config.top": 0.5}, registry=REGISTRY)
    assert assemble(found).scorers[0].config.top == 0.5
