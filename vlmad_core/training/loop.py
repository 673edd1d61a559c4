"""The loop: steps, epochs, validation, and everything that is needed to go on from between two steps."""

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
from vlmad_core.training.data import Item, epoch_steps, shard, step_seed
from vlmad_core.training.data_loader import Batch, DataLoader
from vlmad_core.training.losses import batch_losses, loss_names, total_loss
from vlmad_core.training.model import TrainableModel
from vlmad_core.training.options import TrainingOptions
from vlmad_core.training.processes import Processes
from vlmad_core.training.state import Position, optimizer_state, restore_optimizer, with_prefix

__all__ = ["EpochDone", "Loop", "StepDone", "autocast", "check_precision", "lr_at"]

_VALIDATION_SIDE = 64
"""Pixel metrics of the validation split are taken on about so many rows and columns of each map."""


@dataclass(frozen=True)
class StepDone:
    """The parameters moved once.

    Args:
        epoch: Which, from 1.
        values: Total loss, each loss before its weight, and the learning rate.
        images: That were learned from in this step, on all devices.
        stop: Some process was asked to stop, and all processes know it.
    """

    epoch: int
    values: dict[str, float]
    images: int
    stop: bool


@dataclass(frozen=True)
class EpochDone:
    """Every image was learned from once more.

    Args:
        epoch: Which, from 1.
        values: Mean loss, results of the validation, seconds, images that went through the backbone.
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
    """The context in which backbone and parts compute in the chosen precision."""
    if options.precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16 if options.precision == "bf16" else torch.float16)


class Loop:
    """Steps of a training, one after another; between two of them it can be stopped and gone on with.

    Args:
        model: What learns.
        data_loader: Where its batches come from.
        options: How.
        processes: Those that share the work.
        indices: Samples to learn from.
        validation: Samples to validate on.
    """

    def __init__(
        self,
        model: TrainableModel,
        data_loader: DataLoader,
        options: TrainingOptions,
        processes: Processes,
        indices: Sequence[int],
        validation: Sequence[int],
    ) -> None:
        self.model, self.data_loader, self.options, self.processes = model, data_loader, options, processes
        self.indices, self.validation = indices, validation
        self.device = model.pipeline.backbone.device
        self.parameters = model.parameters
        kind = torch.optim.Adam if options.optimizer == "adam" else torch.optim.AdamW
        self.optimizer = kind(
            self.parameters.values(), lr=options.lr, betas=options.betas, weight_decay=options.weight_decay
        )
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=options.precision == "fp16")
        self.size = options.batch_size * options.accumulate * processes.count
        self.total = math.ceil(len(indices) / self.size) * options.epochs
        self.position = Position()
        self.best: dict[str, Tensor] = {}
        self.asked_to_stop = False

    # -- its state

    def tensors(self) -> dict[str, Tensor]:
        """Everything that :meth:`restore` wants, beside the position."""
        kept: dict[str, Tensor] = {f"parameters/{name}": p for name, p in self.parameters.items()}
        kept |= {f"best/{name}": t for name, t in self.best.items()}
        return kept | {f"optimizer/{k}": t for k, t in optimizer_state(self.optimizer, self.parameters).items()}

    def restore(self, position: Position, tensors: dict[str, Tensor]) -> None:
        """Go on from there."""
        self.position = position
        self.load(with_prefix(tensors, "parameters/"))
        self.best = with_prefix(tensors, "best/")
        restore_optimizer(self.optimizer, self.parameters, with_prefix(tensors, "optimizer/"))
        if position.scaler:
            self.scaler.load_state_dict(position.scaler)

    def load(self, values: Mapping[str, Tensor]) -> None:
        """Put these numbers into the parameters."""
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(values[name])

    # -- steps and epochs

    def run(self) -> Iterator[StepDone | EpochDone]:
        """From the present position to the end."""
        while self.position.epoch < self.options.epochs and not self.position.stopped:
            yield from self._epoch(self.position.epoch)
            done = self._end_of_epoch()
            yield done

    def _epoch(self, epoch: int) -> Iterator[StepDone]:
        options, position, processes = self.options, self.position, self.processes
        plan = epoch_steps(self.indices, self.size, seed=options.seed, epoch=epoch, mosaic=options.mosaic)
        left = plan[position.step :]
        own = [shard(step, processes.index, processes.count, options.batch_size) for step in left]
        with closing(self.data_loader([batch for step in own for batch in step])) as batches:
            for step, items in zip(left, own, strict=True):
                started = time.perf_counter()
                done, encoded = self._step(step, [next(batches) for _ in items])
                position.step += 1
                position.steps += 1
                position.loss += done.values["loss"] * done.images
                position.images += done.images
                position.encoded += encoded
                position.seconds += time.perf_counter() - started
                position.scaler = self.scaler.state_dict()
                yield done

    def _step(self, items: Sequence[Item], batches: Sequence[Batch]) -> tuple[StepDone, int]:
        """The gradient of the mean over ``items``, however they are cut into batches and spread over devices."""
        options, position = self.options, self.position
        torch.manual_seed(step_seed(options.seed, position.epoch, position.step, self.processes.index))
        self.optimizer.zero_grad(set_to_none=True)
        names = loss_names(options)
        losses = torch.zeros(len(names), device=self.device)
        counts = torch.zeros(2, device=self.device)  # images that were encoded, votes to stop
        for batch in batches:
            share = len(batch) / len(items)
            batch_loss = self._losses(batch)[0]
            self.scaler.scale(total_loss(batch_loss, options) * share).backward()
            losses += torch.stack([batch_loss[name].detach() for name in names]) * share
            counts[0] += batch.encoded
        counts[1] = float(self.asked_to_stop)
        for parameter in self.parameters.values():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [p.grad for p in self.parameters.values() if p.grad is not None]
        self.processes.all_reduce([*gradients, losses, counts])
        n_encoded, n_stop_votes = counts.tolist()
        values = dict(zip(names, losses.tolist(), strict=True))
        loss = sum(getattr(options, name) * value for name, value in values.items())
        if not math.isfinite(loss):
            raise VlmadError(
                f"the loss is {loss} in epoch {position.epoch + 1}, step {position.step + 1}. Lower training.lr, or "
                "set training.clip=1; a state from before is kept."
            )
        lr = lr_at(position.steps, self.total, options)
        self._update(lr)
        reported = {"epoch": position.epoch + 1, "loss": loss, **values, "lr": lr}
        return StepDone(position.epoch + 1, reported, len(items), bool(n_stop_votes)), int(n_encoded)

    def _update(self, lr: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.scaler.unscale_(self.optimizer)
        if self.options.clip:
            torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.options.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def _losses(self, batch: Batch, *, smooth: bool = False) -> tuple[dict[str, Tensor], Scores]:
        labels, own = batch.labels.to(self.device), dict[str, Tensor]()
        with autocast(self.device, self.options):
            if self.options.part_losses:
                scores, own = self.model.score_with_losses(batch.features, batch.class_names, labels, smooth=smooth)
            else:
                scores = self.model.score(batch.features, batch.class_names, smooth=smooth)
        masks = None if batch.masks is None else batch.masks.to(self.device)
        return batch_losses(scores, masks, labels, self.options, own), scores

    def _end_of_epoch(self) -> EpochDone:
        position, started = self.position, time.perf_counter()
        values: dict[str, float | int | None] = {"loss": position.loss / max(1, position.images)}
        if self.validation:
            values |= self.validate()
            lowest = values["validation_loss"]
            assert lowest is not None
            if position.best is None or lowest < position.best:
                position.best, position.best_epoch = float(lowest), position.epoch + 1
                self.best = {name: p.detach().clone() for name, p in self.parameters.items()}
            position.stopped = 0 < self.options.patience <= position.epoch + 1 - (position.best_epoch or 0)
        values["seconds"] = round(position.seconds + time.perf_counter() - started, 4)
        values["through_tower"] = position.encoded
        position.epoch += 1
        position.step = position.images = position.encoded = 0
        position.loss = position.seconds = 0.0
        return EpochDone(position.epoch, values, position.stopped)

    def validate(self) -> dict[str, float]:
        """Mean loss over the validation images, and the area under the ROC curve of images and of pixels.

        Every process does all of it: then all agree on when to stop.
        """
        pipeline, size = self.model.pipeline, self.options.batch_size
        pipeline.eval()
        total = 0.0
        labels, image_scores, maps, masks = [], [], [], []
        try:
            with torch.no_grad():
                items = [Item(i) for i in self.validation]
                for batch in self.data_loader([items[i : i + size] for i in range(0, len(items), size)]):
                    losses, scores = self._losses(batch, smooth=True)
                    total += float(total_loss(losses, self.options)) * len(batch)
                    labels.append(batch.labels)
                    image_scores.append(scores.image.float().cpu())
                    if batch.masks is not None:
                        stride = max(1, -(-max(scores.anomaly_map.shape[-2:]) // _VALIDATION_SIDE))
                        maps.append(scores.anomaly_map[:, ::stride, ::stride].float().cpu())
                        masks.append(batch.masks[:, ::stride, ::stride])
        finally:
            pipeline.train()
        values = {"validation_loss": total / len(self.validation)}
        values["image_auroc"] = auroc(torch.cat(image_scores).numpy(), torch.cat(labels).numpy())
        if maps:
            values["pixel_auroc"] = auroc(torch.cat(maps).numpy(), torch.cat(masks).numpy())
        return values


def check_precision(options: TrainingOptions, device: torch.device) -> None:
    """Refuse a precision that this device does not compute in.

    Raises:
        ConfigError: fp16 without a GPU.
    """
    if options.precision == "fp16" and device.type == "cpu":
        raise ConfigError("training.precision: fp16 needs a GPU; a CPU trains in bf16 or fp32.")
