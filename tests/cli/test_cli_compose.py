"""`vlmad compose`, recipes as files, and `vlmad show --diagram`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

import vlmad_core
from vlmad_core.errors import ConfigError
from vlmad_core.pipeline import diagram
from vlmad_core.pipeline.compose import compose
from vlmad_core.pipeline.recipes import recipe_text
from vlmad_core.testing import memory_registry, tiny_backbone

Vlmad = Callable[..., object]


# -- what fits with what


def test_every_mix_is_told_with_the_reason_where_it_is_refused(vlmad: Vlmad) -> None:
    mixes = json.loads(vlmad("compose", "--json").out)
    message = {(m["backbone"], m["scorer"]): (m["fits"], m["reason"]) for m in mixes if m["extractor"] == "patches"}
    assert message["with text", "text-match"] == (True, "")
    assert message["without text", "memory"] == (True, "")
    fits, reason = message["without text", "text-match"]
    assert not fits
    assert "need a backbone with text" in reason


def test_mixes_that_the_table_calls_fitting_are_those_that_build(vlmad: Vlmad) -> None:
    registry, backbone = memory_registry(), tiny_backbone(text=False)
    for mix in compose({"tiny": backbone}, registry):
        spec = {"backbone": "tiny", "extractor": mix.extractor, "prompts": mix.prompts, "scorers": mix.scorer}
        try:
            vlmad_core.build(spec, backbone=backbone, registry=registry)
            built = True
        except vlmad_core.errors.IncompatibleError:
            built = False
        assert built == (mix.reason == "")


def test_table_has_a_tick_or_a_numbered_reason_in_each_place(vlmad: Vlmad) -> None:
    seen = vlmad("compose").out
    with_text, without = seen.split("backbone without text")
    assert [line.split()[1:] for line in with_text.splitlines() if line.startswith("patches")] == [["✓", "✓"]]
    assert [line.split()[1:] for line in without.splitlines() if line.startswith("patches")] == [["✓", "1"]]
    assert "\n1  prompts 'templates' need a backbone with text" in without
    assert "text-match with prompts: templates" in with_text


def test_named_backbone_is_built_with_its_own_sizes(vlmad: Vlmad) -> None:
    mixes = json.loads(vlmad("compose", "--backbone", "tiny", "--json").out)
    assert {mix["backbone"] for mix in mixes} == {"tiny"}
    assert all(mix["fits"] for mix in mixes)


def test_mixes_of_a_part_that_cannot_be_imported_are_told_and_not_raised() -> None:
    lost = vlmad_core.registry.Component(name="lost", target="nowhere.at_all:Lost", summary="Lost.")
    registry = memory_registry(scorers=[lost], extractors=[lost])
    mixes = list(compose({"tiny": tiny_backbone()}, registry))
    reasons = {(mix.extractor, mix.scorer): mix.reason for mix in mixes}
    assert "cannot be imported from nowhere.at_all:Lost" in reasons["patches", "lost"]
    assert "cannot be imported from nowhere.at_all:Lost" in reasons["lost", "memory"]
    assert reasons["patches", "memory"] == ""


# -- one choice


def test_one_choice_says_how_to_build_it(vlmad: Vlmad) -> None:
    seen = vlmad(
        "compose", "--recipe", "words", "--scorer", "memory", "--scorer", "text-match", "--set", "output.smooth=2"
    )
    assert seen.code == 0, seen.err
    assert "It fits." in seen.out
    command = (
        "vlmad predict IMAGES --recipe words --scorer memory --scorer text-match --set output.smooth=2 --normal NORMAL"
    )
    assert command in seen.out
    python = "vlmad_core.build('words', scorers=['memory', 'text-match'], overrides={'output.smooth': 2})"
    assert python in seen.out
    assert eval(python).fuse.smooth == 2


def test_one_choice_that_does_not_fit_is_refused_in_a_sentence(vlmad: Vlmad) -> None:
    seen = vlmad("compose", "--recipe", "words", "--set", 'scorers.0.config.levels=["window*"]')
    assert seen.code == 1
    assert "no level is called 'window*'; there are only: block3 (joint, 16)" in seen.err
    seen = vlmad("compose", "--recipe", "words", "--extractor", "pathces")
    assert seen.code == 1
    assert "Did you mean 'patches'?" in seen.err


def test_choice_is_saved_shared_and_built_again(vlmad: Vlmad, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    seen = vlmad("compose", "--recipe", "words", "--set", "output.smooth=3", "--save", file, "--json")
    message = json.loads(seen.out)
    assert f"saved {file}" in seen.err
    assert message["command"] == f"vlmad predict IMAGES --recipe {file}"
    saved = yaml.safe_load(file.read_text())
    assert saved["needs"] == {"vlmad-core": ">=0.1,<0.2", "vlmad-tinytest": ">=0.1,<0.2"}
    assert next(iter(saved)) == "needs"
    built = vlmad_core.build(file)
    assert built.spec.model_dump(mode="json") == message["spec"]
    assert built.fuse.smooth == 3
    assert vlmad("compose", "--recipe", file).code == 0


def test_python_saves_the_same(vlmad: Vlmad, tmp_path: Path) -> None:
    built = vlmad_core.build("words", scorers="memory", prompts=None)
    path = vlmad_core.save_recipe(built, tmp_path / "new" / "mine.yaml")
    assert path.read_text() == recipe_text(built.spec, built.plugins)
    assert vlmad_core.build(path).spec == built.spec


def test_recipe_is_saved_as_yaml_or_refused(vlmad: Vlmad, tmp_path: Path) -> None:
    built = vlmad_core.build("words")
    with pytest.raises(ConfigError, match=r"let its name end in \.yaml\."):
        vlmad_core.save_recipe(built, tmp_path / "mine.json")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        vlmad_core.save_recipe(built, tmp_path / "file" / "mine.yaml")
    built.spec = None
    with pytest.raises(ConfigError, match="put together by hand"):
        vlmad_core.save_recipe(built, tmp_path / "mine.yaml")


@pytest.mark.parametrize(
    ("needs", "words"),
    [
        (
            "{vlmad-far: '>=0.1,<0.2'}",
            "needs plugin vlmad-far>=0.1,<0.2. Install it: pip install 'vlmad-far>=0.1,<0.2'.",
        ),
        ("{vlmad-far: }", "needs plugin vlmad-far. Install it: pip install 'vlmad-far'."),
        ("{vlmad-tinytest: '>=7'}", "needs vlmad-tinytest>=7, this is 0.1.0. Try: pip install 'vlmad-tinytest>=7'."),
        ("{vlmad-tinytest: seven}", "needs.vlmad-tinytest: must be versions such as '>=0.1,<0.2', got 'seven'."),
        ("[vlmad-far]", "needs: must be a mapping of plugins to versions"),
    ],
)
def test_recipe_whose_plugins_are_not_there_is_refused(vlmad: Vlmad, tmp_path: Path, needs: str, words: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"needs: {needs}\nbackbone: tiny\nextractor: patches\nscorers: memory\n")
    seen = vlmad("compose", "--recipe", file)
    assert seen.code == 1
    assert f"{file}: {words}" in " ".join(seen.err.split())


# -- the drawing


def test_diagram_has_the_real_shapes(vlmad: Vlmad) -> None:
    seen = vlmad("show", "words", "--diagram")
    assert seen.code == 0, seen.err
    assert seen.out.startswith("flowchart LR\n")
    for words in (
        "[B, 3, 32, 32]",
        "1 + 4 x 4 tokens of width 32",
        "block3 [B, 16, 16] joint",
        "raw3 [B, 16, 32] visual",
    ):
        assert words in seen.out
    assert "<b>prompts templates</b><br>[B, 2, 16]<br>1 normal, 1 abnormal" in seen.out
    assert "-->|block3| " in seen.out


def test_diagram_of_a_memory_leaves_it_as_it_was(vlmad: Vlmad) -> None:
    fresh, fitted = vlmad_core.build("remember"), vlmad_core.build("remember")
    fitted.fit([np.zeros((32, 32, 3), np.uint8)])
    before = {name: tensor.clone() for name, tensor in fitted.state_dict().items()}
    flows = [diagram.flow_of(fresh), diagram.flow_of(fitted)]
    assert flows[0] == flows[1]
    assert not fresh.scorers[0].is_fitted
    assert all(
        (tensor == before[name]).all() for name, tensor in fitted.state_dict().items() if tensor.isfinite().all()
    )
    assert "class names" not in {box.title for box in flows[0].boxes}


def test_diagram_is_written_where_it_is_asked_for(vlmad: Vlmad, tmp_path: Path) -> None:
    file = tmp_path / "words.md"
    assert vlmad("show", "words", "--diagram", "--out", file).out == ""
    assert file.read_text() == vlmad("show", "words", "--diagram").out
    assert vlmad("show", "words", "--out", file).code == 2


def test_diagram_of_a_saved_recipe(vlmad: Vlmad, tmp_path: Path) -> None:
    file = vlmad_core.save_recipe(vlmad_core.build("remember"), tmp_path / "mine.yaml")
    assert "scorer memory" in vlmad("show", file, "--diagram").out
    seen = vlmad("show", file)
    assert seen.code == 1
    assert f"is a file. `vlmad compose --recipe {file}` builds and explains it." in " ".join(seen.err.split())
