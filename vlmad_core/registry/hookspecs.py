"""The questions that vlmad asks of a plugin: what do you offer, of each kind?

A plugin answers with entries: :class:`~vlmad_core.registry.Component`, :class:`~vlmad_core.registry.Recipe`,
:class:`~vlmad_core.registry.Command`.
pluggy is used to find things and never in the path of the data: after assembly a pipeline is plain Python calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vlmad_core.registry.component import Command, Component, Recipe

__all__ = ["hookimpl", "hookspec"]

hookspec = pluggy.HookspecMarker("vlmad")
hookimpl = pluggy.HookimplMarker("vlmad")


@hookspec
def vlmad_backbones() -> Iterable[Component]:  # type: ignore[empty-body]
    """Models that turn images, and perhaps text, into tokens: ``target(config) -> Backbone``."""


@hookspec
def vlmad_extractors() -> Iterable[Component]:  # type: ignore[empty-body]
    """Ways to look at an image: ``target(config, backbone) -> Extractor``."""


@hookspec
def vlmad_prompts() -> Iterable[Component]:  # type: ignore[empty-body]
    """Ways to say normal and abnormal: ``target(config, backbone) -> Prompts``."""


@hookspec
def vlmad_scorers() -> Iterable[Component]:  # type: ignore[empty-body]
    """Ways to judge features: ``target(config, levels, dim) -> Scorer``."""


@hookspec
def vlmad_recipes() -> Iterable[Recipe]:  # type: ignore[empty-body]
    """Pipelines with a name: a paper's choice of parts."""


@hookspec
def vlmad_datasets() -> Iterable[Component]:  # type: ignore[empty-body]
    """Layouts of data sets: ``target(config) -> Reader``."""


@hookspec
def vlmad_opinions() -> Iterable[Component]:  # type: ignore[empty-body]
    """Second opinions on decided images, for ``vlmad predict --judge``: ``target(config) -> SecondOpinion``."""


@hookspec
def vlmad_executors() -> Iterable[Component]:  # type: ignore[empty-body]
    """Where ``vlmad benchmark --executor`` runs its cells: ``target(config) -> concurrent.futures.Executor``."""


@hookspec
def vlmad_commands() -> Iterable[Command]:  # type: ignore[empty-body]
    """Commands of the command line, imported when called: ``vlmad NAME`` runs ``target``, a function or a Typer app."""
