"""What is written down with a trained detector: the data it learned from, how, and how well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vlmad_core.datasets.base import Dataset, Sample
from vlmad_core.pipeline.trained import fingerprint
from vlmad_core.training.options import RUN_ONLY, TrainingOptions
from vlmad_core.training.state import Place
from vlmad_core.version import __version__

__all__ = ["data_record", "training_record"]


def data_record(data: Dataset, samples: Sequence[Sample]) -> dict[str, Any]:
    """Which images: names, numbers and hashes, no path of this machine."""
    groups = {name: [s for s in samples if s.category == name] for name in data.categories}
    groups = {name: group for name, group in groups.items() if group}
    return {
        "name": data.name,
        "folder": data.root.name if data.root is not None else None,
        "splits": sorted({sample.split for sample in samples}),
        "categories": {name: len(group) for name, group in groups.items()},
        "category_sha256": {name: fingerprint(group) for name, group in groups.items()},
        "images": len(samples),
        "sha256": fingerprint(samples),
    }


def training_record(
    data: Mapping[str, Any], options: TrainingOptions, place: Place, epochs: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """For ``detector.trained``; see :mod:`vlmad_core.pipeline.trained`.

    Args:
        data: From :func:`data_record`.
        options: How it learned.
        place: At the end.
        epochs: Rows of the epochs, of which that of the kept parameters is told.
    """
    best = place.best_epoch or place.epoch
    row = next((row for row in epochs if row["epoch"] == best), {})
    return {
        "how": "trained",
        "data": dict(data),
        "epochs": place.epoch,
        "best_epoch": best,
        "seed": options.seed,
        "loss": row.get("loss"),
        "validation_loss": place.best,
        "options": options.model_dump(mode="json", exclude=set(RUN_ONLY)),
        "vlmad": __version__,
    }
