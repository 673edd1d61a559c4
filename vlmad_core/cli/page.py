"""The page of ``vlmad report``, for commands that write one where that distribution is installed."""

from __future__ import annotations

from collections.abc import Callable

from vlmad_core.errors import ConfigError
from vlmad_core.registry.registry import default_registry

__all__ = ["page_command"]


def page_command() -> Callable[..., None]:
    """`vlmad report` as a function of a folder of results.

    Raises:
        ConfigError: The distribution is not installed, or is left out.
    """
    registry = default_registry()
    if not any(entry.name == "report" for entry in registry.entries("command")):
        left_out = any(plugin.name == "vlmad-report" for plugin in registry.plugins)
        what = "is left out by VLMAD_PLUGINS or VLMAD_DISABLE_PLUGINS" if left_out else "is not installed"
        raise ConfigError(
            f"--report needs vlmad-report, which {what}" + ("." if left_out else ": pip install vlmad-report")
        )
    command: Callable[..., None] = registry.get("command", "report").load()
    return command
