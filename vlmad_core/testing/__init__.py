"""For authors of plugins: a backbone of random weights, a registry in memory, and the checks of every contract.

Names are resolved on first use: pytest imports this package in every run, for its fixtures, and must not wait.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlmad_core.testing.registry import TINY as TINY
    from vlmad_core.testing.registry import TinyConfig as TinyConfig
    from vlmad_core.testing.registry import memory_registry as memory_registry
    from vlmad_core.testing.rules import CheckFailed as CheckFailed
    from vlmad_core.testing.rules import CheckSkipped as CheckSkipped
    from vlmad_core.testing.run import Outcome as Outcome
    from vlmad_core.testing.run import Report as Report
    from vlmad_core.testing.run import check_component as check_component
    from vlmad_core.testing.run import parametrize_checks as parametrize_checks
    from vlmad_core.testing.tiny import tiny_backbone as tiny_backbone

_HOMES = {
    "rules": ("CheckFailed", "CheckSkipped"),
    "registry": ("TINY", "TinyConfig", "memory_registry"),
    "run": ("Outcome", "Report", "check_component", "parametrize_checks"),
    "tiny": ("tiny_backbone",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "TINY",
    "CheckFailed",
    "CheckSkipped",
    "Outcome",
    "Report",
    "TinyConfig",
    "check_component",
    "memory_registry",
    "parametrize_checks",
    "tiny_backbone",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'vlmad_core.testing' has no attribute '{name}'")
    value = getattr(import_module(f"vlmad_core.testing.{_HOME[name]}"), name)
    globals()[name] = value
    return value
