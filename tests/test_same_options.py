"""Options that mean the same in every command: which command has which, from one table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import typer

from vlmad_core.cli.__main__ import app

MODEL = frozenset({"--model", "--weights", "--image-size", "--device"})
VALUES = frozenset({"--bits", "--window", "--channels"})
READS = VALUES | {"--workers"}
COMPUTES = MODEL | READS | {"--batch-size", "--threads"}
TABLE = {
    "predict": COMPUTES,
    "fit": COMPUTES,
    "calibrate": COMPUTES,
    "train": COMPUTES,
    "benchmark": COMPUTES,
    "speed": COMPUTES,
    "study": COMPUTES,
    "import": MODEL | VALUES,
    "compose": MODEL,
    "data check": READS,
    **dict.fromkeys(
        ("compare", "list", "show", "data list", "data show", "plugins", "check", "new-plugin", "doctor", "report"),
        frozenset(),
    ),
}
"""Commands to the options of :data:`COMPUTES` that they have."""
SEVERAL = {"benchmark": {"--image-size"}, "speed": {"--batch-size"}}


def commands(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    context = typer.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if hasattr(command, "list_commands"):
            yield from commands(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


@pytest.fixture(scope="module")
def options() -> dict[str, dict[str, Any]]:
    """Every command to its options, by their long name."""
    found = commands(typer.main.get_command(app))
    return {name: {text: one for one in command.params for text in one.opts} for name, command in found}


@pytest.mark.parametrize("command", TABLE)
def test_a_command_has_the_shared_options_of_its_work(command: str, options: dict[str, dict[str, Any]]) -> None:
    if command in ("study", "report"):
        pytest.importorskip(f"vlmad_{command}")
    assert COMPUTES & options[command].keys() == TABLE[command]


def test_a_command_with_a_choice_of_model_has_all_of_that_choice(options: dict[str, dict[str, Any]]) -> None:
    partly = {name: sorted(MODEL - own.keys()) for name, own in options.items() if own.keys() & (MODEL - {"--device"})}
    assert {name: lacking for name, lacking in partly.items() if lacking} == {}


def test_a_command_that_takes_bits_takes_a_window_and_channels_too(options: dict[str, dict[str, Any]]) -> None:
    partly = {name: sorted(VALUES - own.keys()) for name, own in options.items() if own.keys() & VALUES}
    assert {"benchmark", "data check", "predict"} <= partly.keys()
    assert {name: lacking for name, lacking in partly.items() if lacking} == {}


def test_a_shared_option_is_of_one_kind_everywhere(options: dict[str, dict[str, Any]]) -> None:
    """Except where several are compared."""
    kinds: dict[str, set[str]] = {}
    for command, own in options.items():
        for name in COMPUTES & own.keys() - SEVERAL.get(command, set()):
            one = own[name]
            kind = one.type_descriptor.annotation.__name__, getattr(one, "min", None), getattr(one, "max", None)
            kinds.setdefault(name, set()).add(f"{kind} {one.metavar}")
    assert {name: found for name, found in kinds.items() if len(found) > 1} == {}
