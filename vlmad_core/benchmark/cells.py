"""From a plan to its cells: every method on every backbone, size, category, number of shots and seed that fits.

A cell is one row of the results to be: a method on a backbone, tested on one category after fitting on some normal
images. What makes no sense or cannot be done is a cell too, with its reason.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from vlmad_core.benchmark.categories import Category, content_line, find_categories, path_of
from vlmad_core.benchmark.plan import BackboneChoice, BenchmarkPlan, Method, label_of
from vlmad_core.contracts.towers import Backbone
from vlmad_core.datasets.base import Sample
from vlmad_core.datasets.content import hash_of
from vlmad_core.errors import NotFittedError, VlmadError
from vlmad_core.pipeline.build import assemble, load
from vlmad_core.pipeline.checkpoint import RECORD, read_detector_record
from vlmad_core.pipeline.defaults import take_few_shot
from vlmad_core.pipeline.migrate import NEEDED, upgrade_record
from vlmad_core.pipeline.pipeline import Pipeline
from vlmad_core.pipeline.resolve import resolve
from vlmad_core.pipeline.spec import PartSpec, PipelineSpec, override
from vlmad_core.registry.registry import Registry, default_registry
from vlmad_core.registry.validate import validate

__all__ = ["Category", "Cell", "build_cell", "find_cells", "method_label", "path_of", "pipeline_key"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Cell:
    """One row to be.

    Args:
        category: What is tested.
        method: Its label.
        recipe: The recipe in the end: a few-shot one may have taken over.
        backbone: Its label.
        spec: The whole pipeline.
        detector: Folder, where it is not built from the spec alone.
        shots: How many normal images it is fitted on.
        seed: Of their draw.
        resolution: Of maps and masks; None: native.
        stepped: Also the 200-step AUPRO.
        bits: Of the values in 16-bit grey images, or a window and channels; None: a detector's own, or what the file
            says.
        status: ``waiting``, ``skipped`` (makes no sense) or ``failed`` (cannot be done).
        reason: Why it does not wait.
    """

    category: Category
    method: str
    recipe: str
    backbone: str
    spec: PipelineSpec
    detector: Path | None
    shots: int
    seed: int
    resolution: tuple[int, int] | None
    stepped: bool = False
    bits: int | str | None = None
    status: str = "waiting"
    reason: str = ""

    @cached_property
    def references(self) -> tuple[Sample, ...]:
        """The normal images, in the order of the draw."""
        return self.category.references(self.shots, self.seed)

    @cached_property
    def settings_key(self) -> str:
        """A hash of everything that decides the row but the content of files: the same row, if the data is the same."""
        return _digest(
            {
                "dataset": [self.category.dataset, self.category.name, self.category.class_name],
                "method": [self.method, self.recipe, self.backbone, self.spec.model_dump(mode="json")],
                "detector": None if self.detector is None else str(self.detector),
                "shots": [self.shots, self.seed],
                "resolution": [self.resolution or "native", self.stepped],
                **({} if self.bits is None else {"bits": self.bits}),
            }
        )

    @cached_property
    def key(self) -> str:
        """16 hexadecimal digits: a hash of everything that decides the row, images, masks and labels included."""
        return _digest(
            {
                "settings": self.settings_key,
                "images": self.category.images_sha256,
                "detector": None if self.detector is None else hash_of(self.detector / "detector.json"),
                "references": [content_line(sample, self.category.root) for sample in self.references],
            }
        )

    def __str__(self) -> str:
        shots = f", {self.shots} shots, seed {self.seed}" if self.shots else ""
        return f"{self.method} on {self.backbone}, {self.category.dataset}/{self.category.name}{shots}"


def find_cells(plan: BenchmarkPlan, registry: Registry | None = None) -> list[Cell]:
    """Everything that will run, in the order of running, with the reason where one will not.

    Cells of one backbone, and of one category within it, follow each other, so that features are shared.

    Raises:
        ConfigError: Data that cannot be read, or an option that does not exist.
        UnknownComponentError: A name that nobody offers.
    """
    registry = registry or default_registry()
    variants = list(_variants(plan, registry))
    common = {"resolution": _pair(plan.resolution), "stepped": plan.aupro_200, "bits": plan.bits}
    cells = [
        Cell(category=category, **{**common, **variant, **_check(variant, category)})
        for category in find_categories(plan, registry)
        for variant in variants
        if not (category.fixed and variant["shots"] and variant["seed"] != plan.seeds[0])  # nothing to draw
    ]
    order = {key: i for i, key in enumerate(dict.fromkeys(_backbone_key(cell) for cell in cells))}
    return sorted(cells, key=lambda cell: order[_backbone_key(cell)])  # stable: categories stay together


def build_cell(cell: Cell, backbone: Backbone, registry: Registry) -> Pipeline:
    """The detector of a cell on a backbone that is there.

    Raises:
        VlmadError: Its parts do not fit, or are not trained yet.
    """
    if cell.detector is not None:
        pipeline = load(cell.detector, backbone=backbone, overrides=dict(cell.spec), registry=registry)
        pipeline.bits = cell.bits or pipeline.bits
        return pipeline
    pipeline = assemble(cell.spec, backbone=backbone, registry=registry)
    pipeline.bits = cell.bits
    if any(True for _ in pipeline.parameters()):
        raise NotFittedError(
            f"'{cell.method}' has parts that learn, and they are not trained yet. Train it with `vlmad train`, or "
            "take over a paper's checkpoint with `vlmad import`; then name its folder as the method's detector."
        )
    return pipeline


def pipeline_key(cell: Cell) -> tuple[str, str]:
    """Cells with the same key share a detector; its memory bank changes from cell to cell."""
    return cell.method, cell.spec.model_dump_json()


def method_label(name: str, recipe: str, backbone: PartSpec, registry: Registry, *, label: str = "") -> str:
    """What a run of a recipe is called: on another backbone than its own never by the recipe's name alone.

    Args:
        name: What it would be called on the recipe's own backbone.
        recipe: Name of a recipe; a file or nothing leaves the name as it is.
        backbone: That it runs on.
        registry: Where to look for the recipe.
        label: What the backbone is called; its model or name where empty.

    Returns:
        Such as ``"winclip (pocket)"``.
    """
    if not recipe or Path(recipe).suffix in {".yaml", ".yml", ".json"}:
        return name
    own = resolve(recipe, registry=registry).spec.backbone
    same = own.use.rpartition(":")[2] == backbone.use.rpartition(":")[2]
    if same and _model(own, registry) == _model(backbone, registry):
        return name
    return f"{name} ({label or label_of(backbone)})"


def _model(part: PartSpec, registry: Registry) -> Any:
    """Which of its models a backbone is, where it has several."""
    config = registry.get("backbone", part.use).component.config
    field = config.model_fields.get("model")
    return part.config.get("model", None if field is None else field.default)


def _variants(plan: BenchmarkPlan, registry: Registry) -> Iterator[dict[str, Any]]:
    """Everything of a cell but its category, with a reason where it makes no sense."""
    for method in plan.all_methods():
        for choice in method.backbones or plan.backbones or (None,):
            for size in plan.image_sizes or (None,):
                for shots in method.shots if method.shots is not None else plan.shots:
                    try:
                        variant = _variant(plan, method, choice, size, shots, registry)
                    except VlmadError as error:
                        raise type(error)(f"method '{method.name}': {error}") from error
                    for seed in plan.seeds if shots else plan.seeds[:1]:
                        yield {**variant, "shots": shots, "seed": seed if shots else 0}


def _variant(
    plan: BenchmarkPlan,
    method: Method,
    choice: BackboneChoice | None,
    size: int | tuple[int, int] | None,
    shots: int,
    registry: Registry,
) -> dict[str, Any]:
    """The pipeline for so many shots: labels, recipe, spec; and the reason where there is none."""
    changes: dict[str, Any] = {}
    if method.detector is None and choice is not None:
        changes["backbone"] = choice.part
    if plan.weights is not None and method.detector is None:
        changes["backbone.config.pretrained"] = plan.weights
    if plan.model is not None and method.detector is None:
        changes["backbone.config.model"] = plan.model
    if size is not None:
        changes["backbone.config.image_size"] = size
    recipe, reason = method.recipe if isinstance(method.recipe, str) else "", ""
    if method.detector is not None:
        saved, plugins = _saved_spec(method.detector)
        changed = validate(PipelineSpec, override(saved.model_dump(), {**changes, **method.overrides}))
        resolved = resolve(changed, prefer=plugins, registry=registry)
    else:
        resolved = resolve(method.recipe, {**changes, **method.changes()}, quality=method.quality, registry=registry)
        if shots:
            resolved = take_few_shot(resolved, registry=registry)
        recipe = resolved.recipe
    spec = resolved.spec
    if shots and not resolved.needs_normal_images:
        reason = f"'{method.name}' has no memory, so normal images are of no use to it; it runs with 0 shots alone."
    elif resolved.needs_normal_images and not shots:
        reason = f"'{method.name}' compares with normal images, so it does not run with 0 shots."
    own_label = choice is not None and method.detector is None
    backbone = label_of(choice) if choice is not None and own_label else label_of(spec.backbone)
    name = method.name
    if method.detector is None and isinstance(method.recipe, str) and method.label in ("", method.recipe):
        name = method_label(name, method.recipe, spec.backbone, registry, label=backbone)
    variant = {"method": name, "recipe": recipe, "spec": spec, "backbone": backbone, "detector": method.detector}
    return {**variant, "status": "skipped", "reason": reason} if reason else variant


def _saved_spec(folder: Path) -> tuple[PipelineSpec, tuple[str, ...]]:
    """The pipeline that a detector's folder holds, and the plugins that it was made with.

    Raises:
        ConfigError: It holds none.
    """
    path = str(folder / RECORD)
    record = upgrade_record(read_detector_record(folder, needed=NEEDED), path)
    return validate(PipelineSpec, record["spec"], path), tuple(record["plugins"])


def _check(variant: Mapping[str, Any], category: Category) -> dict[str, Any]:
    if variant.get("reason"):
        return {}
    where = f"{category.dataset}/{category.name}"
    if not category.test_samples:
        return {"status": "failed", "reason": f"{where}: has no test image whose label is known."}
    if variant["shots"] > len(category.pool):
        there = f"{len(category.pool)} normal images" if category.pool else "no normal image"
        good = sum(sample.label is False for sample in category.test_samples)
        reason = f"{where}: has {there} to draw {variant['shots']} from (train/good)."
        if good > 1 and not category.pool:
            reason += " A part of the normal test images can serve: --train-share 0.5."
        return {"status": "failed", "reason": reason}
    return {}


def _backbone_key(cell: Cell) -> str:
    return cell.spec.backbone.model_dump_json()


def _pair(size: int | tuple[int, int] | str) -> tuple[int, int] | None:
    return None if isinstance(size, str) else (size, size) if isinstance(size, int) else size


def _digest(parts: Mapping[str, Any]) -> str:
    text = json.dumps(parts, sort_keys=True)  # ASCII, so names of any encoding have a hash
    return hashlib.sha256(text.encode()).hexdigest()[:16]
