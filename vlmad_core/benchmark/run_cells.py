"""Cells of one backbone, from its weights to their rows: what happens is yielded, and nothing is written but features.

The same function runs here and in another process or on another machine; whoever receives the events keeps the rows.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, TypeAlias

from vlmad_core.benchmark.cells import Cell, build_cell, pipeline_key
from vlmad_core.benchmark.evaluate import evaluate_cell, row_of
from vlmad_core.benchmark.features import SharedFeatures, SharedTextEmbeddings, extractor_key, failure_message
from vlmad_core.benchmark.ground_truth import GroundTruth
from vlmad_core.benchmark.plan import BenchmarkPlan
from vlmad_core.benchmark.tower import RememberingTower
from vlmad_core.contracts.towers import Backbone
from vlmad_core.pipeline.build import make_backbone
from vlmad_core.pipeline.pipeline import Pipeline
from vlmad_core.registry.registry import Registry
from vlmad_core.report.rows import Row

__all__ = ["BackboneLoaded", "BackbonePasses", "CellEvent", "CellMessage", "CellRow", "CellStep", "run_cells"]


@dataclass(frozen=True)
class CellStep:
    """What goes on now, for a progress bar."""

    message: str


@dataclass(frozen=True)
class CellMessage:
    """A sentence worth knowing."""

    text: str


@dataclass(frozen=True)
class BackboneLoaded:
    """The weights of a backbone are there.

    Args:
        backbone: Its label.
        spec: As JSON.
        sha256: Of the weights; empty where it is unknown.
    """

    backbone: str
    spec: str
    sha256: str


@dataclass(frozen=True)
class CellRow:
    """A cell is done, or failed.

    Args:
        row: Of the results.
        scores: Of each image; None for a cell that failed.
    """

    row: Row
    scores: Sequence[Mapping[str, Any]] | None = None


@dataclass(frozen=True)
class BackbonePasses:
    """How much went through a backbone.

    Args:
        name: Of the backbone, with its size.
        counts: ``images``, ``passes``, ``blocks``, ``blocks_without_sharing``.
    """

    name: str
    counts: Mapping[str, int] = field(default_factory=dict)


CellEvent: TypeAlias = CellStep | CellMessage | BackboneLoaded | CellRow | BackbonePasses


def run_cells(cells: Sequence[Cell], plan: BenchmarkPlan, registry: Registry, scratch: Path) -> Generator[CellEvent]:
    """Every cell of one backbone; its weights are loaded once, and features are computed once for each category.

    Args:
        cells: That wait, all of one backbone; those of a category follow each other.
        plan: For batch size, memory, device and threads that decode.
        registry: Where to look for parts.
        scratch: Folder for features that do not fit into memory; it is removed.
    """
    yield CellStep(f"loading {cells[0].backbone}")
    try:
        with warnings.catch_warnings(record=True) as raised:
            warnings.simplefilter("always")
            backbone = make_backbone(cells[0].spec.backbone, device=plan.device, registry=registry)
    except Exception as error:
        yield from _failed(cells, error)
        return
    yield from _messages(raised)
    spec = cells[0].spec.backbone.model_dump_json()
    yield BackboneLoaded(cells[0].backbone, spec, backbone.provenance.get("sha256", ""))
    tower, text_embeddings = RememberingTower(backbone.vision), SharedTextEmbeddings()
    pipelines: dict[tuple[str, str], Pipeline | Exception] = {}
    for cell in cells:
        key = pipeline_key(cell)
        if key not in pipelines:
            pipelines[key], raised = _build(cell, backbone, registry)
            yield from _messages(raised)
    images = 0
    for _, group in groupby(cells, key=lambda cell: id(cell.category)):
        read_alike: dict[Any, list[Cell]] = {}  # other bits or views are other pixels, so other features
        for cell in group:
            pipeline = pipelines[pipeline_key(cell)]
            how = (getattr(pipeline, "bits", None), getattr(pipeline, "views", None))
            read_alike.setdefault(how, []).append(cell)
        for alike in read_alike.values():
            images += yield from _run_category(alike, plan, backbone, tower, text_embeddings, pipelines, scratch)
    height, width = backbone.preprocess.size
    counts = Counter(images=images, passes=tower.images, blocks=tower.blocks_run)
    counts["blocks_without_sharing"] = tower.blocks_asked
    yield BackbonePasses(f"{cells[0].backbone} {height} x {width}", dict(counts))


def _build(
    cell: Cell, backbone: Backbone, registry: Registry
) -> tuple[Pipeline | Exception, list[warnings.WarningMessage]]:
    try:
        with warnings.catch_warnings(record=True) as raised:
            warnings.simplefilter("always")
            return build_cell(cell, backbone, registry), raised
    except Exception as error:
        return error, []


def _run_category(
    cells: Sequence[Cell],
    plan: BenchmarkPlan,
    backbone: Backbone,
    tower: RememberingTower,
    text_embeddings: SharedTextEmbeddings,
    pipelines: Mapping[tuple[str, str], Pipeline | Exception],
    scratch: Path,
) -> Generator[CellEvent, None, int]:
    """All cells of one backbone and category: features once, then cell by cell; gives how many images were read."""
    ready: list[tuple[Cell, Pipeline, str]] = []
    for cell in cells:
        pipeline = pipelines[pipeline_key(cell)]
        if isinstance(pipeline, Exception):
            yield from _failed([cell], pipeline)
        else:
            ready.append((cell, pipeline, extractor_key(pipeline, cell.detector)))
    if not ready:
        return 0
    category = cells[0].category
    normals = list({id(s): s for cell, _, _ in ready for s in cell.references}.values())
    samples = [*category.test_samples, *normals]
    index = {id(sample): i for i, sample in enumerate(samples)}
    features = SharedFeatures(
        tower,
        backbone,
        [sample.image for sample in category.test_samples],
        [sample.image for sample in normals],
        {key: pipeline.extractor for _, pipeline, key in ready},
        scratch,
        batch_size=plan.batch_size,
        memory=plan.memory_gb * 1e9,
        workers=plan.workers,
        bits=ready[0][1].bits,
        views=ready[0][1].views,
    )
    where = f"{cells[0].backbone}, {category.dataset}/{category.name}"
    try:
        for done in features.extract_steps():
            yield CellStep(f"{where}: features of {done} of {len(samples)} images")
        truth = GroundTruth(
            category.test_samples,
            features.unreadable,
            features.sizes,
            cells[0].resolution,
            saturated=category.saturated,
        )
        for problem in truth.problems:
            yield CellMessage(f"{category.dataset}/{category.name}: {problem}")
        for cell, pipeline, key in ready:
            yield CellStep(f"{where}: {cell.method}, {cell.shots} shots, seed {cell.seed}")
            references = [index[id(sample)] for sample in cell.references]
            try:
                row, scores = evaluate_cell(cell, pipeline, features, key, text_embeddings, truth, references)
            except Exception as error:  # a cell that cannot be done is a row; the others go on
                yield CellRow(row_of(cell, pipeline, status="failed", error=failure_message(error)))
            else:
                yield CellRow(row, scores)
        return len(samples) - len(features.unreadable)
    finally:
        features.close()


def _failed(cells: Sequence[Cell], error: Exception) -> Iterator[CellRow]:
    for cell in cells:
        yield CellRow(row_of(cell, status="failed", error=failure_message(error)))


def _messages(raised: Sequence[warnings.WarningMessage]) -> Iterator[CellMessage]:
    for text in dict.fromkeys(str(warning.message) for warning in raised):
        yield CellMessage(text)
