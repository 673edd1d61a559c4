"""Find plugins, keep what loaded and what failed, look up names.

Each plugin passes three guarded stages by itself: *version* (the vlmad-core range that it asks for, read before it is
imported), *import*, and *register* (its hooks are checked, called and exhausted). A failure in one is kept as a
:class:`Problem` and repeated when a name cannot be found; it never stops the other plugins.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module, metadata
from types import ModuleType
from typing import Any

import pluggy
from packaging.utils import canonicalize_name

from vlmad_core.errors import ConfigError, UnknownComponentError, did_you_mean
from vlmad_core.registry import distributions, hookspecs
from vlmad_core.registry.component import Command, Component, Recipe
from vlmad_core.registry.distributions import CORE, GROUP, is_version
from vlmad_core.registry.entry import Entry, Plugin, Problem, one_line
from vlmad_core.registry.project_plugins import PROJECT_PLUGINS

__all__ = ["CORE", "GROUP", "Entry", "Plugin", "Problem", "Registry", "default_registry"]

_HOOKS = {
    "backbone": "vlmad_backbones",
    "extractor": "vlmad_extractors",
    "prompts": "vlmad_prompts",
    "scorer": "vlmad_scorers",
    "recipe": "vlmad_recipes",
    "dataset": "vlmad_datasets",
    "opinion": "vlmad_opinions",
    "executor": "vlmad_executors",
    "command": "vlmad_commands",
}


@dataclass
class Registry:
    """What is there. ``Registry.discover()`` looks at the environment; ``Registry()`` is empty, for tests."""

    plugins: list[Plugin] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @classmethod
    def discover(cls, env: Mapping[str, str] | None = None) -> Registry:
        """Load the built-ins and every plugin that an entry point of the group ``vlmad`` names.

        ``VLMAD_PLUGINS`` lists the only distributions to load (empty: none), ``VLMAD_DISABLE_PLUGINS`` those to leave
        out. ``VLMAD_TRACE=1`` prints each stage on stderr as it begins, so that a plugin that hangs is named.

        Args:
            env: In place of the environment's variables.
        """
        env = os.environ if env is None else env
        only, without = _names(env.get("VLMAD_PLUGINS")), _names(env.get("VLMAD_DISABLE_PLUGINS")) or frozenset()
        found = cls()
        found.add("vlmad_core.builtin.plugin", CORE)
        for point in distributions.points():
            if (only is None or point.plugin in only) and point.plugin not in without:
                found.add(point.value, point.plugin, point.distribution)
            elif all(plugin.name != point.plugin for plugin in found.plugins):
                found.plugins.append(Plugin(point.plugin, point.version, "disabled"))
                _trace(f"{point.plugin}: disabled")
        return found

    def add(self, module: str | ModuleType, plugin: str, distribution: metadata.Distribution | None = None) -> Plugin:
        """Import one plugin and put it through the three stages; what goes wrong becomes a :class:`Problem`.

        Args:
            module: Its ``plugin.py``, by name or imported.
            plugin: Name of its distribution.
            distribution: Its metadata, where it is distributions.
        """
        version = distributions.field(distribution, "Version") if distribution else distributions.version(plugin)
        started, before = time.perf_counter(), len(self.problems)
        entries: tuple[Entry, ...] = ()
        try:
            _trace(f"{plugin} {version}: {(stage := 'version')}")
            distributions.check_range(distribution)
            _trace(f"{plugin} {version}: {(stage := 'import')}")
            loaded = import_module(module) if isinstance(module, str) else module
            _trace(f"{plugin} {version}: {(stage := 'register')}")
            entries = self._register(loaded, plugin, version)
        except (Exception, SystemExit) as error:
            self.problems.append(Problem(plugin, stage, one_line(error)))
        seconds = time.perf_counter() - started
        record = Plugin(plugin, version, "failed" if self.problems[before:] else "loaded", entries, seconds)
        self.plugins.append(record)
        for problem in self.problems[before:]:
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
            entry_type: type[Component | Recipe | Command] = {"recipe": Recipe, "command": Command}.get(kind, Component)
            for implementation in getattr(manager.hook, hook).get_hookimpls():
                try:
                    items = list(implementation.function())  # generators fail late, so exhaust them in here
                    for item in items:
                        if not isinstance(item, entry_type):
                            raise TypeError(f"{hook} must yield {entry_type.__name__} entries, got {item!r}")
                        if (kind, item.name) in entries:
                            raise ValueError(f"{hook} yields two entries called '{item.name}'")
                        entries[kind, item.name] = Entry(kind, item, plugin, version)
                except (Exception, SystemExit) as error:
                    self.problems.append(Problem(plugin, "register", f"{hook}: {one_line(error)}"))
        return tuple(entries.values())

    def entries(self, kind: str | None = None) -> Iterator[Entry]:
        """Every entry, or those of one kind.

        Args:
            kind: ``backbone``, ``extractor``, ``prompts``, ``scorer``, ``recipe``, ``dataset``, ``opinion``,
                ``executor`` or ``command``.
        """
        for plugin in self.plugins:
            yield from (entry for entry in plugin.entries if kind in (None, entry.kind))

    def get(self, kind: str, name: str, *, prefer: Collection[str] = ()) -> Entry:
        """The entry with this short or full name.

        Args:
            kind: See :meth:`entries`.
            name: ``"windows"`` or ``"vlmad-winclip:windows"``.
            prefer: Distributions that win where several offer a short name, such as those a detector was made with.

        Raises:
            UnknownComponentError: None, or more than one; the text names what there is, and which plugins failed.
        """
        known = list(self.entries(kind))
        found = [entry for entry in known if name in (entry.name, entry.full_name)]
        if len(found) > 1:
            found = [entry for entry in found if entry.plugin in prefer] or found
        if len(found) == 1:
            return found[0]
        if found:
            choices = ", ".join(entry.full_name for entry in found)
            raise UnknownComponentError(f"{kind} '{name}' is offered by more than one plugin; say which: {choices}.")
        distribution = self.to_install(name)
        text = f"no {kind} '{name}'.{'' if distribution else did_you_mean(name, [entry.name for entry in known])}"
        text += f" There are: {', '.join(sorted(entry.name for entry in known)) or 'none'}."
        if distribution:
            text += f" Install it: pip install {distribution}."
        disabled = [plugin.name for plugin in self.plugins if plugin.status == "disabled"]
        if disabled:
            text += f" Disabled by the environment: {', '.join(disabled)}."
        for problem in self.problems:
            text += f"\n  {problem}"
        raise UnknownComponentError(text)

    def to_install(self, name: str) -> str | None:
        """The distribution that would bring a part or recipe, where it is known and not installed.

        It is in a full name; else a recipe names it among its needs, or this project offers it.
        """
        distribution, colon, _ = name.partition(":")
        if not colon:
            needs = {part: where for entry in self.entries("recipe") for part, where in _needs(entry).items()}
            distribution = needs.get(name) or PROJECT_PLUGINS.get(name) or ""
        return distribution if distribution and distribution not in {plugin.name for plugin in self.plugins} else None

    def require(self, needs: Any, where: str = "") -> None:
        """Refuse what was made with plugins that are not here, or not in these versions.

        Args:
            needs: Distribution to a range of versions, such as ``{"vlmad-dpam": ">=0.1,<0.2"}``.
            where: Put in front of each line.

        Raises:
            ConfigError: No such mapping, or a plugin that is missing, does not load, or has another version.
        """
        from packaging.specifiers import InvalidSpecifier, SpecifierSet

        if not isinstance(needs, Mapping):
            raise ConfigError(f"{where}needs: must be a mapping of plugins to versions, got {needs!r}.")
        here = {plugin.name: plugin.version for plugin in self.plugins if plugin.entries}
        wrong = []
        for plugin, versions in needs.items():
            text = str(versions or "").replace(" ", "")
            try:
                wanted = SpecifierSet(text)
            except InvalidSpecifier as error:
                raise ConfigError(
                    f"{where}needs.{plugin}: must be versions such as '>=0.1,<0.2', got {versions!r}."
                ) from error
            if plugin not in here:
                wrong.append(f"{where}needs plugin {plugin}{text}. Install it: pip install '{plugin}{text}'.")
            elif is_version(here[plugin]) and not wanted.contains(here[plugin], prereleases=True):
                wrong.append(f"{where}needs {plugin}{text}, this is {here[plugin]}. Try: pip install '{plugin}{text}'.")
        if wrong:
            raise ConfigError("\n".join(wrong))

    def find(self, name: str) -> list[Entry]:
        """Entries of any kind with this short or full name."""
        return [entry for entry in self.entries() if name in (entry.name, entry.full_name)]


@cache
def default_registry() -> Registry:
    """The registry of this process, discovered once."""
    return Registry.discover()


def _needs(entry: Entry) -> Mapping[str, str]:
    return entry.item.needs if isinstance(entry.item, Recipe) else {}


def _names(listing: str | None) -> frozenset[str] | None:
    if listing is None:
        return None
    return frozenset(canonicalize_name(word) for word in listing.replace(",", " ").split())


def _trace(text: str) -> None:
    if os.environ.get("VLMAD_TRACE"):
        sys.stderr.write(f"vlmad: {text}\n")
