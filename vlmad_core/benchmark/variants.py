"""From the methods of a plan to pipelines: which recipe on which backbone at which size for how many normal images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vlmad_core.benchmark.plan import BackboneChoice, BenchmarkPlan, Method, label_of
from vlmad_core.errors import VlmadError
from vlmad_core.pipeline.checkpoint import RECORD, read_record
from vlmad_core.pipeline.defaults import take_few_shot
from vlmad_core.pipeline.migrate import NEEDED, upgrade_record
from vlmad_core.pipeline.resolve import resolve
from vlmad_core.pipeline.spec import PipelineSpec, override
from vlmad_core.registry.registry import Registry
from vlmad_core.registry.validate import validate

__all__ = ["find_variants"]


def find_variants(plan: BenchmarkPlan, registry: Registry) -> Iterator[dict[str, Any]]:
    """Everything of a cell but its category, with a reason where it makes no sense.

    Raises:
        UnknownComponentError: A name that nobody offers.
        ConfigError: An option that does not exist.
    """
    for method in plan.all_methods():
        for choice in method.backbones or plan.backbones or (None,):
            for size in plan.image_sizes or (None,):
                for shots in method.shots if method.shots is not None else plan.shots:
                    try:
                        one = _resolved(plan, method, choice, size, shots, registry)
                    except VlmadError as error:
                        raise type(error)(f"method '{method.name}': {error}") from error
                    for seed in plan.seeds if shots else plan.seeds[:1]:
                        yield {**one, "method": method.name, "shots": shots, "seed": seed if shots else 0}


def _resolved(
    plan: BenchmarkPlan,
    method: Method,
    choice: BackboneChoice | None,
    size: int | tuple[int, int] | None,
    shots: int,
    registry: Registry,
) -> dict[str, Any]:
    """The pipeline for so many shots: recipe, spec, label of the backbone; and the reason where there is none."""
    eyes: dict[str, Any] = {}
    if method.detector is None and choice is not None:
        eyes["backbone"] = choice.part
    if plan.weights is not None and method.detector is None:
        eyes["backbone.config.pretrained"] = plan.weights
    if size is not None:
        eyes["backbone.config.image_size"] = size
    recipe, reason = method.recipe if isinstance(method.recipe, str) else "", ""
    if method.detector is not None:
        spec, plugins = _spec_of(method)
        changed = validate(PipelineSpec, override(spec.model_dump(), {**eyes, **method.overrides}))
        found = resolve(changed, prefer=plugins, registry=registry)
    else:
        found = resolve(method.recipe, {**eyes, **method.changes()}, registry=registry)
        if shots:
            found = take_few_shot(found, registry=registry)
        recipe = found.recipe
    spec, remembers = found.spec, found.needs_normal_images
    if shots and not remembers:
        reason = f"'{method.name}' remembers nothing, so normal images are of no use to it; it has 0 shots alone."
    elif remembers and not shots:
        reason = f"'{method.name}' compares with normal images, so it has no 0 shots."
    label = label_of(choice) if choice is not None and method.detector is None else label_of(spec.backbone)
    told = {"recipe": recipe, "spec": spec, "backbone": label, "detector": method.detector}
    return {**told, "status": "skipped", "reason": reason} if reason else told


def _spec_of(method: Method) -> tuple[PipelineSpec, tuple[str, ...]]:
    """The pipeline that a detector's folder holds, and the plugins that it was made with.

    Raises:
        ConfigError: It holds none.
    """
    assert method.detector is not None
    path = str(method.detector / RECORD)
    record = upgrade_record(read_record(method.detector, needed=NEEDED), path)
    return validate(PipelineSpec, record["spec"], path), tuple(record["plugins"])
