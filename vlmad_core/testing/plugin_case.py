"""A distribution as the subject of checks, apart from what it offers. Free of torch."""

from __future__ import annotations

from importlib import metadata

from packaging.utils import canonicalize_name

from vlmad_core.registry.registry import CORE, GROUP, Registry

__all__ = ["PluginCase"]


class PluginCase:
    """A distribution.

    Args:
        name: Of the distribution.
        registry: Where it was found.
    """

    def __init__(self, name: str, registry: Registry) -> None:
        self.name, self.registry = name, registry
        try:
            self.distribution: metadata.Distribution | None = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            self.distribution = None

    @property
    def modules(self) -> list[str]:
        """What its entry points name."""
        if self.name == CORE:
            return ["vlmad_core.builtin.plugin"]
        points = self.distribution.entry_points if self.distribution else ()
        return sorted({point.value for point in points if point.group == GROUP})

    @property
    def tags(self) -> frozenset[str]:
        """Whether it is installed."""
        installed = self.distribution is not None and canonicalize_name(self.name) == self.name
        return frozenset({"distribution"} if installed else ())
