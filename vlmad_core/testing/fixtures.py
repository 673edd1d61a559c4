"""Fixtures that pytest finds by itself where vlmad-core is installed (entry point ``pytest11``).

Nothing is imported until a test asks for one of them, so that other people's tests do not wait for torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from vlmad_core.contracts.towers import Backbone
    from vlmad_core.registry.registry import Registry

__all__ = ["vlmad_backbone", "vlmad_registry"]


@pytest.fixture
def vlmad_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """A registry in memory, with the built-ins and the backbone ``tiny``; installed plugins are not looked at.

    While the test runs it is what :func:`vlmad_core.registry.default_registry` gives. Add to it with
    ``vlmad_registry.add(module, "vlmad-mine")``.
    """
    from vlmad_core.registry.registry import Registry, default_registry
    from vlmad_core.testing.registry import memory_registry

    registry = memory_registry()
    default_registry.cache_clear()
    monkeypatch.setattr(Registry, "discover", classmethod(lambda cls, env=None: registry))
    yield registry
    default_registry.cache_clear()


@pytest.fixture
def vlmad_backbone() -> Backbone:
    """The tiny backbone: random weights, and every law of the contracts."""
    from vlmad_core.testing.tiny import tiny_backbone

    return tiny_backbone()
