"""What a training tells while it runs, and when it is done."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Progress", "TrainingReport"]


@dataclass(frozen=True)
class Progress:
    """How far it is.

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
