"""Wrong parts, offered by a plugin in memory, and what the checks say of them."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from vlmad_core.registry import Component, Config
from vlmad_core.testing import memory_registry
from vlmad_core.testing.run import subjects

HOOKS = {"extractor": "extractors", "scorer": "scorers", "backbone": "backbones", "dataset": "datasets"}
SLOW = "memory_does_not_grow"


@pytest.fixture
def offered(monkeypatch):
    """The subject of a target's checks."""

    def offer(kind: str, target: Any, config: type[Config] = Config, root: Path | None = None):
        module = ModuleType("vlmad_wrong")
        module.Wrong = target
        monkeypatch.setitem(sys.modules, "vlmad_wrong", module)
        component = Component(name="wrong", target="vlmad_wrong:Wrong", config=config, summary="Wrong.")
        registry = memory_registry(**{HOOKS.get(kind, kind): [component]}, plugin="vlmad-wrong")
        return next(s for s in subjects("vlmad-wrong:wrong", registry=registry, root=root) if s.kind == kind)

    return offer


@pytest.fixture
def broken(offered):
    """What fails, by name of the check: of the one that should, or of all but the slow one."""

    def run(kind: str, target: Any, config: type[Config] = Config, meant: str = "", root: Path | None = None):
        subject = offered(kind, target, config, root)
        subject.checks = tuple(
            check for check in subject.checks if check.name == meant or (not meant and check.name != SLOW)
        )
        found = {outcome.check: outcome.message for outcome in subject.run() if outcome.status == "failed"}
        for message in found.values():
            assert message.endswith("."), message
            assert len(message.split()) > 6, message
        return found

    return run
