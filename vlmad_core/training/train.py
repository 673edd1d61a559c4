"""Train a detector: check, go on or begin, run the loop, keep states and curves, save with a record of the data."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from vlmad_core.datasets.base import Dataset
from vlmad_core.datasets.read import read_dataset
from vlmad_core.errors import ConfigError, VlmadError
from vlmad_core.pipeline.pipeline import Pipeline
from vlmad_core.registry.validate import validate
from vlmad_core.run.disk import FULL, lock
from vlmad_core.run.settings import settings_of
from vlmad_core.training.cache import FeatureCache, cache_key, choose_place
from vlmad_core.training.curves import Curves
from vlmad_core.training.feed import Feed
from vlmad_core.training.interrupt import Interrupt
from vlmad_core.training.learner import Learner
from vlmad_core.training.loop import EpochDone, Loop, StepDone, autocast, check_precision
from vlmad_core.training.options import RUN_ONLY, TrainingOptions, training_options
from vlmad_core.training.plan import hold_out
from vlmad_core.training.processes import find_processes
from vlmad_core.training.record import data_record, training_record
from vlmad_core.training.report import Progress, TrainingReport
from vlmad_core.training.samples import usable
from vlmad_core.training.state import Place, read_state, write_state
from vlmad_core.training.terms import check_scores, loss_terms, weighted

__all__ = ["train"]


def train(
    detector: Pipeline,
    data: Dataset | str | Path,
    out: str | Path,
    *,
    recipe: str | None = None,
    options: TrainingOptions | Mapping[str, Any] | None = None,
    progress: Callable[[Progress], None] | None = None,
    tell: Callable[[str], None] | None = None,
    **changes: Any,
) -> TrainingReport:
    """Train what has parameters in a detector, in place, and save it; the same call after a stop goes on.

    Args:
        detector: Made by :func:`vlmad_core.build`; its backbone stays as it is.
        data: Samples to learn from, all of them, with masks where a loss looks at pixels; or a folder, of which the
            split ``test`` is taken, as the papers do: that is where the defects are.
        out: Folder for the detector, its curves, and what a stopped training goes on from.
        recipe: Whose paper's options are the defaults.
        options: All options, or changes.
        progress: Called after each step.
        tell: Called with sentences worth knowing.
        changes: Options by name, such as ``epochs=3``.

    Raises:
        ConfigError: Options or data that do not do; ``out`` holds something else; the disk is full.
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
    return _Training(detector, data, Path(out), chosen, progress, tell or (lambda text: None)).run()


