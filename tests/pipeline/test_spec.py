"""A pipeline as a file: each slip is told with its path, what was given and what would do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import Field, field_validator

from vlmad_core.builtin.plugin import MemoryConfig, PatchesConfig, TemplatesConfig, TextMatchConfig
from vlmad_core.errors import ConfigError, did_you_mean
from vlmad_core.pipeline.spec import PipelineSpec, override, read_spec
from vlmad_core.registry import Config
from vlmad_core.registry.validate import validate

BASE = {"backbone": "tiny", "extractor": "patches", "scorers": ["memory"]}


def refused(model, data, *where: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        validate(model, data, *where)
    return str(caught.value).splitlines()


# -- a whole pipeline


def test_defaults_and_bare_names():
    spec = validate(PipelineSpec, BASE)
    assert (spec.backbone.use, spec.backbone.config) == ("tiny", {})
    assert spec.prompts is None
    assert [(part.use, part.optional) for part in spec.scorers] == [("memory", False)]
    assert (spec.fuse.image, spec.fuse.map, spec.output.smooth) == ("mean", "mean", 0)


@pytest.mark.parametrize("scorers", ["memory", {"use": "memory"}, ["memory"], ({"use": "memory"},)])
def test_one_scorer_needs_no_list(scorers):
    assert [part.use for part in validate(PipelineSpec, {**BASE, "scorers": scorers}).scorers] == ["memory"]


def test_spec_survives_json():
    spec = validate(PipelineSpec, {**BASE, "prompts": {"use": "templates", "config": {"normal": ["a {}"]}}})
    assert validate(PipelineSpec, json.loads(spec.model_dump_json())) == spec


WRONG = {
    "unknown field": ({"outptu": {}}, "outptu: no such option. Did you mean 'output'? Options: backbone, extractor, "),
    "unknown field of a part": (
        {"backbone": {"use": "tiny", "confg": {}}},
        "backbone.confg: no such option. Did you mean 'config'? Options: use, config.",
    ),
    "unknown field of optional prompts": (
        {"prompts": {"use": "templates", "usee": 1}},
        "prompts.usee: no such option. Did you mean 'use'? Options: use, config.",
    ),
    "unknown field of a scorer in a list": (
        {"scorers": ["memory", {"use": "text-match", "optionall": True}]},
        "scorers.1.optionall: no such option. Did you mean 'optional'? Options: use, config, optional.",
    ),
    "unknown field of fuse": (
        {"fuse": {"imge": "mean"}},
        "fuse.imge: no such option. Did you mean 'image'? Options: image, map, scales.",
    ),
    "unknown field nothing like the others": ({"zzz": 1}, "zzz: no such option. Options: backbone, extractor, "),
    "choice": (
        {"fuse": {"image": "men"}},
        "fuse.image: must be 'mean', 'sum', 'harmonic', 'geometric' or 'max', got 'men'.",
    ),
    "range": ({"output": {"smooth": -1}}, "output.smooth: must be greater than or equal to 0, got -1."),
    "number": ({"output": {"smooth": "soft"}}, "output.smooth: must be a valid number"),
    "no name": ({"extractor": {"config": {}}}, "extractor.use: is missing."),
    "not a part": ({"extractor": 3}, "extractor: must be a mapping, got 3."),
    "no part": ({"backbone": None}, "backbone: must be a mapping, got None."),
    "options that are no mapping": ({"backbone": {"use": "a", "config": [1]}}, "backbone.config: must be a mapping, "),
    "fuse as a word": ({"fuse": "mean"}, "fuse: must be a mapping, got 'mean'."),
    "no scorers": ({"scorers": []}, "scorers: must have at least 1 item, got []."),
    "scorers as a number": ({"scorers": 3}, "scorers: must be a list, got 3."),
    "a scorer as a number": ({"scorers": ["memory", 3]}, "scorers.1: must be a mapping, got 3."),
}


@pytest.mark.parametrize("case", WRONG)
def test_slip_is_told_with_its_path(case):
    change, text = WRONG[case]
    (line,) = refused(PipelineSpec, {**BASE, **change})
    assert line.startswith(text)


def test_missing_fields_are_told_together():
    assert refused(PipelineSpec, {}) == ["backbone: is missing.", "extractor: is missing.", "scorers: is missing."]


@pytest.mark.parametrize("data", [None, 3, "winclip", [BASE]])
def test_spec_that_is_no_mapping(data):
    assert refused(PipelineSpec, data) == [f"pipeline: must be a mapping, got {data!r}."]


# -- options of a component


class Inner(Config):
    depth: int = Field(1, gt=0, description="How deep.")


class Outer(Config):
    inner: Inner = Field(default_factory=Inner, description="One.")
    many: tuple[Inner, ...] = Field((), description="Several.")
    perhaps: Inner | None = Field(None, description="One or none.")
    word: str = Field("a", description="Checked by hand.")

    @field_validator("word")
    @classmethod
    def _short(cls, word: str) -> str:
        if len(word) > 3:
            raise ValueError("Words must be short")
        return word


OPTIONS = [
    (PatchesConfig, {"zzz": 1}, "no such option of 'x'. Options: layers, space, raw_layers, norm."),
    (
        PatchesConfig,
        {"layer": [1]},
        "no such option of 'x'. Did you mean 'layers'? Options: layers, space, raw_layers, norm.",
    ),
    (PatchesConfig, {"layers": []}, "layers: give numbers of blocks such as [6, 12], 'quarters', or a range"),
    (
        PatchesConfig,
        {"layers": [1.5]},
        "or a range such as '50%-75%', got [1.5].",
    ),
    (PatchesConfig, {"layers": 3}, "or a range such as '50%-75%', got 3."),
    (PatchesConfig, {"space": "jonit"}, "space: must be 'auto', 'joint', 'raw' or 'both', got 'jonit'."),
    (TextMatchConfig, {"temperature": 0}, "temperature: must be greater than 0, got 0."),
    (TextMatchConfig, {"temperature": -1.5}, "temperature: must be greater than 0, got -1.5."),
    (TextMatchConfig, {"levels": "window*"}, "levels: must be a list, got 'window*'."),
    (MemoryConfig, {"top": 2}, "top: must be less than or equal to 1, got 2."),
    (MemoryConfig, {"regions": "geometric"}, "regions: must be 'harmonic' or 'arithmetic', got 'geometric'."),
    (TemplatesConfig, {"normal": ["a {x}"]}, "normal: the only placeholder is {}, the class name; found another in "),
    (TemplatesConfig, {"abnormal": ["{0}"]}, "abnormal: the only placeholder is {}, the class name; found another"),
    (TemplatesConfig, {"normal": ["{}"]}, "normal: a sentence needs text beside the placeholder"),
    (TemplatesConfig, {"normal": []}, "normal: must have at least 1 item, got []."),
    (Config, {"a": 1}, "a: no such option of 'x'. Options: none."),
    (Outer, {"inner": {"dept": 1}}, "inner.dept: no such option of 'x'. Did you mean 'depth'? Options: depth."),
    (Outer, {"many": [{}, {"dept": 1}]}, "many.1.dept: no such option of 'x'. Did you mean 'depth'? Options: depth."),
    (Outer, {"perhaps": {"dept": 1}}, "perhaps.dept: no such option of 'x'. Did you mean 'depth'? Options: depth."),
    (Outer, {"many": [{"depth": 0}]}, "many.0.depth: must be greater than 0, got 0."),
    (Outer, {"word": "long word"}, "word: words must be short, got 'long word'."),
]


@pytest.mark.parametrize(("model", "data", "text"), OPTIONS)
def test_option_is_told_with_where_and_whose(model, data, text):
    (line,) = refused(model, data, "scorers.0.config", "x")
    assert line.startswith("scorers.0.config.")
    assert text in line


def test_several_slips_are_several_lines():
    assert refused(TextMatchConfig, {"temperature": 0, "temprature": 1}, "scorers.2.config", "text-match") == [
        "scorers.2.config.temperature: must be greater than 0, got 0.",
        "scorers.2.config.temprature: no such option of 'text-match'. Did you mean 'temperature'? "
        "Options: temperature, levels, regions, upsample, align_corners, combine, image, top.",
    ]


def test_same_line_is_told_once():
    class Either(Config):
        value: int | tuple[int, ...] = 0

    assert len(set(refused(Either, {"value": "x"}))) == len(refused(Either, {"value": "x"}))


def test_config_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        TextMatchConfig().temperature = 1


@pytest.mark.parametrize("model", [PatchesConfig, TemplatesConfig, TextMatchConfig, MemoryConfig, PipelineSpec])
def test_every_option_is_described(model):
    assert [name for name, field in model.model_fields.items() if not field.description] == []


# -- overrides


@pytest.mark.parametrize(
    ("spec", "changes", "wanted"),
    [
        ({}, {"output.smooth": 4}, {"output": {"smooth": 4}}),
        ({"extractor": "a"}, {"extractor": "b"}, {"extractor": "b"}),
        ({"extractor": "a"}, {"extractor.use": "b"}, {"extractor": {"use": "b"}}),
        ({"extractor": "a"}, {"extractor.config.x": 1}, {"extractor": {"use": "a", "config": {"x": 1}}}),
        (
            {"extractor": {"use": "a"}},
            {"extractor.config.x.y": 1},
            {"extractor": {"use": "a", "config": {"x": {"y": 1}}}},
        ),
        ({"scorers": ["a", "b"]}, {"scorers.1": "c"}, {"scorers": ["a", "c"]}),
        ({"scorers": ["a", "b"]}, {"scorers.1.config.x": 1}, {"scorers": ["a", {"use": "b", "config": {"x": 1}}]}),
        ({"scorers": ("a",)}, {"scorers.0.optional": True}, {"scorers": [{"use": "a", "optional": True}]}),
        ({"scorers": "a"}, {"scorers.0.config.x": 1}, {"scorers": [{"use": "a", "config": {"x": 1}}]}),
        ({"scorers": {"use": "a"}}, {"scorers.0.config.x": 1}, {"scorers": [{"use": "a", "config": {"x": 1}}]}),
        ({}, {"scorers": "a", "scorers.0.config.x": 1}, {"scorers": [{"use": "a", "config": {"x": 1}}]}),
        ({}, {"scorers": ("a",), "scorers.0.config.x": 1}, {"scorers": [{"use": "a", "config": {"x": 1}}]}),
        ({"prompts": "a"}, {"prompts": None}, {"prompts": None}),
        ({}, {"backbone.config.weights": Path("w")}, {"backbone": {"config": {"weights": Path("w")}}}),
        ({"backbone": {"config": {"w": Path("w")}}}, {}, {"backbone": {"config": {"w": Path("w")}}}),
    ],
)
def test_override_puts_values_at_paths(spec, changes, wanted):
    assert override(spec, changes) == wanted


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("scorers.2.config.x", r"scorers\.2\.config\.x: '2' must be a number from 0 to 1, the place in the list\."),
        ("scorers.memory.config.x", r"'memory' must be a number from 0 to 1"),
        ("scorers.-1", r"'-1' must be a number from 0 to 1"),
        ("scorers.2", r"'2' must be a number from 0 to 1"),
        ("output.smooth.x", r"output\.smooth\.x: 'smooth' is 4, so nothing can be set inside it\."),
        ("prompts.config.x", r"nothing can be set inside it\. There are no prompts here: leave the option out\."),
        ("extractor.use.x", r"'use' is 'a', so nothing can be set inside it\."),
    ],
)
def test_override_refuses_paths_that_lead_nowhere(path, text):
    spec = {"extractor": {"use": "a"}, "scorers": ["a", "b"], "output": {"smooth": 4}, "prompts": None}
    with pytest.raises(ConfigError, match=text):
        override(spec, {path: 1})


def test_override_changes_neither_spec_nor_values():
    spec, scorers = {"extractor": {"use": "a", "config": {"x": [1]}}}, [{"use": "a"}]
    result = override(spec, {"scorers": scorers, "scorers.0.config.x": 1, "extractor.config.x": 2})
    assert result["scorers"] == [{"use": "a", "config": {"x": 1}}]
    assert spec == {"extractor": {"use": "a", "config": {"x": [1]}}}
    assert scorers == [{"use": "a"}]
    override({"scorers": ["b"]}, {"scorers.0": scorers[0], "scorers.0.config.x": 1})
    assert scorers == [{"use": "a"}]


# -- files


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.yaml", "backbone: tiny\nextractor: {use: patches}\nscorers:\n  - memory\n"),
        ("a.json", '{"backbone": "tiny", "extractor": {"use": "patches"}, "scorers": ["memory"]}'),
    ],
)
def test_yaml_and_json(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    assert validate(PipelineSpec, read_spec(path)) == validate(PipelineSpec, BASE)
    assert read_spec(str(path)) == read_spec(path)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"a: [1", "is neither YAML nor JSON: "),
        (b"\xff\xfe\x00", "is neither YAML nor JSON: "),
        (b"!!python/object/apply:os.system ['true']", "is neither YAML nor JSON: "),
        (b"", "must hold a mapping with backbone, extractor and scorers."),
        (b"- a\n- b\n", "must hold a mapping with backbone, extractor and scorers."),
        (b"winclip", "must hold a mapping with backbone, extractor and scorers."),
    ],
)
def test_file_that_says_nothing_usable(tmp_path, content, text):
    path = tmp_path / "a.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_spec(path)
    assert str(caught.value).startswith(f"{path}: {text}")
    assert "\n" not in str(caught.value)


def test_file_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read \(No such file or directory\)\."):
        read_spec(tmp_path / "nowhere.yaml")
    with pytest.raises(ConfigError, match=r"is not a regular file, so it is not read\."):
        read_spec(tmp_path)


# -- hints


@pytest.mark.parametrize(
    ("given", "known", "hint"),
    [
        ("scale", ["scales", "chunk"], " Did you mean 'scales'?"),
        ("widnows", ["windows", "patches"], " Did you mean 'windows'?"),
        ("zzz", ["windows"], ""),
        ("a", [], ""),
    ],
)
def test_hint_names_the_nearest_word_or_none(given, known, hint):
    assert did_you_mean(given, iter(known)) == hint
