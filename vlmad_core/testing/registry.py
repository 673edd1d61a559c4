"""A registry in memory: a test sees the built-ins, the tiny backbone and what it hands over, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType

from pydantic import Field

from vlmad_core.registry.component import Component, Config, Recipe
from vlmad_core.registry.hookspecs import hookimpl
from vlmad_core.registry.registry import Registry

__all__ = ["TINY", "TinyConfig", "memory_registry"]


class TinyConfig(Config):
    """Options of the backbone 'tiny'."""

    text: bool = Field(True, description="Whether it reads.")
    image_size: tuple[int, int] = Field((32, 32), description="(height, width) in pixels, multiples of 8.")
    seed: int = Field(0, description="Of its random weights.")
    registers: int = Field(0, ge=0, description="Tokens between the class token and the patches.")
    depth: int = Field(3, gt=0, description="Blocks in each tower.")
    width: int = Field(32, gt=0, multiple_of=4, description="W of both towers.")
    dim: int = Field(16, gt=0, description="D of the joint space.")
    class_pool: bool = Field(True, description="False: no class token; the patches are averaged.")


TINY = Component(
    name="tiny",
    target="vlmad_core.testing.tiny:tiny_from_config",
    config=TinyConfig,
    summary="Random weights, for tests.",
)


def memory_registry(
    *,
    backbones: Sequence[Component] = (TINY,),
    extractors: Sequence[Component] = (),
    prompts: Sequence[Component] = (),
    scorers: Sequence[Component] = (),
    recipes: Sequence[Recipe] = (),
    datasets: Sequence[Component] = (),
    plugin: str = "in-memory",
    base: Registry | None = None,
) -> Registry:
    """A registry with the built-ins and one plugin that offers what is given; the environment is not looked at.

    Args:
        backbones: By default the tiny one, as ``tiny``.
        extractors: Ways to look.
        prompts: Ways to say.
        scorers: Ways to judge.
        recipes: Pipelines with a name.
        datasets: Layouts of data sets.
        plugin: Name of the distribution that seems to offer them.
        base: What else there is, instead of the built-ins; it is not changed.
    """
    offered: dict[str, Sequence[object]] = {
        "vlmad_backbones": backbones,
        "vlmad_extractors": extractors,
        "vlmad_prompts": prompts,
        "vlmad_scorers": scorers,
        "vlmad_recipes": recipes,
        "vlmad_datasets": datasets,
    }
    module = ModuleType(plugin.replace("-", "_"))
    for hook, items in offered.items():
        setattr(module, hook, hookimpl(_answer(items)))
    registry = Registry(list(base.plugins), list(base.problems)) if base else Registry()
    if base is None:
        registry.add("vlmad_core.builtin.plugin", "vlmad-core")
    registry.add(module, plugin)
    return registry


def _answer(items: Sequence[object]) -> Callable[[], list[object]]:
    return lambda: list(items)
