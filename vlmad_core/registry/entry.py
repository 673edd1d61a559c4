"""What a registry holds: entries with who offers them, plugins, and problems with plugins."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from vlmad_core.errors import UnknownComponentError
from vlmad_core.registry.component import Command, Component, Recipe

__all__ = ["Entry", "Plugin", "Problem", "one_line"]


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
    item: Component | Recipe | Command
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
            UnknownComponentError: It is a recipe or a command.
        """
        if not isinstance(self.item, Component):
            raise UnknownComponentError(f"'{self.full_name}' is a {self.kind}, not a part.")
        return self.item

    def load(self) -> Any:
        """Import the class behind it.

        Raises:
            UnknownComponentError: The import fails, or there is no such object; the text says why.
        """
        if isinstance(self.item, Recipe):
            raise UnknownComponentError(f"'{self.full_name}' is a recipe; vlmad_core.build makes a detector of it.")
        module, _, name = self.item.target.partition(":")
        try:
            return getattr(import_module(module), name)
        except (Exception, SystemExit) as error:
            raise UnknownComponentError(
                f"{self.kind} '{self.full_name}' cannot be imported from {self.item.target}: {one_line(error)}"
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


def one_line(error: BaseException) -> str:
    """An exception in one line, with its type."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")
