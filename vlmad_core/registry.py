"""Find plugins, keep what loaded and what failed, look up names.

Each plugin passes three guarded stages by itself: *version* (the vlmad-core range that it asks for, read before it is
imported), *import*, and *register* (its hooks are checked, called and exhausted). A failure in one is kept as a
:class:`Problem` and told again when a name cannot be found; it never stops the others. Plugins are discovered in
another process (:mod:`vlmad_core.inventory`); here one is imported when an option of a part of its is asked for.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module, metadata
from types import ModuleType
from typing import Any

import pluggy
from packaging.utils import canonicalize_name

from vlmad_core import hookspecs, installed, inventory
from vlmad_core.component import Component, Recipe
from vlmad_core.entries import Entry, Plugin, Problem, Remembered, told
from vlmad_core.errors import UnknownComponentError, did_you_mean
from vlmad_core.installed import CORE, GROUP, Point
from vlmad_core.ours import OURS

__all__ = ["CORE", "GROUP", "Entry", "Plugin", "Problem", "Registry", "default_registry"]

_HOOKS = {
    "backbone": "vlmad_backbones",
    "extractor": "vlmad_extractors",
    "prompts": "vlmad_prompts",
    "scorer": "vlmad_scorers",
    "recipe": "vlmad_recipes",
    "dataset": "vlmad_datasets",
}


@dataclass
class Registry:
    """What is there. ``Registry.discover()`` looks at the environment; ``Registry()`` is empty, for tests."""

    plugins: list[Plugin] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @classmethod
    def discover(cls, env: Mapping[str, str] | None = None, *, refresh: bool = False) -> Registry:
        """Load the built-ins, and learn what every plugin offers that an entry point of the group ``vlmad`` names.

        A plugin that was not seen before is imported in a child process, so that it may hang or crash; it is imported
        here when the options of one of its parts are asked for. ``VLMAD_PLUGINS`` lists the only distributions to look
        at (empty: none), ``VLMAD_DISABLE_PLUGINS`` those to leave out. ``VLMAD_ISOLATE=0`` imports all of them here and
        now, as a debugger wants it. ``VLMAD_TRACE=1`` tells each stage on stderr.

        Args:
            env: In place of the environment's variables.
            refresh: Look at every plugin again, also at those where nothing has changed.
        """
        env = os.environ if env is None else env
        only, without = _names(env.get("VLMAD_PLUGINS")), _names(env.get("VLMAD_DISABLE_PLUGINS")) or frozenset()
        found = cls()
        found.add("vlmad_core.builtin.plugin", CORE)
        points = list(installed.points())
        chosen = [p for p in points if (only is None or p.plugin in only) and p.plugin not in without]
        seen = {} if env.get("VLMAD_ISOLATE") == "0" else inventory.look(chosen, refresh=refresh)
        for point in points:
            if point in chosen:
                if point not in seen or not found._remember(point, seen[point]):
                    found.add(point.value, point.plugin, point.distribution)
            elif all(plugin.name != point.plugin for plugin in found.plugins):
                found.plugins.append(Plugin(point.plugin, point.version, "disabled"))
                _trace(f"{point.plugin}: disabled")
        return found

    def add(
        self,
        module: str | ModuleType,
        plugin: str,
        distribution: metadata.Distribution | None = None,
        *,
        tell: Callable[[str], object] = str,
    ) -> Plugin:
        """Import one plugin and put it through the three stages; what goes wrong becomes a :class:`Problem`.

        Args:
            module: Its ``plugin.py``, by name or imported.
            plugin: Name of its distribution.
            distribution: Its metadata, where it is installed.
            tell: Called with the name of each stage as it begins.
        """
        version = installed.field(distribution, "Version") if distribution else installed.version(plugin)
        started, before = time.perf_counter(), len(self.problems)
        entries: tuple[Entry, ...] = ()
        try:
            tell(stage := "version")
            installed.check_range(distribution)
            with _stdout_to_stderr():
                tell(stage := "import")
                loaded = import_module(module) if isinstance(module, str) else module
                tell(stage := "register")
                entries = self._register(loaded, plugin, version)
        except (Exception, SystemExit) as error:
            self.problems.append(Problem(plugin, stage, told(error)))
        return self._record(plugin, version, entries, time.perf_counter() - started, self.problems[before:])

    def _remember(self, point: Point, seen: Mapping[str, Any]) -> bool:
        """Add what the inventory knows of a plugin, unless it makes no sense here."""
        entries = []
        try:
            for each in seen["entries"]:
                kind, said = each["kind"], each["said"]
                item = Recipe(**said) if kind == "recipe" else Remembered(said, _here(point, kind))
                entries.append(Entry(kind, item, point.plugin, point.version))
            problems = [Problem(point.plugin, stage, error) for stage, error in seen["problems"]]
        except (KeyError, TypeError, ValueError):  # damaged
            return False
        self.problems += problems
        self._record(point.plugin, point.version, tuple(entries), seen["seconds"], problems)
        return True

    def _record(
        self, plugin: str, version: str, entries: tuple[Entry, ...], seconds: float, problems: list[Problem]
    ) -> Plugin:
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
                    self.problems.append(Problem(plugin, "register", f"{hook}: {told(error)}"))
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
        bring = (needs or {}).get(name) or self.to_install(name)
        text = f"no {kind} '{name}'.{'' if bring else did_you_mean(name, [entry.name for entry in known])}"
        text += f" There are: {', '.join(sorted(entry.name for entry in known)) or 'none'}."
        if bring:
            text += f" Install it: pip install {bring}."
        disabled = [plugin.name for plugin in self.plugins if plugin.status == "disabled"]
        if disabled:
            text += f" Disabled by the environment: {', '.join(disabled)}."
        for problem in self.problems:
            text += f"\n  {problem}"
        raise UnknownComponentError(text)

    def to_install(self, name: str) -> str | None:
        """The distribution of this project that would bring a name, where it is not installed."""
        bring = OURS.get(name)
        return None if bring in {plugin.name for plugin in self.plugins} else bring

    def find(self, name: str) -> list[Entry]:
        """Entries of any kind with this short or full name."""
        return [entry for entry in self.entries() if name in (entry.name, entry.full_name)]


@cache
def default_registry() -> Registry:
    """The registry of this process, discovered once."""
    return Registry.discover()


def _here(point: Point, kind: str) -> Callable[[str], Component]:
    """Finds a part of a plugin by name, and imports the plugin for it."""

    def find(name: str) -> Component:
        return _imported(point).get(kind, name).component

    return find


@cache
def _imported(point: Point) -> Registry:
    found = Registry()
    found.add(point.value, point.plugin, point.distribution)
    return found


@contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """What a plugin prints must not end up in `vlmad list --json`, by whatever way it prints."""
    try:
        sys.stdout.flush()
        kept = os.dup(1)
        os.dup2(2, 1)
    except (OSError, AttributeError, ValueError):  # there is no such file: nothing can be spoilt
        kept = -1
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        if kept >= 0:
            os.dup2(kept, 1)
            os.close(kept)


def _names(listing: str | None) -> frozenset[str] | None:
    if listing is None:
        return None
    return frozenset(canonicalize_name(word) for word in listing.replace(",", " ").split())


def _trace(text: str) -> None:
    if os.environ.get("VLMAD_TRACE"):
        sys.stderr.write(f"vlmad: {text}\n")
