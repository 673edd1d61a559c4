"""A recipe as one file that can be handed on: the pipeline, and the plugins that it needs. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from vlmad_core.errors import ConfigError
from vlmad_core.files import write_whole

if TYPE_CHECKING:
    from vlmad_core.pipeline.pipeline import Pipeline
    from vlmad_core.registry.registry import Registry

__all__ = ["check_needs", "recipe_text", "save_recipe"]


def save_recipe(pipeline: Pipeline, path: str | Path) -> Path:
    """Write how a detector is built, without what it learned or remembers, for ``build(path)`` and ``--recipe path``.

    Args:
        pipeline: Made by :func:`vlmad_core.build`.
        path: A ``.yaml`` file; replaced if it is there.

    Raises:
        ConfigError: The pipeline was put together by hand, or the path cannot be written or is of another kind.

    >>> save_recipe(build("winclip", extractor="dpam"), "mine.yaml")  # doctest: +SKIP
    """
    path = Path(path)
    if path.suffix not in {".yaml", ".yml"}:
        raise ConfigError(f"{path}: a recipe is a YAML file; let its name end in .yaml.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, recipe_text(pipeline).encode())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror}).") from error
    return path


def recipe_text(pipeline: Pipeline) -> str:
    """What :func:`save_recipe` writes.

    Raises:
        ConfigError: The pipeline was put together by hand.
    """
    if pipeline.spec is None:
        raise ConfigError("this pipeline was put together by hand; build it with vlmad_core.build to save its recipe.")
    needs = {plugin: _range(version) for plugin, version in pipeline.plugins.items()}
    told = {"needs": needs, **pipeline.spec.model_dump(mode="json", exclude_defaults=True)}
    text: str = yaml.safe_dump(told, sort_keys=False, default_flow_style=None, width=100)
    return text


def check_needs(needs: Any, registry: Registry, where: str) -> None:
    """Refuse a recipe whose plugins are not there.

    Args:
        needs: Distribution to a range of versions, such as ``{"vlmad-dpam": ">=0.1,<0.2"}``.
        registry: What is installed.
        where: Put in front.

    Raises:
        ConfigError: No such mapping, or a plugin that is missing, does not load, or has another version.
    """
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    if not isinstance(needs, Mapping):
        raise ConfigError(f"{where}needs: must be a mapping of plugins to versions, got {needs!r}.")
    here = {plugin.name: plugin.version for plugin in registry.plugins if plugin.entries}
    wrong = []
    for plugin, versions in needs.items():
        try:
            wanted = SpecifierSet(str(versions or ""))
        except InvalidSpecifier as error:
            raise ConfigError(
                f"{where}needs.{plugin}: must be versions such as '>=0.1,<0.2', got {versions!r}."
            ) from error
        if plugin not in here:
            wrong.append(f"{where}needs plugin {plugin}{wanted}. Install it: pip install '{plugin}{wanted}'.")
        elif here[plugin] and not wanted.contains(here[plugin], prereleases=True):
            wrong.append(f"{where}needs {plugin}{wanted}, this is {here[plugin]}. Try: pip install '{plugin}{wanted}'.")
    if wrong:
        raise ConfigError("\n".join(wrong))


def _range(version: str) -> str:
    """From this version to the next that may break; before 1.0 a minor one may."""
    from packaging.version import InvalidVersion, Version

    try:
        major, minor = Version(version).major, Version(version).minor
    except InvalidVersion:
        return ""
    return f">={major}.{minor},<{major + 1}" if major else f">=0.{minor},<0.{minor + 1}"
