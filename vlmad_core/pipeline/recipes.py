"""A recipe as one file that can be handed on: the pipeline, and the plugins that it needs. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from vlmad_core.errors import ConfigError
from vlmad_core.files import write_whole
from vlmad_core.pipeline.spec import PipelineSpec
from vlmad_core.registry.distributions import compatible_range

__all__ = ["recipe_text", "write_recipe"]


def write_recipe(path: str | Path, spec: PipelineSpec, plugins: Mapping[str, str]) -> Path:
    """Write how a detector is built, for ``build(path)`` and ``--recipe path``.

    Args:
        path: A ``.yaml`` file; replaced if it is there.
        spec: The pipeline.
        plugins: Distribution to version, of the parts that it uses.

    Raises:
        ConfigError: The path cannot be written, or is of another kind.
    """
    path = Path(path)
    if path.suffix not in {".yaml", ".yml"}:
        raise ConfigError(f"{path}: a recipe is a YAML file; let its name end in .yaml.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, recipe_text(spec, plugins).encode())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror}).") from error
    return path


def recipe_text(spec: PipelineSpec, plugins: Mapping[str, str]) -> str:
    """What :func:`write_recipe` writes."""
    import yaml

    needs = {plugin: compatible_range(version) for plugin, version in plugins.items()}
    content = {"needs": needs, **spec.model_dump(mode="json", exclude_defaults=True)}
    text: str = yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=100)
    return text
