"""build: from names to a detector, with parts exchanged, and every impossible mix refused in a sentence."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from types import ModuleType

import pytest
import torch

from vlmad_core import Pipeline, build
from vlmad_core.errors import ConfigError, IncompatibleError, UnknownComponentError
from vlmad_core.pipeline.build import assemble
from vlmad_core.pipeline.resolve import resolve
from vlmad_core.pipeline.spec import PipelineSpec
from vlmad_core.registry import Component, Config, Recipe
from vlmad_core.registry.validate import validate
from vlmad_core.testing import TINY, memory_registry, tiny_backbone

WORDS = {"backbone": "tiny", "extractor": "patches", "prompts": "templates", "scorers": ["text-match"]}
MEMORY = {"backbone": "tiny", "extractor": "patches", "scorers": ["memory"]}
BLIND = {"use": "tiny", "config": {"text": False}}
OPTIONAL = {**WORDS, "scorers": [{"use": "text-match", "optional": True}, "memory"]}

RECIPES = [
    Recipe(name="words", spec=WORDS, summary="For tests."),
    Recipe(name="far", spec={**WORDS, "prompts": "faraway"}, summary="For tests.", needs={"faraway": "vlmad-faraway"}),
]
REGISTRY = memory_registry(recipes=RECIPES)


def made(recipe, **options) -> Pipeline:
    return build(recipe, registry=REGISTRY, **options)


def parts(pipeline: Pipeline) -> list[str]:
    found = [pipeline.extractor, pipeline.prompts, *pipeline.scorers]
    return [type(part).__name__ for part in found if part is not None]


# -- what a recipe may be


@pytest.mark.parametrize("kind", ["name", "full name", "mapping", "spec", "path", "string path", "json"])
def test_recipe_by_any_means(tmp_path, kind):
    spec = validate(PipelineSpec, WORDS)
    for name in ("a.yaml", "a.json"):
        (tmp_path / name).write_text(spec.model_dump_json(), encoding="utf-8")  # JSON is YAML
    recipe = {
        "name": "words",
        "full name": "in-memory:words",
        "mapping": WORDS,
        "spec": spec,
        "path": tmp_path / "a.yaml",
        "string path": str(tmp_path / "a.yaml"),
        "json": tmp_path / "a.json",
    }[kind]
    detector = made(recipe)
    assert parts(detector) == ["Patches", "Templates", "TextMatch"]
    assert detector.spec == spec


def test_unknown_recipe_names_the_others():
    with pytest.raises(
        UnknownComponentError, match=r"no recipe 'wrods'\. Did you mean 'words'\? There are: anomaly-dino, clip, far"
    ):
        made("wrods")


def test_missing_file_is_told(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read"):
        made(tmp_path / "nowhere.yaml")


def test_recipe_is_not_changed():
    before = {key: value if isinstance(value, str) else list(value) for key, value in WORDS.items()}
    made("words", scorers="memory", prompts=None, overrides={"scorers.0.config.top": 0.5})
    assert before == WORDS


# -- parts exchanged


def test_each_part_can_be_exchanged():
    detector = made(
        "words",
        backbone={"use": "tiny", "config": {"seed": 5}},
        extractor={"use": "patches", "config": {"layers": [1]}},
        prompts={"use": "templates", "config": {"normal": ["fine {}"]}},
        scorers=[{"use": "text-match", "config": {"temperature": 1.0}}, "memory"],
    )
    assert detector.backbone.provenance["weights"] == "random, seed 5"
    assert [level.name for level in detector.extractor.levels] == ["block1"]
    assert detector.prompts.sides[0] == ("fine {}",)
    assert [part.use for part in detector.spec.scorers] == ["text-match", "memory"]
    assert detector.scorers[0].config.temperature == 1


@pytest.mark.parametrize("scorers", ["memory", {"use": "memory"}, ["memory"], ("memory",)])
def test_words_can_be_left_out(scorers):
    detector = made("words", prompts=None, scorers=scorers)
    assert parts(detector) == ["Patches", "Memory"]
    assert detector.spec.prompts is None


def test_set_comes_after_the_exchanges():
    detector = made(
        "words",
        scorers=("memory",),
        prompts=None,
        overrides={
            "scorers.0.config.top": 0.25,
            "extractor.config.layers": [2],
            "fuse.map": "max",
            "output.smooth": 3,
        },
    )
    assert detector.scorers[0].config.top == 0.25
    assert detector.extractor.layers == (2,)
    assert (detector.fuse.image, detector.fuse.map, detector.fuse.smooth) == ("mean", "max", 3)


def test_shared_backbone_is_used_as_it_is():
    backbone = tiny_backbone(seed=7)
    one, other = made("words", backbone=backbone), made(MEMORY, backbone=backbone)
    assert one.backbone is other.backbone is backbone
    assert one.spec.backbone.use == "tiny"


def test_shared_backbone_needs_no_backbone_in_the_registry():
    registry = memory_registry(backbones=())
    assert parts(build(MEMORY, backbone=tiny_backbone(), registry=registry)) == ["Patches", "Memory"]


def test_resolve_imports_no_part():
    far = Component(name="far-look", target="nowhere.at_all:Far", summary="Is not there.")
    registry = memory_registry(extractors=[far])
    resolved = resolve({**MEMORY, "extractor": "far-look"}, registry=registry)
    assert resolved.extractor.entry.full_name == "in-memory:far-look"
    with pytest.raises(UnknownComponentError, match=r"cannot be imported from nowhere\.at_all:Far"):
        assemble(resolved)


def test_plugins_in_use_are_noted():
    assert sorted(made("words").plugins) == ["in-memory", "vlmad-core"]
    assert sorted(made(MEMORY, backbone=tiny_backbone()).plugins) == ["vlmad-core"]


# -- refused before anything is built


def unbuilt(monkeypatch) -> None:
    monkeypatch.setattr("vlmad_core.testing.tiny.tiny_from_config", lambda _: pytest.fail("built a backbone"))


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"backbone": "tinny"}, UnknownComponentError, "no backbone 'tinny'. Did you mean 'tiny'? There are: open-"),
        ({"extractor": "pathces"}, UnknownComponentError, "no extractor 'pathces'. Did you mean 'patches'?"),
        ({"prompts": "zzz"}, UnknownComponentError, "no prompts 'zzz'. There are: templates."),
        ({"scorers": ["memory", "zzz"]}, UnknownComponentError, "no scorer 'zzz'. There are: memory, text-match."),
        ({"prompts": "faraway"}, UnknownComponentError, "Install it: pip install vlmad-faraway."),
        ({"scorers": "patches"}, UnknownComponentError, "no scorer 'patches'."),
        (
            {"backbone": {"use": "tiny", "config": {"sed": 1}}},
            ConfigError,
            "backbone.config.sed: no such option of 'tiny'. Did you mean 'seed'? Options: text, image_size, seed, ",
        ),
        (
            {"scorers": ["memory", {"use": "text-match", "config": {"temperature": 0}}]},
            ConfigError,
            "scorers.1.config.temperature: must be greater than 0, got 0.",
        ),
        (
            {"extractor": {"use": "patches", "config": {"layers": []}}},
            ConfigError,
            "extractor.config.layers: give numbers",
        ),
        ({"fusion": {}}, ConfigError, "fusion: no such option. Did you mean"),
    ],
)
def test_slip_costs_no_waiting(monkeypatch, change, error, text):
    unbuilt(monkeypatch)
    with pytest.raises(error) as caught:
        made({**WORDS, **change})
    assert text in str(caught.value)


def test_all_wrong_options_are_told_at_once(monkeypatch):
    unbuilt(monkeypatch)
    spec = {
        "backbone": {"use": "tiny", "config": {"depth": 0}},
        "extractor": {"use": "patches", "config": {"layer": [1]}},
        "prompts": {"use": "templates", "config": {"normal": []}},
        "scorers": [{"use": "memory", "config": {"top": 7}}],
    }
    with pytest.raises(ConfigError) as caught:
        made(spec)
    assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == [
        "backbone.config.depth",
        "extractor.config.layer",
        "prompts.config.normal",
        "scorers.0.config.top",
    ]


# -- parts that cannot work together


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"backbone": BLIND},
            ["prompts 'templates' need a backbone with text, and 'tiny' has none", "'open-clip'", "scorers='memory'"],
        ),
        (
            {"backbone": BLIND, "prompts": None},
            ["scorer 'text-match' on backbone 'tiny', extractor 'patches': compares with text, but the backbone has"],
        ),
        ({"prompts": None}, ["compares with text, but no prompts were given"]),
        (
            {"scorers": [{"use": "text-match", "config": {"levels": ["window*"]}}]},
            ["extractor 'patches': no level is called 'window*'; there are only: block3 (joint, 16)."],
        ),
        (
            {"scorers": [{"use": "memory", "config": {"levels": ["block*", "raw*"]}}], "prompts": None},
            ["scorer 'memory' on backbone 'tiny'", "no level is called 'raw*'"],
        ),
        (
            {"extractor": {"use": "patches", "config": {"space": "raw"}}},
            ["needs a level that can be compared with text, but there are only: raw3 (visual, 32)", "'memory'"],
        ),
        (
            {"extractor": {"use": "patches", "config": {"layers": [4]}}},
            ["extractor 'patches' on backbone 'tiny': layers [4] is beyond this tower; it has blocks 1 to 3"],
        ),
        ({"extractor": {"use": "patches", "config": {"layers": [0]}}}, ["layers [0] is beyond this tower"]),
        ({"extractor": {"use": "patches", "config": {"layers": [-4]}}}, ["layers [-4] is beyond this tower"]),
        (
            {"backbone": BLIND, "extractor": {"use": "patches", "config": {"space": "joint"}}, "prompts": None},
            ["space 'joint' needs a backbone whose image and text features share a space; use space 'raw'."],
        ),
    ],
)
def test_impossible_mix_is_refused_in_a_sentence(change, words):
    with pytest.raises(IncompatibleError) as caught:
        made({**WORDS, **change})
    text = str(caught.value)
    assert [word for word in words if word not in text] == []
    assert " :" not in text
    assert "\n" not in text


@pytest.mark.parametrize("layers", [[1, 2, 3], [-1], [-3, 3], [2, -2]])
def test_taps_within_the_tower_are_fine(layers):
    detector = made(WORDS, extractor={"use": "patches", "config": {"layers": layers}})
    wanted = sorted({layer % 4 if layer > 0 else layer + 4 for layer in layers})
    assert [level.name for level in detector.extractor.levels] == [f"block{layer}" for layer in wanted]


# -- a backbone without text


def test_optional_scorer_is_left_out_with_a_warning():
    with pytest.warns(UserWarning, match="backbone 'tiny' has no text, so scorer 'text-match' is left out") as caught:
        detector = made(OPTIONAL, backbone=BLIND)
    assert parts(detector) == ["Patches", "Memory"]
    assert [part.use for part in detector.spec.scorers] == ["memory"]
    assert detector.spec.prompts is None
    assert Path(caught[0].filename) == Path(__file__)


def test_optional_scorer_stays_where_there_is_text():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert parts(made(OPTIONAL)) == ["Patches", "Templates", "TextMatch", "Memory"]


def test_optional_scorer_that_is_alone_is_refused():
    spec = {**WORDS, "scorers": [{"use": "text-match", "optional": True}]}
    with pytest.raises(IncompatibleError, match="need a backbone with text"):
        made(spec, backbone=BLIND)


def test_scorer_that_is_not_optional_is_never_left_out():
    spec = {**OPTIONAL, "scorers": ["text-match", "memory"]}
    with pytest.raises(IncompatibleError, match="need a backbone with text"):
        made(spec, backbone=BLIND)


def test_optional_memory_stays_without_text():
    detector = made({**MEMORY, "scorers": [{"use": "memory", "optional": True}]}, backbone=BLIND)
    assert parts(detector) == ["Patches", "Memory"]


def test_prompts_nobody_asks_for_are_dropped_without_text():
    detector = made({**MEMORY, "prompts": "templates"}, backbone=BLIND)
    assert parts(detector) == ["Patches", "Memory"]
    assert detector.spec.prompts is None


def test_spec_that_was_cut_builds_again_without_a_warning():
    with pytest.warns(UserWarning, match="left out"):
        spec = made(OPTIONAL, backbone=BLIND).spec
    assert parts(made(spec)) == ["Patches", "Memory"]


# -- components whose own code fails


@pytest.fixture
def fake(monkeypatch):
    """A registry with one extractor whose constructor does what it is told."""

    def make(error: Exception) -> dict:
        def look(config: Config, backbone: object) -> None:
            raise error

        module = ModuleType("vlmad_test_parts")
        module.look = look
        monkeypatch.setitem(sys.modules, module.__name__, module)
        part = Component(name="look", target="vlmad_test_parts:look", summary="For tests.")
        return {"registry": memory_registry(backbones=[TINY], extractors=[part])}

    return make


def test_constructor_says_which_parts_met(fake):
    with pytest.raises(IncompatibleError, match=r"^extractor 'look' on backbone 'tiny': the grid is too small\.$"):
        build({**MEMORY, "extractor": "look"}, **fake(IncompatibleError("the grid is too small.")))


@pytest.mark.parametrize("error", [ConfigError, UnknownComponentError])
def test_constructor_says_where_its_options_are(fake, error):
    with pytest.raises(error, match=r"^extractor: no file x$"):
        build({**MEMORY, "extractor": "look"}, **fake(error("no file x")))


def test_bug_in_a_part_is_not_dressed_up(fake):
    with pytest.raises(ZeroDivisionError):
        build({**MEMORY, "extractor": "look"}, **fake(ZeroDivisionError()))


def test_part_that_cannot_be_imported_is_told_with_its_plugin():
    part = Component(name="lost", target="a_package_that_nobody_has:Look", summary="For tests.")
    with pytest.raises(UnknownComponentError, match="extractor 'in-memory:lost' cannot be imported from a_package_th"):
        build({**MEMORY, "extractor": "lost"}, registry=memory_registry(extractors=[part]))


def test_built_detector_runs():
    detector = made("words")
    with torch.no_grad():
        found = detector(torch.rand(2, 3, 32, 32), ["nut", "cable"])
    assert found.image.shape == (2,)
    assert found.anomaly_map.shape == (2, 32, 32)
