"""Find plugins, keep what loaded and what failed, look up names.

Each plugin passes three guarded stages by itself: *version* (the vlmad-core range that it asks for, read before it is
imported), *import*, and *register* (its hooks are checked, called and exhausted). A failure in one is kept as a
:class:`Problem` and told again when a name cannot be found; it never stops the others.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module, metadata
from types import ModuleType
from typing import Any

import pluggy
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from vlmad_core import __version__, hookspecs
from vlmad_core.component import Component, Recipe
from vlmad_core.errors import UnknownComponentError, did_you_mean

__all__ = ["Entry", "Plugin", "Problem", "Registry", "default_registry"]

CORE = "vlmad-core"
GROUP = "vlmad"
_HOOKS = {
    "backbone": "vlmad_backbones",
    "extractor": "vlmad_extractors",
    "prompts": "vlmad_prompts",
    "scorer": "vlmad_scorers",
    "recipe": "vlmad_recipes",
    "dataset": "vlmad_datasets",
}


@dataclass(frozen=True)
class Problem:
    """Why a plugin, or one of its entries, is not available.

    Args:
        plugin: Name of the distribution.
        stage: ``version``, ``import`` or ``register``.
        error: One line, with the type of the exception.
    """

    plugin: str
    stage: str
    error: str

    def __str__(self) -> str:
        return f"{self.plugin} failed at {self.stage}: {self.error}"


@dataclass(frozen=True)
class Entry:
    """A component or a recipe, with who offers it."""

    kind: str
    item: Component | Recipe
    plugin: str
    version: str

    @property
    def name(self) -> str:
        """The short name."""
        return self.item.name

    @property
    def full_name(self) -> str:
        """``distribution:name``, which is never ambiguous."""
        return f"{self.plugin}:{self.name}"

    @property
    def component(self) -> Component:
        """The item of an entry that has options and a target: a part or a data set.

        Raises:
            UnknownComponentError: It is a recipe.
        """
        if not isinstance(self.item, Component):
            raise UnknownComponentError(f"'{self.full_name}' is a recipe, not a part.")
        return self.item

    def load(self) -> Any:
        """Import the class behind it.

        Raises:
            UnknownComponentError: The import fails, or there is no such object; the text says why.
        """
        module, _, name = self.component.target.partition(":")
        try:
            return getattr(import_module(module), name)
        except (Exception, SystemExit) as error:
            raise UnknownComponentError(
                f"{self.kind} '{self.full_name}' cannot be imported from {self.component.target}: {_told(error)}"
            ) from error


@dataclass(frozen=True)
class Plugin:
    """A distribution that was found.

    Args:
        name: Of the distribution.
        version: Of the distribution.
        status: ``loaded``, ``failed`` or ``disabled``.
        entries: What it offers.
        seconds: What loading it took.
    """

    name: str
    version: str
    status: str
    entries: tuple[Entry, ...] = ()
    seconds: float = 0.0


@dataclass
class Registry:
    """What is there. ``Registry.discover()`` looks at the environment; ``Registry()`` is empty, for tests."""

    plugins: list[Plugin] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @classmethod
    def discover(cls, env: Mapping[str, str] | None = None) -> Registry:
        """Load the built-ins and every plugin that an entry point of the group ``vlmad`` names.

        ``VLMAD_PLUGINS`` lists the only distributions to load (empty: none), ``VLMAD_DISABLE_PLUGINS`` those to leave
        out; what is left out is not imported. ``VLMAD_TRACE=1`` tells each stage on stderr.
        """
        env = os.environ if env is None else env
        only, without = _names(env.get("VLMAD_PLUGINS")), _names(env.get("VLMAD_DISABLE_PLUGINS")) or frozenset()
        found = cls()
        found.add("vlmad_core.builtin.plugin", CORE)
        for name, points in sorted(_distributions().items()):
            distribution = points[0].dist
            if (only is not None and name not in only) or name in without:
                found.plugins.append(Plugin(name, _field(distribution, "Version"), "disabled"))
                _trace(f"{name}: disabled")
                continue
            for point in points:
                found.add(point.value, name, distribution)
        return found

    def add(self, module: str | ModuleType, plugin: str, distribution: metadata.Distribution | None = None) -> Plugin:
        """Put one plugin through the three stages; what goes wrong becomes a :class:`Problem`.

        Args:
            module: Its ``plugin.py``, by name or imported.
            plugin: Name of its distribution.
            distribution: Its metadata, where it is installed.
        """
        version = _field(distribution, "Version") if distribution else _version(plugin)
        started, before = time.perf_counter(), len(self.problems)
        entries: tuple[Entry, ...] = ()
        stage = "version"
        try:
            _check_range(distribution)
            with redirect_stdout(sys.stderr):  # what a plugin prints must not end up in `vlmad list --json`
                stage = "import"
                loaded = import_module(module) if isinstance(module, str) else module
                stage = "register"
                entries = self._register(loaded, plugin, version)
        except (Exception, SystemExit) as error:
            self.problems.append(Problem(plugin, stage, _told(error)))
        seconds = time.perf_counter() - started
        problems = self.problems[before:]
        record = Plugin(plugin, version, "failed" if problems else "loaded", entries, seconds)
        self.plugins.append(record)
        for problem in problems:
            _trace(str(problem))
        _trace(f"{plugin} {version}: {record.status}, {len(entries)} entries, {seconds * 1000:.0f} ms")
        return record

    def _register(self, module: ModuleType, plugin: str, version: str) -> tuple[Entry, ...]:
        # A manager for each plugin: one that fails cannot leave half of itself among the others.
        manager = pluggy.PluginManager("vlmad")
        manager.add_hookspecs(hookspecs)
        manager.register(module, plugin)
        manager.check_pending()  # without it a misspelt hook is silence
        entries: dict[tuple[str, str], Entry] = {}
        for kind, hook in _HOOKS.items():
            wanted = Recipe if kind == "recipe" else Component
            for implementation in getattr(manager.hook, hook).get_hookimpls():
                try:
                    items = list(implementation.function())  # generators fail late, so exhaust them in here
                    for item in items:
                        if not isinstance(item, wanted):
                            raise TypeError(f"{hook} must yield {wanted.__name__} entries, got {item!r}")
                        if (kind, item.name) in entries:
                            raise ValueError(f"{hook} yields two entries called '{item.name}'")
                        entries[kind, item.name] = Entry(kind, item, plugin, version)
                except (Exception, SystemExit) as error:
                    self.problems.append(Problem(plugin, "register", f"{hook}: {_told(error)}"))
        return tuple(entries.values())

    def entries(self, kind: str | None = None) -> Iterator[Entry]:
        """Every entry, or those of one kind.

        Args:
            kind: ``backbone``, ``extractor``, ``prompts``, ``scorer``, ``recipe`` or ``dataset``.
        """
        for plugin in self.plugins:
            yield from (entry for entry in plugin.entries if kind in (None, entry.kind))

    def get(self, kind: str, name: str, *, needs: Mapping[str, str] | None = None) -> Entry:
        """The entry with this short or full name.

        Args:
            kind: See :meth:`entries`.
            name: ``"windows"`` or ``"vlmad-winclip:windows"``.
            needs: Name to distribution, to say what to install when it is missing.

        Raises:
            UnknownComponentError: None, or more than one; the text names what there is, and which plugins failed.
        """
        known = list(self.entries(kind))
        found = [entry for entry in known if name in (entry.name, entry.full_name)]
        if len(found) == 1:
            return found[0]
        if found:
            choices = ", ".join(entry.full_name for entry in found)
            raise UnknownComponentError(f"{kind} '{name}' is offered by more than one plugin; say which: {choices}.")
        text = f"no {kind} '{name}'.{did_you_mean(name, [entry.name for entry in known])}"
        text += f" There are: {', '.join(sorted(entry.name for entry in known)) or 'none'}."
        if needs and name in needs:
            text += f" Install it: pip install {needs[name]}."
        disabled = [plugin.name for plugin in self.plugins if plugin.status == "disabled"]
        if disabled:
            text += f" Disabled by the environment: {', '.join(disabled)}."
        for problem in self.problems:
            text += f"\n  {problem}"
        raise UnknownComponentError(text)

    def find(self, name: str) -> list[Entry]:
        """Entries of any kind with this short or full name."""
        return [entry for entry in self.entries() if name in (entry.name, entry.full_name)]


@cache
def default_registry() -> Registry:
    """The registry of this process, discovered once."""
    return Registry.discover()


def _distributions() -> dict[str, list[metadata.EntryPoint]]:
    """Entry points of the group by distribution, each once even where a path is searched twice."""
    found: dict[str, dict[str, metadata.EntryPoint]] = {}
    for point in metadata.entry_points(group=GROUP):
        name = canonicalize_name(_field(point.dist, "Name") or point.name)
        if name != CORE:
            found.setdefault(name, {}).setdefault(point.name, point)
    return {name: list(points.values()) for name, points in found.items()}


def _check_range(distribution: metadata.Distribution | None) -> None:
    running = _version(CORE)
    for line in (distribution.requires if distribution else None) or ():
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        if canonicalize_name(requirement.name) != CORE or (requirement.marker and not requirement.marker.evaluate()):
            continue
        if not requirement.specifier.contains(running, prereleases=True):
            raise RuntimeError(f"needs {CORE}{requirement.specifier}, this is {running}; upgrade one of the two")


def _field(distribution: metadata.Distribution | None, name: str) -> str:
    """A line of its METADATA, or nothing: an uninstall that was stopped leaves a distribution without."""
    try:
        return (distribution.metadata[name] if distribution else None) or ""
    except (KeyError, OSError, DeprecationWarning):
        return ""


def _version(plugin: str) -> str:
    try:
        return metadata.version(plugin)
    except metadata.PackageNotFoundError:
        return __version__ if plugin == CORE else ""


def _names(listing: str | None) -> frozenset[str] | None:
    if listing is None:
        return None
    return frozenset(canonicalize_name(word) for word in listing.replace(",", " ").split())


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")


def _trace(text: str) -> None:
    if os.environ.get("VLMAD_TRACE"):
        sys.stderr.write(f"vlmad: {text}\n")
