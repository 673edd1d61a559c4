"""What a registry holds: entries with who offers them, plugins, and problems with plugins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any

from vlmad_core.component import Component, Config, Recipe
from vlmad_core.errors import UnknownComponentError

__all__ = ["Entry", "Plugin", "Problem", "Remembered", "told"]


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
                f"{self.kind} '{self.full_name}' cannot be imported from {self.component.target}: {told(error)}"
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


class Remembered(Component):
    """A part as the inventory knows it: the class of its options comes with its plugin, when first asked for.

    Args:
        said: Every other field of the component.
        find: Imports the plugin, and gives the component with this name.
    """

    def __init__(self, said: Mapping[str, Any], find: Callable[[str], Component]) -> None:
        super().__init__(**said)
        del vars(self)["config"]  # so that the property answers
        vars(self).update(said=said, find=find)

    @cached_property
    def config(self) -> type[Config]:
        """The options.

        Raises:
            UnknownComponentError: The plugin cannot be imported here, or no longer offers the part.
        """
        found: Component = vars(self)["find"](self.name)
        return found.config

    def __eq__(self, other: object) -> bool:  # this, hash and repr must import nothing
        return isinstance(other, Remembered) and vars(self)["said"] == vars(other)["said"]

    def __hash__(self) -> int:
        return hash(self.target)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r}, target={self.target!r})"


def told(error: BaseException) -> str:
    """An exception in one line, with its type."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")
