"""An executor is named on the command line; its options are checked before anything runs, and it is always ended."""

from __future__ import annotations

from concurrent.futures import Executor

import pytest
import typer

from vlmad_core.cli import executors
from vlmad_core.errors import ConfigError, UnknownComponentError
from vlmad_core.registry import registry as registries
from vlmad_core.registry.component import Component, Config
from vlmad_core.registry.registry import Entry, Registry

ENDED: list[str] = []


class Options(Config):
    name: str = "a"


class Here(Executor):
    def __init__(self, config):
        self.name = config.name

    def shutdown(self, wait=True, *, cancel_futures=False):
        ENDED.append(self.name)


@pytest.fixture(autouse=True)
def _registry(monkeypatch):
    ENDED.clear()
    targets = {"here": f"{__name__}:Here", "wrong": "builtins:str"}
    plugin = registries.Plugin(
        "vlmad-x",
        "1",
        "loaded",
        tuple(
            Entry("executor", Component(name=name, target=target, config=Options, summary="x"), "vlmad-x", "1")
            for name, target in targets.items()
        ),
        0.0,
    )
    monkeypatch.setattr(registries, "default_registry", lambda: Registry([plugin]))


def test_it_is_built_with_its_options_and_ended_whatever_happens():
    with pytest.raises(RuntimeError), executors.chosen_executor("here", ["name=b"]) as made:
        assert made.name == "b"
        raise RuntimeError
    assert ENDED == ["b"]


def test_nobody_named_is_none_and_options_alone_are_refused():
    with executors.chosen_executor(None, None) as made:
        assert made is None
    with pytest.raises(typer.BadParameter, match="name it with --executor"), executors.chosen_executor(None, ["a=1"]):
        pass


@pytest.mark.parametrize(
    ("name", "settings", "error", "text"),
    [
        ("nobody", [], UnknownComponentError, "nobody"),
        ("here", ["name"], typer.BadParameter, "wants NAME=VALUE, such as address=auto"),
        ("here", ["nome=b"], ConfigError, "nome"),
        ("wrong", [], ConfigError, "must make a subclass of Executor"),
    ],
)
def test_what_does_not_fit_is_refused(name, settings, error, text):
    with pytest.raises(error, match=text), executors.chosen_executor(name, settings):
        pass
