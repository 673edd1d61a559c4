"""Which distributions are plugins, by their metadata alone. Nothing of theirs is imported here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name

from vlmad_core.version import __version__

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

__all__ = ["CORE", "GROUP", "Point", "check_range", "compatible_range", "field", "is_version", "points", "version"]

CORE = "vlmad-core"
GROUP = "vlmad"
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
_PLAIN = re.compile(r"([A-Za-z0-9][\w.-]*)((?:\s*,?\s*[<>=!~]=?\s*[\w.*+!-]+)*)")


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
    running = version(CORE)
    for line in _requires(distribution):
        wanted = _range_of_core(line)
        if wanted is not None and not wanted.contains(running, prereleases=True):
            raise RuntimeError(f"needs {CORE}{wanted}, this is {running}; upgrade one of the two")


def _requires(distribution: metadata.Distribution | None) -> Sequence[str]:
    if distribution is None:
        return ()
    return _metadata(distribution).get_all("Requires-Dist") or distribution.requires or ()


def _range_of_core(line: str) -> SpecifierSet | None:
    """The versions of the core that a requirement asks for; None where it is of something else, or does not apply."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    name = _NAME.match(line)
    if name is not None and canonicalize_name(name[0]) != CORE:
        return None
    plain = _PLAIN.fullmatch(line)
    if plain is not None:  # the usual form, without the parser of all forms, which takes long to import
        try:
            return SpecifierSet(plain[2])
        except InvalidSpecifier:  # of no known form, so it asks for nothing
            return None
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        requirement = Requirement(line)
    except InvalidRequirement:
        return None
    applies = requirement.marker is None or requirement.marker.evaluate()
    return requirement.specifier if applies and canonicalize_name(requirement.name) == CORE else None


@cache
def _metadata(distribution: metadata.Distribution) -> Any:
    """Its METADATA; :mod:`importlib.metadata` parses the file each time that it is asked."""
    return distribution.metadata


def field(distribution: metadata.Distribution | None, name: str) -> str:
    """A line of its METADATA, or nothing: an uninstall that was stopped leaves a distribution without."""
    try:
        return (_metadata(distribution)[name] if distribution else None) or ""
    except (KeyError, OSError, DeprecationWarning):
        return ""


@cache
def version(plugin: str) -> str:
    """Of an installed distribution; of the package itself where the core was not installed; else nothing."""
    try:
        return metadata.version(plugin)
    except metadata.PackageNotFoundError:
        return __version__ if plugin == CORE else ""


def is_version(text: str) -> bool:
    """Whether it can be compared with a range; some distributions have a version of no known form, or none."""
    from packaging.version import InvalidVersion, Version

    try:
        Version(text)
    except InvalidVersion:
        return False
    return True


def compatible_range(version: str, *, minor: bool = True) -> str:
    """The versions that keep the contracts of this one; before 1.0 a minor version may break them.

    Args:
        version: That something was made with; one of no known form fits any.
        minor: False: an earlier minor version of the same major one will do too.

    >>> compatible_range("0.1.3"), compatible_range("1.4.0"), compatible_range("1.4.0", minor=False)
    ('>=0.1,<0.2', '>=1.4,<2', '>=1,<2')
    """
    from packaging.version import Version

    if not is_version(version):
        return ""
    major, least = Version(version).major, Version(version).minor
    if not major:
        return f">=0.{least},<0.{least + 1}"
    return f">={major}{f'.{least}' if minor else ''},<{major + 1}"
