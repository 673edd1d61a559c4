"""The loop: steps, epochs, validation, and everything that must be known to go on from between two steps."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from vlmad_core.contracts.data import Scores
from vlmad_core.errors import ConfigError, VlmadError
from vlmad_core.metrics.image import auroc
from vlmad_core.training.feed import Batch, Feed
from vlmad_core.training.learner import Learner
from vlmad_core.training.options import TrainingOptions
from vlmad_core.training.plan import Draw, epoch_steps, share_of, step_seed
from vlmad_core.training.processes import Processes
from vlmad_core.training.state import Place, optimizer_state, restore_optimizer, under
from vlmad_core.training.terms import loss_terms, weighted

__all__ = ["EpochDone", "Loop", "StepDone", "autocast", "check_precision", "lr_at"]

_VALIDATION_SIDE = 64
"""Pixel metrics of the validation split are taken on about so many rows and columns of each map."""


@dataclass(frozen=True)
class StepDone:
    """The parameters moved once.

    Args:
        epoch: Which, from 1.
        values: Loss, its terms before their weights, and the learning rate.
        images: That were learned from in this step, on all devices.
        stop: Some process was asked to stop, and all know it.
    """

    epoch: int
    values: dict[str, float]
    images: int
    stop: bool


@dataclass(frozen=True)
class EpochDone:
    """Every image was seen once more.

    Args:
        epoch: Which, from 1.
        values: Mean loss, what validation said, seconds, images that went through the tower.
        stop: The validation loss has not fallen for too long.
    """

    epoch: int
    values: dict[str, float | int | None]
    stop: bool


def lr_at(step: int, total: int, options: TrainingOptions) -> float:
    """Learning rate of a step, counted from 0, of ``total`` steps.

    >>> [round(lr_at(i, 4, TrainingOptions(lr=1.0, schedule="cosine")), 3) for i in range(4)]
    [1.0, 0.854, 0.5, 0.146]
    """
    if step < options.warmup:
        return options.lr * (step + 1) / (options.warmup + 1)
    done = (step - options.warmup) / max(1, total - options.warmup)
    if options.schedule == "cosine":
        return options.lr * (1 + math.cos(math.pi * done)) / 2
    return options.lr * (1 - done) if options.schedule == "linear" else options.lr


def autocast(device: torch.device, options: TrainingOptions) -> AbstractContextManager[object]:
    """Where towers and parts compute in the chosen precision."""
    if options.precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16 if options.precision == "bf16" else torch.float16)


class Loop:
    """Steps of a training, one after another; between two of them it can be stopped and gone on with.

    Args:
        learner: What learns.
        feed: Where its batches come from.
        options: How.
        processes: Who shares the work.
        indices: Samples to learn from.
        held: Samples to validate on.
    """

    def __init__(
        self,
        learner: Learner,
        feed: Feed,
        options: TrainingOptions,
        processes: Processes,
        indices: Sequence[int],
        held: Sequence[int],
    ) -> None:
        self.learner, self.feed, self.options, self.processes = learner, feed, options, processes
        self.indices, self.held = indices, held
        self.device = learner.pipeline.backbone.device
        self.parameters = learner.parameters
        kind = torch.optim.Adam if options.optimizer == "adam" else torch.optim.AdamW
        self.optimizer = kind(
            self.parameters.values(), lr=options.lr, betas=options.betas, weight_decay=options.weight_decay
        )
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=options.precision == "fp16")
        self.size = options.batch_size * options.accumulate * processes.count
        self.total = math.ceil(len(indices) / self.size) * options.epochs
        self.place = Place()
        self.best: dict[str, Tensor] = {}
        self.asked_to_stop = False

    # -- where it stands

    def tensors(self) -> dict[str, Tensor]:
        """Everything that :meth:`restore` wants, beside the place."""
        kept: dict[str, Tensor] = {f"parameters/{name}": p for name, p in self.parameters.items()}
        kept |= {f"best/{name}": t for name, t in self.best.items()}
        return kept | {f"optimizer/{k}": t for k, t in optimizer_state(self.optimizer, self.parameters).items()}

    def restore(self, place: Place, tensors: dict[str, Tensor]) -> None:
        """Go on from there."""
        self.place = place
        self.load(under(tensors, "parameters/"))
        self.best = under(tensors, "best/")
        restore_optimizer(self.optimizer, self.parameters, under(tensors, "optimizer/"))
        if place.scaler:
            self.scaler.load_state_dict(place.scaler)

    def load(self, values: Mapping[str, Tensor]) -> None:
        """Put these numbers into the parameters."""
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(values[name])

    # -- what it does

    def run(self) -> Iterator[StepDone | EpochDone]:
        """From where it stands to the end."""
        while self.place.epoch < self.options.epochs:
            yield from self._epoch(self.place.epoch)
            done = self._end_of_epoch()
            yield done
            if done.stop:
                return

    def _epoch(self, epoch: int) -> Iterator[StepDone]:
        options, place = self.options, self.place
        plan = epoch_steps(self.indices, self.size, seed=options.seed, epoch=epoch, mosaic=options.mosaic)
        left = plan[place.step :]
        mine = [share_of(step, self.processes.index, self.processes.count, options.batch_size) for step in left]
        with closing(self.feed([batch for step in mine for batch in step])) as batches:
            for step, own in zip(left, mine, strict=True):
                started = time.perf_counter()
                done, looked = self._step(step, [next(batches) for _ in own])
                place.step += 1
                place.steps += 1
                place.loss += done.values["loss"] * done.images
                place.images += done.images
                place.looked += looked
                place.seconds += time.perf_counter() - started
                place.scaler = self.scaler.state_dict()
                yield done

    def _step(self, draws: Sequence[Draw], batches: Sequence[Batch]) -> tuple[StepDone, int]:
        """The gradient of the mean over ``draws``, however they are cut into batches and spread over devices."""
        options, place = self.options, self.place
        torch.manual_seed(step_seed(options.seed, place.epoch, place.step, self.processes.index))
        self.optimizer.zero_grad(set_to_none=True)
        names = _names(options)
        told = torch.zeros(len(names) + 2, device=self.device)  # the terms, images through the tower, wish to stop
        for batch in batches:
            share = len(batch) / len(draws)
            terms = self._terms(batch)[0]
            self.scaler.scale(weighted(terms, options) * share).backward()
            told[: len(names)] += torch.stack([terms[name].detach() for name in names]) * share
            told[-2] += batch.looked
        told[-1] = float(self.asked_to_stop)
        for parameter in self.parameters.values():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [p.grad for p in self.parameters.values() if p.grad is not None]
        self.processes.add_up([*gradients, told])
        *values, looked, wish = told.tolist()
        terms_told = dict(zip(names, values, strict=True))
        loss = sum(getattr(options, name) * value for name, value in terms_told.items())
        if not math.isfinite(loss):
            raise VlmadError(
                f"the loss is {loss} in epoch {place.epoch + 1}, step {place.step + 1}. Lower training.lr, or set "
                "training.clip=1; a state from before is kept."
            )
        lr = lr_at(place.steps, self.total, options)
        self._move(lr, gradients)
        values_told = {"epoch": place.epoch + 1, "loss": loss, **terms_told, "lr": lr}
        return StepDone(place.epoch + 1, values_told, len(draws), bool(wish)), int(looked)

    def _move(self, lr: float, gradients: Sequence[Tensor]) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.scaler.unscale_(self.optimizer)
        if self.options.clip:
            torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.options.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def _terms(self, batch: Batch, *, smooth: bool = False) -> tuple[dict[str, Tensor], Scores]:
        with autocast(self.device, self.options):
            scores = self.learner.judge(batch.seen, batch.names, smooth=smooth)
        masks = None if batch.masks is None else batch.masks.to(self.device)
        return loss_terms(scores, masks, batch.labels.to(self.device), self.options), scores

    def _end_of_epoch(self) -> EpochDone:
        place, started = self.place, time.perf_counter()
        values: dict[str, float | int | None] = {"loss": place.loss / max(1, place.images)}
        stop = False
        if self.held:
            values |= self.validate()
            lowest = values["validation_loss"]
            assert lowest is not None
            if place.best is None or lowest < place.best:
                place.best, place.best_epoch = float(lowest), place.epoch + 1
                self.best = {name: p.detach().clone() for name, p in self.parameters.items()}
            stop = 0 < self.options.patience <= place.epoch + 1 - (place.best_epoch or 0)
        values["seconds"] = round(place.seconds + time.perf_counter() - started, 4)
        values["through_tower"] = place.looked
        place.epoch += 1
        place.step = place.images = place.looked = 0
        place.loss = place.seconds = 0.0
        return EpochDone(place.epoch, values, stop)

    def validate(self) -> dict[str, float]:
        """Mean loss over the held-out images, and the area under the ROC curve of images and of pixels.

        Every process does all of it: then all agree on when to stop.
        """
        pipeline, size = self.learner.pipeline, self.options.batch_size
        pipeline.eval()
        total = 0.0
        labels, images, pixels, truth = [], [], [], []
        try:
            with torch.no_grad():
                draws = [Draw(i) for i in self.held]
                for batch in self.feed([draws[i : i + size] for i in range(0, len(draws), size)]):
                    terms, scores = self._terms(batch, smooth=True)
                    total += float(weighted(terms, self.options)) * len(batch)
                    labels.append(batch.labels)
                    images.append(scores.image.float().cpu())
                    if batch.masks is not None:
                        stride = max(1, -(-max(scores.anomaly_map.shape[-2:]) // _VALIDATION_SIDE))
                        pixels.append(scores.anomaly_map[:, ::stride, ::stride].float().cpu())
                        truth.append(batch.masks[:, ::stride, ::stride])
        finally:
            pipeline.train()
        told = {"validation_loss": total / len(self.held)}
        told["image_auroc"] = auroc(torch.cat(images).numpy(), torch.cat(labels).numpy())
        if pixels:
            told["pixel_auroc"] = auroc(torch.cat(pixels).numpy(), torch.cat(truth).numpy())
        return told


def _names(options: TrainingOptions) -> list[str]:
    """Terms that have a weight, in the order in which they are told."""
    return [name for name in ("focal", "dice", "dice_normal", "cross_entropy") if getattr(options, name)]


def check_precision(options: TrainingOptions, device: torch.device) -> None:
    """Refuse a precision that this device does not compute in.

    Raises:
        ConfigError: fp16 without a GPU.
    """
    if options.precision == "fp16" and device.type == "cpu":
        raise ConfigError("training.precision: fp16 needs a GPU; a CPU trains in bf16 or fp32.")
