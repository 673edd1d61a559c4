"""Train a detector: check, go on or begin, run the loop, keep states and curves, save with a record of the data."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from vlmad_core.contracts.data import Features
from vlmad_core.datasets.base import Dataset
from vlmad_core.datasets.read import read_dataset
from vlmad_core.errors import ConfigError, VlmadError
from vlmad_core.files import FULL, LockedFolder
from vlmad_core.pipeline.pipeline import Pipeline
from vlmad_core.registry.validate import validate
from vlmad_core.run.settings import settings_of
from vlmad_core.training.cache import FeatureCache, cache_key, choose_storage
from vlmad_core.training.curves import Curves
from vlmad_core.training.data import Mosaics, split_validation, usable_samples
from vlmad_core.training.data_loader import DataLoader
from vlmad_core.training.loop import EpochDone, Loop, StepDone, autocast, check_precision
from vlmad_core.training.losses import batch_losses, check_scores, total_loss
from vlmad_core.training.model import TrainableModel
from vlmad_core.training.options import RUN_ONLY, TrainingOptions, training_options
from vlmad_core.training.processes import StopSignal, find_processes
from vlmad_core.training.report import TrainingProgress, TrainingReport, data_record, training_record
from vlmad_core.training.state import Position, read_state, write_state

__all__ = ["train"]


def train(
    detector: Pipeline,
    data: Dataset | str | Path,
    out: str | Path,
    *,
    recipe: str | None = None,
    options: TrainingOptions | Mapping[str, Any] | None = None,
    progress: Callable[[TrainingProgress], None] | None = None,
    on_message: Callable[[str], None] | None = None,
    **changes: Any,
) -> TrainingReport:
    """Train what has parameters in a detector, in place, and save it; the same call after a stop goes on.

    Args:
        detector: Made by :func:`vlmad_core.build`; its backbone stays as it is.
        data: Samples to learn from, all of them, with masks where a loss reads pixels; or a folder, of which the split
            ``test`` is taken, as the papers do: that is where the defects are.
        out: Folder for the detector, its curves, and what a stopped training goes on from.
        recipe: Whose paper's options are the defaults.
        options: All options, or changes.
        progress: Called after each step.
        on_message: Called with sentences worth knowing.
        changes: Options by name, such as ``epochs=3``.

    Raises:
        ConfigError: Options or data that cannot be used; ``out`` holds something else; the disk is full.
        IncompatibleError: Nothing here learns, or its scores are no probabilities.
        ImageError: An image or a mask cannot be read.
        KeyboardInterrupt: Stopped between two steps; the state is safe, and the same call goes on.

    >>> detector = vlmad_core.build("anomalyclip", backbone="pocket")  # doctest: +SKIP
    >>> vlmad_core.train(detector, "data/mvtec", "out", recipe="anomalyclip", epochs=3)  # doctest: +SKIP
    """
    if isinstance(options, TrainingOptions):
        chosen = validate(TrainingOptions, {**options.model_dump(), **changes}, "training", "training")
    else:
        chosen = training_options(recipe, {**(options or {}), **changes})
    if not isinstance(data, Dataset):
        data = read_dataset(data).select(split="test")
    return _Training(detector, data, Path(out), chosen, progress, on_message or (lambda text: None)).run()


class _Training:
    """One call of :func:`train`."""

    def __init__(
        self,
        detector: Pipeline,
        data: Dataset,
        out: Path,
        options: TrainingOptions,
        progress: Callable[[TrainingProgress], None] | None,
        on_message: Callable[[str], None],
    ) -> None:
        if detector.spec is None:
            raise ConfigError("this pipeline was put together by hand; build it with vlmad_core.build to train it.")
        if detector.views is not None:
            raise ConfigError(
                "training reads every image at the backbone's own size. Build the detector without image_size 'fit', "
                "scales and tiles, train it, and set them when it is loaded: load(folder, overrides={'tiles': 'auto'}) "
                "or --tiles auto."
            )
        self.detector, self.out, self.options = detector, out, options
        device = detector.backbone.device
        check_precision(options, device)
        self.model = TrainableModel(detector)
        self.samples = usable_samples(data, options, on_message)
        self.data = data_record(data, self.samples)
        self.progress = progress or (lambda progress: None)
        self.indices, self.validation = split_validation(self.samples, options.validation, seed=options.seed)
        self.processes = find_processes(device)
        if self.processes.device is not None:
            detector.to(self.processes.device)
        self.on_message = on_message if self.processes.is_main else lambda text: None
        self.settings = settings_of(
            detector,
            data={name: self.data[name] for name in ("name", "images", "sha256")},
            training=options.model_dump(mode="json", exclude=set(RUN_ONLY)),
            processes=self.processes.count,
        )

    def run(self) -> TrainingReport:
        """All of it, or the rest of it."""
        started, out = time.perf_counter(), self.out
        if out.exists() and not out.is_dir():
            raise ConfigError(f"{out}: is a file; --out must name a folder.")
        before = read_state(out, self.settings)  # refuses before anything is made or changed
        devices = [self.detector.backbone.device] if self.detector.backbone.device.type == "cuda" else []
        was_training = self.detector.training
        try:
            # The seed decides all random numbers in here, and the generator of the program around it is left alone.
            with torch.random.fork_rng(devices), LockedFolder(out) if self.processes.is_main else nullcontext():
                return self._run(before, started)
        except OSError as error:
            if isinstance(error, VlmadError) or error.errno not in FULL:
                raise
            raise ConfigError(
                f"{out}: the disk is full. Free some space, or say --set training.cache=off; the same command goes on "
                "from the last state."
            ) from error
        finally:
            self.detector.train(was_training)

    def _run(self, before: tuple[Position, dict[str, torch.Tensor]] | None, started: float) -> TrainingReport:
        loop = self._loop()
        if before is not None:
            loop.restore(*before)
        position = loop.position
        if not position.finished:
            self.on_message(self._start_message(loop, resumed=before is not None))
        curves = Curves(
            self.out,
            steps=position.steps,
            epochs=position.epoch,
            tensorboard=self.options.tensorboard and self.processes.is_main and not position.finished,
        )
        try:
            if not position.finished:
                self._learn(loop, curves)
        finally:
            curves.close()
        record = training_record(self.data, self.options, position, curves.epochs)
        self._finish(loop, curves, record)
        return TrainingReport(
            out=self.out,
            epochs=position.epoch,
            images=len(self.indices),
            held_out=len(self.validation),
            loss=record["loss"],
            validation_loss=record["validation_loss"],
            best_epoch=record["best_epoch"],
            resumed=before is not None,
            seconds=time.perf_counter() - started,
        )

    def _loop(self) -> Loop:
        """Everything built, and one empty image sent through it: what cannot work is refused here."""
        detector, options, model = self.detector, self.options, self.model
        detector.train()
        size, device = detector.backbone.preprocess.size, detector.backbone.device
        with autocast(device, options):
            features = model.encode(torch.zeros(1, 3, *size))
            label = torch.zeros(1, device=device)
            if options.part_losses:
                scores, own = model.score_with_losses(features, [self.samples[0].class_name], label)
            else:
                scores, own = model.score(features, [self.samples[0].class_name]), {}
        check_scores(scores, options)
        if options.part_losses and not own:
            raise ConfigError(
                "training.part_losses has weight, and no part here brings losses of its own; prompts and scorer "
                "'captions' do. Set training.part_losses=0."
            )
        masks = torch.zeros(1, *size, device=device) if options.on_pixels else None
        losses = batch_losses(scores, masks, label, options, own)
        if not total_loss(losses, options).requires_grad:
            raise ConfigError(
                "the losses do not depend on anything that learns here. Give weight to another one: focal and dice "
                "read the maps of the levels, cross_entropy the image scores, part_losses what the parts bring."
            )
        data_loader = DataLoader(
            self.samples,
            model,
            self._cache(features.select(slice(0, 1))),
            Mosaics(self.samples, self.indices, bits=detector.preprocess.bits),
            masks=options.on_pixels,
            autocast=lambda: autocast(device, options),
            workers=options.workers,
        )
        return Loop(model, data_loader, options, self.processes, self.indices, self.validation)

    def _cache(self, template: Features) -> FeatureCache:
        options, backbone, spec = self.options, self.detector.backbone, self.detector.spec
        assert spec is not None
        precision = getattr(torch, options.cache_precision)
        weights = dict(backbone.provenance)
        images = self.settings["data"]
        bits = self.detector.preprocess.bits
        key = cache_key(weights, spec.backbone, spec.extractor, images, options.precision, str(precision), bits)
        each = FeatureCache("off", template, self.out, limit=0, precision=precision).bytes_each
        limit = options.cache_gb * 1e9 / self.processes.count
        chosen = options.cache if self.model.cacheable else "off"
        storage = choose_storage(chosen, each * len(self.samples), limit, self.processes.count)
        cache = FeatureCache(storage, template, self.out / "cache" / key, limit=limit, precision=precision)
        if not self.model.cacheable and options.cache != "off":
            self.on_message("this extractor learns and does not say what of it stays the same, so nothing is cached.")
        elif storage == "disk":
            kept = min(cache.capacity * self.processes.count, len(self.samples))
            self.on_message(
                f"keeps the features of {kept} of {len(self.samples)} images in {cache.folder}: "
                f"{kept * each / 1e6:,.0f} MB" + ("." if options.keep_cache else ", removed at the end.")
            )
        return cache

    def _learn(self, loop: Loop, curves: Curves) -> None:
        position, options, saved = loop.position, self.options, time.monotonic()
        total = len(self.indices) * options.epochs
        with StopSignal() as signal:
            for done in loop.run():
                if isinstance(done, EpochDone):
                    curves.epoch(done.epoch, done.values)
                    if done.stop:
                        self.on_message(f"the validation loss has not fallen for {options.patience} epochs; stopped.")
                    continue
                curves.step(position.steps, done.values)
                self._show(done, position, total)
                loop.asked_to_stop = signal.received
                if done.stop or (self.processes.count == 1 and signal.received):
                    self._save(loop, curves)
                    raise KeyboardInterrupt(
                        f"stopped in epoch {position.epoch + 1} of {options.epochs}, step {position.step}; the state "
                        f"is safe in {self.out}, and the same command goes on."
                    )
                if time.monotonic() - saved >= options.minutes * 60:
                    self._save(loop, curves)
                    saved = time.monotonic()

    def _show(self, done: StepDone, position: Position, total: int) -> None:
        count = len(self.indices) * position.epoch + position.images
        self.progress(TrainingProgress(count, total, done.epoch, self.options.epochs, done.values["loss"]))

    def _save(self, loop: Loop, curves: Curves) -> None:
        if self.processes.is_main:
            curves.write()
            write_state(self.out, self.settings, loop.position, loop.tensors())
            curves.draw()

    def _finish(self, loop: Loop, curves: Curves, record: dict[str, Any]) -> None:
        """The parameters that are kept go into the detector, and all is saved.

        A state comes first, then the detector, then the state that says so: a kill between any two of them leaves
        something that the same command goes on from.
        """
        detector, cache = self.detector, loop.data_loader.cache
        write = self.processes.is_main and (not loop.position.finished or not (self.out / "detector.json").exists())
        if write and not loop.position.finished:
            curves.write()
            write_state(self.out, self.settings, loop.position, loop.tensors())
        if loop.best:
            loop.load(loop.best)
            loop.best = {}
        detector.eval()
        before = dict(detector.trained)
        if {name: value for name, value in before.items() if name != "before"} != record:
            detector.trained = {**record, "before": before} if before else record
        if write:
            detector.save(self.out)
        if self.processes.is_main:
            loop.position.finished = True
            curves.write()
            kept = {name: t for name, t in loop.tensors().items() if name.startswith("parameters/")}
            write_state(self.out, self.settings, loop.position, kept)
            curves.draw()
        self.processes.wait()
        if self.processes.is_main and not self.options.keep_cache:
            cache.remove()
            parent = cache.folder.parent
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()

    def _start_message(self, loop: Loop, *, resumed: bool) -> str:
        count = sum(p.numel() for p in self.model.parameters.values())
        many = f" in {self.processes.count} processes" if self.processes.count > 1 else ""
        position = loop.position
        begin = f"goes on in epoch {position.epoch + 1}, step {position.step + 1}: " if resumed else "learns "
        return f"{begin}{count:,} parameters from {len(self.indices)} images{many}."
