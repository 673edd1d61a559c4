"""The options that choose a detector are the same in every command, and complete each other."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import typer

from vlmad_core.cli.choice import Choice
from vlmad_core.cli.names import complete_setting
from vlmad_core.cli.options import parse_settings, parse_size

Vlmad = Callable[..., object]
COMMANDS = ["predict", "fit", "train", "import", "compose", "speed"]
SHARED = [
    *("--recipe", "--backbone", "--extractor", "--prompts", "--scorer", "--weights", "--model", "--image-size"),
    *("--device", "--set"),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_that_builds_a_detector_has_all_options(vlmad: Vlmad, command: str) -> None:
    text = vlmad(command, "--help").out
    assert [option for option in SHARED if option not in text] == []
    assert "auto" in text


@pytest.mark.parametrize("command", [[], *([one] for one in [*COMMANDS, "show", "list", "check"]), ["data", "check"]])
def test_help_fits_80_columns_and_says_nothing_of_the_type_of_a_flag(
    vlmad: Vlmad, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = vlmad(*command, "--help").out
    assert "<bool>" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_image_size_and_device_reach_the_backbone(vlmad: Vlmad, pictures: Path, tmp_path: Path) -> None:
    arguments = ["predict", pictures, "-r", "words", "-c", "nut", "--quiet", "-o", tmp_path / "out"]
    assert vlmad(*arguments, "--image-size", "16x24", "--device", "cpu").code == 0
    settings = json.loads((tmp_path / "out" / "run.json").read_text())["settings"]
    assert settings["spec"]["backbone"]["config"] == {"image_size": [16, 24]}
    assert "--model" in vlmad("compose", "--help").out
    seen = vlmad("predict", pictures, "-r", "words", "-c", "nut", "--model", "ViT-L-14")
    assert "backbone.config.model: no such option of 'tiny'" in seen.err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_device_that_is_not_there_is_refused_in_a_sentence(vlmad: Vlmad, pictures: Path) -> None:
    seen = vlmad("predict", pictures, "-r", "words", "-c", "nut", "--device", "cuda")
    assert seen.code == 1
    assert "device 'cuda' is not there" in seen.err


@pytest.mark.parametrize(("text", "size"), [("518", 518), ("448x672", (448, 672)), ("448X672", (448, 672))])
def test_sizes(text: str, size: object) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "x", "0", "12x", "1x2x3", "-3", "1.5", "9" * 5000, "big"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="--image-size wants"):
        parse_size(text)


@pytest.mark.parametrize("value", ["[1", "&a [*a]", "[" * 1500, "2024-99-99", "!!python/name:os.system"])
def test_values_that_are_no_yaml(value: str) -> None:
    with pytest.raises(typer.BadParameter, match="--set a"):
        parse_settings([f"a={value}"])


def test_paths_of_settings_are_completed(vlmad: Vlmad) -> None:
    vlmad("list")  # so that the plugins of this test are known
    typed = SimpleNamespace(params={"recipe": "words"})
    found = dict(complete_setting(typed, "scorers.0.config.te"))
    assert list(found) == ["scorers.0.config.temperature="]
    assert "softmax" in found["scorers.0.config.temperature="]
    assert "output.smooth=" in dict(complete_setting(typed, ""))
    assert "prompts.config.normal=" in dict(complete_setting(typed, "prompts"))
    assert dict(complete_setting(SimpleNamespace(params={"recipe": "remember"}), "prompts")) == {}
    assert complete_setting(SimpleNamespace(params={"recipe": "nobody-has-it"}), "") == []


def test_words_of_a_choice_choose_the_same_again() -> None:
    choice = Choice(recipe="words", backbone="tiny", scorers=["memory"], image_size="16x24", settings=["a.b=1"])
    assert choice.words() == [
        *("--recipe", "words", "--backbone", "tiny", "--image-size", "16x24", "--scorer", "memory", "--set", "a.b=1"),
    ]
