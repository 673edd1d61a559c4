"""What a training writes down: its progress, its report, and the record of the data that is saved with the detector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlmad_core.datasets.base import Dataset, Sample
from vlmad_core.datasets.content import contents_of, fingerprint
from vlmad_core.training.options import RUN_ONLY, TrainingOptions
from vlmad_core.training.state import Position
from vlmad_core.version import __version__

__all__ = ["TrainingProgress", "TrainingReport", "data_record", "training_record"]


@dataclass(frozen=True)
class TrainingProgress:
    """How far a training is.

    Args:
        done: Images learned from, each counted once an epoch.
        total: Of them in all epochs.
        epoch: Present epoch, from 1.
        epochs: Of them in all.
        loss: Of the last step.
    """

    done: int
    total: int
    epoch: int
    epochs: int
    loss: float


@dataclass(frozen=True)
class TrainingReport:
    """What a training did.

    Args:
        out: Folder with the detector, the curves and the record.
        epochs: That were done, of all parts of the run.
        images: That were learned from in each.
        held_out: That were validated on.
        loss: Mean over the epoch whose parameters were kept.
        validation_loss: Of the epoch whose parameters were kept; None without a validation split.
        best_epoch: Which epoch that is; the last one without a validation split.
        resumed: An earlier part of the run was gone on from.
        seconds: Of this part of the run.
    """

    out: Path
    epochs: int
    images: int
    held_out: int
    loss: float
    validation_loss: float | None
    best_epoch: int
    resumed: bool
    seconds: float


def data_record(data: Dataset, samples: Sequence[Sample]) -> dict[str, Any]:
    """Which images: names, numbers and hashes of their content; no path of this machine."""
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.category, []).append(sample)
    return {
        "name": data.name,
        "folder": data.root.name if data.root is not None else None,
        "splits": sorted({sample.split for sample in samples}),
        "categories": {name: len(group) for name, group in groups.items()},
        "category_sha256": {name: fingerprint(group) for name, group in groups.items()},
        "images": len(samples),
        "sha256": fingerprint(samples),
        "contents": sorted({one for group in groups.values() for one in contents_of(group)}),
    }


def training_record(
    data: Mapping[str, Any], options: TrainingOptions, position: Position, epochs: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """For ``detector.trained``; see :mod:`vlmad_core.pipeline.trained`.

    Args:
        data: From :func:`data_record`.
        options: How it learned.
        position: At the end.
        epochs: Rows of the epochs; that of the kept parameters gives the loss.
    """
    best = position.best_epoch or position.epoch
    row = next((row for row in epochs if row["epoch"] == best), {})
    return {
        "how": "trained",
        "data": dict(data),
        "epochs": position.epoch,
        "best_epoch": best,
        "seed": options.seed,
        "loss": row.get("loss"),
        "validation_loss": position.best,
        "options": options.model_dump(mode="json", exclude=set(RUN_ONLY)),
        "vlmad": __version__,
    }