class _Training:
    """One call of :func:`train`."""

    def __init__(
        self,
        detector: Pipeline,
        data: Dataset,
        out: Path,
        options: TrainingOptions,
        progress: Callable[[Progress], None] | None,
        tell: Callable[[str], None],
    ) -> None:
        if detector.spec is None:
            raise ConfigError("this pipeline was put together by hand; build it with vlmad_core.build to train it.")
        self.detector, self.out, self.options = detector, out, options
        device = detector.backbone.device
        check_precision(options, device)
        self.learner = Learner(detector)
        self.samples = usable(data, options, tell)
        self.about = data_record(data, self.samples)
        self.progress = progress or (lambda progress: None)
        self.indices, self.held = hold_out(self.samples, options.validation, seed=options.seed)
        self.processes = find_processes(device)
        if self.processes.device is not None:
            detector.to(self.processes.device)
        self.tell = tell if self.processes.is_main else lambda text: None
        self.settings = settings_of(
            detector,
            data={name: self.about[name] for name in ("name", "images", "sha256")},
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
            with ExitStack() as stack:
                # What is drawn here is decided by the seed, and the generator of the program around it is left alone.
                stack.enter_context(torch.random.fork_rng(devices))
                out.mkdir(parents=True, exist_ok=True)
                if self.processes.is_main:
                    lock(stack.enter_context((out / ".lock").open("w")), out)
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

    def _run(self, before: tuple[Place, dict[str, torch.Tensor]] | None, started: float) -> TrainingReport:
        loop, curves = self._loop(), None
        if before is not None:
            loop.restore(*before)
        place = loop.place
        if not place.finished:
            self.tell(self._told(loop, resumed=before is not None))
        curves = Curves(
            self.out,
            steps=place.steps,
            epochs=place.epoch,
            tensorboard=self.options.tensorboard and self.processes.is_main and not place.finished,
        )
        try:
            if not place.finished:
                self._learn(loop, curves)
        finally:
            curves.close()
        record = training_record(self.about, self.options, place, curves.epochs)
        self._finish(loop, curves, record)
        return TrainingReport(
            out=self.out,
            epochs=place.epoch,
            images=len(self.indices),
            held_out=len(self.held),
            loss=record["loss"],
            validation_loss=record["validation_loss"],
            best_epoch=record["best_epoch"],
            resumed=before is not None,
            seconds=time.perf_counter() - started,
        )

    def _loop(self) -> Loop:
        """Everything built, and one picture of nothing sent through it: what cannot work is refused here."""
        detector, options, learner = self.detector, self.options, self.learner
        detector.train()
        size, device = detector.backbone.preprocess.size, detector.backbone.device
        with autocast(device, options):
            seen = learner.look(torch.zeros(1, 3, *size))
            scores = learner.judge(seen, [self.samples[0].class_name])
        check_scores(scores, options)
        masks = torch.zeros(1, *size, device=device) if options.on_pixels else None
        if not weighted(loss_terms(scores, masks, torch.zeros(1, device=device), options), options).requires_grad:
            raise ConfigError(
                "the losses do not depend on anything that learns here. Give weight to another one: focal and dice "
                "read the maps of the levels, cross_entropy the image scores."
            )
        cache = self._cache(seen.select(slice(0, 1)))
        feed = Feed(
            self.samples,
            learner,
            cache,
            masks=options.on_pixels,
            autocast=lambda: autocast(device, options),
        )
        return Loop(learner, feed, options, self.processes, self.indices, self.held)

    def _cache(self, template: Any) -> FeatureCache:
        options, backbone, spec = self.options, self.detector.backbone, self.detector.spec
        assert spec is not None
        precision = getattr(torch, options.cache_precision)
        weights = dict(backbone.provenance)
        images = self.settings["data"]
        key = cache_key(weights, spec.backbone, spec.extractor, images, options.precision, str(precision))
        each = FeatureCache("off", template, self.out, limit=0, precision=precision).bytes_each
        limit = options.cache_gb * 1e9 / self.processes.count
        asked = options.cache if self.learner.keeps else "off"
        place = choose_place(asked, each * len(self.samples), limit, self.processes.count)
        cache = FeatureCache(place, template, self.out / "cache" / key, limit=limit, precision=precision)
        if not self.learner.keeps and options.cache != "off":
            self.tell("this extractor learns and does not say what of it stays the same, so nothing is cached.")
        elif place == "disk":
            kept = min(cache.capacity * self.processes.count, len(self.samples))
            self.tell(
                f"keeps what the tower sees of {kept} of {len(self.samples)} images in {cache.folder}: "
                f"{kept * each / 1e6:,.0f} MB" + ("." if options.keep_cache else ", removed at the end.")
            )
        return cache

    def _learn(self, loop: Loop, curves: Curves) -> None:
        place, options, saved = loop.place, self.options, time.monotonic()
        total = len(self.indices) * options.epochs
        with Interrupt() as interrupt:
            for done in loop.run():
                if isinstance(done, EpochDone):
                    curves.epoch(done.epoch, done.values)
                    if done.stop:
                        self.tell(f"the validation loss has not fallen for {options.patience} epochs; stopped.")
                        break
                    continue
                curves.step(place.steps, done.values)
                self._show(done, place, total)
                loop.asked_to_stop = interrupt.asked
                if done.stop or (self.processes.count == 1 and interrupt.asked):
                    self._save(loop, curves)
                    raise KeyboardInterrupt(
                        f"stopped in epoch {place.epoch + 1} of {options.epochs}, step {place.step}; the state is safe "
                        f"in {self.out}, and the same command goes on."
                    )
                if time.monotonic() - saved >= options.minutes * 60:
                    self._save(loop, curves)
                    saved = time.monotonic()

    def _show(self, done: StepDone, place: Place, total: int) -> None:
        count = len(self.indices) * place.epoch + place.images
        self.progress(Progress(count, total, done.epoch, self.options.epochs, done.values["loss"]))

    def _save(self, loop: Loop, curves: Curves) -> None:
        if self.processes.is_main:
            curves.write()
            write_state(self.out, self.settings, loop.place, loop.tensors())
            curves.draw()

    def _finish(self, loop: Loop, curves: Curves, record: dict[str, Any]) -> None:
        """The parameters that are kept go into the detector, and all is saved: the detector first."""
        detector, cache = self.detector, loop.feed.cache
        if loop.best:
            loop.load(loop.best)
            loop.best = {}
        detector.eval()
        before = dict(detector.trained)
        if {name: value for name, value in before.items() if name != "before"} != record:
            detector.trained = {**record, "before": before} if before else record
        if self.processes.is_main:
            if not loop.place.finished or not (self.out / "detector.json").exists():
                detector.save(self.out)
            loop.place.finished = True
            curves.write()
            kept = {name: t for name, t in loop.tensors().items() if name.startswith("parameters/")}
            write_state(self.out, self.settings, loop.place, kept)
            curves.draw()
        self.processes.wait()
        if self.processes.is_main and not self.options.keep_cache:
            cache.remove()
            parent = cache.folder.parent
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()

    def _told(self, loop: Loop, *, resumed: bool) -> str:
        learned = sum(p.numel() for p in self.learner.parameters.values())
        many = f" in {self.processes.count} processes" if self.processes.count > 1 else ""
        begin = f"goes on in epoch {loop.place.epoch + 1}, step {loop.place.step + 1}: " if resumed else "learns "
        return f"{begin}{learned:,} numbers from {len(self.indices)} images{many}."
