"""Fake distributions for the tests of the registry."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from vlmad_core.registry.registry import Registry

BROKEN = Path(__file__).with_name("broken_plugins")


@pytest.fixture
def forget_fakes(monkeypatch):
    """Each test imports the fakes anew, and leaves nothing of them behind."""
    fakes = {path.stem for path in BROKEN.glob("*/*.py")}
    for name in ("VLMAD_PLUGINS", "VLMAD_DISABLE_PLUGINS", "VLMAD_TRACE", "VLMAD_WRONG_VERSION_IMPORTED"):
        monkeypatch.delenv(name, raising=False)
    yield
    for name in fakes & sys.modules.keys():
        del sys.modules[name]


@pytest.fixture
def install(monkeypatch, forget_fakes):
    """Put fake distributions where importlib.metadata finds them, and discover them in this process."""

    def run(*folders: str, env: dict[str, str] | None = None) -> Registry:
        for folder in folders:
            monkeypatch.syspath_prepend(str(BROKEN / folder))
        return Registry.discover(env or {})

    return run
