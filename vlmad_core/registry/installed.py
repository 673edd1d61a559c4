"""Which distributions say that they are plugins, told by their metadata alone. Nothing of theirs is imported here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata

from packaging.utils import canonicalize_name

from vlmad_core.version import __version__

__all__ = ["CORE", "GROUP", "Point", "check_range", "field", "points", "version"]

CORE = "vlmad-core"
GROUP = "vlmad"


@dataclass(frozen=True)
class Point:
    """One entry point of the group ``vlmad``.

    Args:
        plugin: Canonical name of its distribution.
        value: The module that it names.
        distribution: Its metadata.
    """

    plugin: str
    value: str
    distribution: metadata.Distribution

    @property
    def version(self) -> str:
        """Of the distribution."""
        return field(self.distribution, "Version")


def points() -> Iterator[Point]:
    """Every entry point of the group by name of its distribution, each once even where a path is searched twice."""
    found: dict[tuple[str, str], Point] = {}
    for point in metadata.entry_points(group=GROUP):
        name = canonicalize_name(field(point.dist, "Name") or point.name)
        if name != CORE and point.dist is not None:
            found.setdefault((name, point.name), Point(name, point.value, point.dist))
    return iter(sorted(found.values(), key=lambda point: point.plugin))


def check_range(distribution: metadata.Distribution | None) -> None:
    """Compare the range of vlmad-core that a distribution asks for with the one that runs.

    Raises:
        RuntimeError: They do not fit.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    running = version(CORE)
    for line in (distribution.requires if distribution else None) or ():
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        if canonicalize_name(requirement.name) != CORE or (requirement.marker and not requirement.marker.evaluate()):
            continue
        if not requirement.specifier.contains(running, prereleases=True):
            raise RuntimeError(f"needs {CORE}{requirement.specifier}, this is {running}; upgrade one of the two")


def field(distribution: metadata.Distribution | None, name: str) -> str:
    """A line of its METADATA, or nothing: an uninstall that was stopped leaves a distribution without."""
    try:
        return (distribution.metadata[name] if distribution else None) or ""
    except (KeyError, OSError, DeprecationWarning):
        return ""


def version(plugin: str) -> str:
    """Of an installed distribution; of the package itself where the core was not installed; else nothing."""
    try:
        return metadata.version(plugin)
    except metadata.PackageNotFoundError:
        return __version__ if plugin == CORE else ""
