"""The test as a whole: plan, conditions one by one into a folder that survives any interruption, then the report."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from vlmad_core.errors import ConfigError
from vlmad_core.files import JsonLines, LockedFolder, differences, mark_written, read_record, write_record
from vlmad_robustness.adversary import attack, learn_and_apply, targets, transfer
from vlmad_robustness.attack import to_bytes
from vlmad_robustness.data import Images, Source, balanced, load
from vlmad_robustness.measure import Measured, measure
from vlmad_robustness.plan import Cell, Plan, Speed, cells_of, make_plan
from vlmad_robustness.remedy import Averaged
from vlmad_robustness.subject import Subject

__all__ = ["Outcome", "Progress", "Run", "run_robustness"]

RECORD, CELLS, ATTACKED = "robustness.json", "cells.jsonl", "attacked"
_FORMAT = 1
_LEARN = 8
"""Images that a universal perturbation is learned on, at most."""


@dataclass(frozen=True)
class Progress:
    """What is done, after each condition.

    Args:
        cell: Just done.
        done: Conditions, of ``total``.
        total: Conditions of the plan.
        seconds_left: By the speed so far; None before anything is known.
    """

    cell: str
    done: int
    total: int
    seconds_left: float | None


@dataclass(frozen=True)
class Run:
    """What is tested.

    Args:
        subject: The detector.
        source: Images.
        settings: What decides the results, compared when a run goes on.
        others: Detectors for the transfer, by name; made when they are needed.
        remedy: Makes the remedied detector; None: the mean of mild views.
    """

    subject: Subject
    source: Source
    settings: Mapping[str, Any]
    others: Mapping[str, Callable[[], Subject]]
    remedy: Callable[[], Subject] | None


@dataclass(frozen=True)
class Outcome:
    """What the folder holds now.

    Args:
        plan: That it follows.
        cells: Of the plan, in order.
        measured: Results by the id of their condition.
        images: Test images, all of the plan.
        speed: Seconds an image, as measured at the start.
        skipped: Conditions that are not measured, with the reason.
        remedy: Name of the remedied detector and its price, where it was measured.
    """

    plan: Plan
    cells: tuple[Cell, ...]
    measured: Mapping[str, Measured]
    images: Images
    speed: Speed
    skipped: Mapping[str, str]
    remedy: Mapping[str, Any]


def run_robustness(
    run: Run,
    out: Path,
    *,
    minutes: float,
    quick: bool = False,
    transfers: Sequence[str] = (),
    steps: int | None = None,
    restarts: int | None = None,
    attack_images: int | None = None,
    overwrite: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> Outcome:
    """Test a detector.

    Args:
        run: What.
        out: Folder; a run that stopped goes on there, by the plan that it began with.
        minutes: Time for this call; what does not fit is listed as not tested, and the same call later completes it.
        quick: A small plan.
        transfers: Names in ``run.others`` to try adversarial images on.
        steps: Of attacks; None: what fits.
        restarts: Likewise.
        attack_images: Likewise.
        overwrite: Begin anew.
        progress: Called after each condition.

    Raises:
        ConfigError: ``out`` holds results of other settings, or another process is writing there.
    """
    started = time.perf_counter()
    tests = run.source.tests
    labels = [bool(sample.label) for sample in tests]
    with LockedFolder(out):
        record = None if overwrite else read_record(out / RECORD, format=_FORMAT)
        if record is None:
            _clear(out)
            speed = _speed(run)
            left = minutes * 60 - (time.perf_counter() - started)
            plan = make_plan(
                speed,
                max(left, 30.0),
                labels,
                quick=quick,
                transfer=transfers,
                steps=steps,
                restarts=restarts,
                attack_images=attack_images,
            )
            record = {"format": _FORMAT, "settings": dict(run.settings), "plan": plan.record(), "remedy": {}}
            record["speed"] = {"forward": speed.forward, "gradient": speed.gradient}
            write_record(out / RECORD, record)
            mark_written(out, RECORD, CELLS, ATTACKED, "pictures", "report.md", "report.json")
        elif changed := differences(record["settings"], json.loads(json.dumps(dict(run.settings)))):
            raise ConfigError(f"{out}: holds a test of other settings: {changed}. Use another --out, or --overwrite.")
        plan, speed = Plan.from_record(record["plan"]), Speed(**record["speed"])
        chosen = balanced(labels, plan.images)
        side = min(run.subject.size)
        images = load([tests[i] for i in chosen], side, bits=run.subject.pipeline.bits)
        cells = tuple(cells_of(plan))
        lines = JsonLines(out / CELLS, lambda line: Measured.from_record(json.loads(line)), _dump, "a condition")
        try:
            work = _Work(run, plan, images, out, {one.cell: one for one in lines.items}, dict(record["remedy"]))
            waiting = [cell for cell in cells if cell.id not in work.measured]
            spent, cost = 0.0, 0.0
            for number, cell in enumerate(waiting):
                if time.perf_counter() - started > minutes * 60 and work.measured:
                    for late in waiting[number:]:
                        work.skipped[late.id] = "the time was up; the same command with more --minutes completes it"
                    break
                before = time.perf_counter()
                measured = work.measure(cell)
                if measured is not None:
                    done = replace(measured, seconds=time.perf_counter() - before)
                    lines.append(done)
                    work.measured[cell.id] = done
                if work.remedy != record["remedy"]:
                    record["remedy"] = work.remedy
                    write_record(out / RECORD, record)
                spent, cost = spent + time.perf_counter() - before, cost + cell.cost
                if progress is not None:
                    rest = sum(later.cost for later in waiting[number + 1 :])
                    total = len(cells)
                    progress(Progress(cell.id, total - len(waiting) + number + 1, total, rest * spent / cost))
        finally:
            lines.close()
    return Outcome(plan, cells, work.measured, images, speed, work.skipped, work.remedy)


class _Work:
    """Measures conditions; makes the other detectors when the first condition needs them."""

    def __init__(
        self,
        run: Run,
        plan: Plan,
        images: Images,
        out: Path,
        measured: dict[str, Measured],
        remedy: dict[str, Any],
    ) -> None:
        self.run, self.plan, self.images, self.out = run, plan, images, out
        self.measured, self.remedy = measured, remedy
        self.skipped: dict[str, str] = {}
        self._others: dict[str, Subject] = {}
        self._same_score: bool | None = None

    def measure(self, cell: Cell) -> Measured | None:
        """The numbers of a condition, or None with an entry in ``skipped``."""
        everything = list(range(len(self.images)))
        if cell.kind in ("clean", "corruption"):
            return measure(self.run.subject, cell, self.images, everything)
        if cell.kind == "worst":
            return measure(self.run.subject, cell, self.images, self._some(self.plan.worst_images))
        if cell.kind == "remedy":
            return self._remedy(cell)
        return self._attack(cell)

    def _attack(self, cell: Cell) -> Measured | None:
        clean = self.measured["clean:working size:0"]
        chosen = targets(clean, self.images.labels, cell.direction, self.plan.attack_images)
        if not chosen:
            kind = "defective image has an alarm" if cell.direction == "hide" else "normal image is without an alarm"
            self.skipped[cell.id] = f"no {kind} to begin with"
            return None
        subject, folder = self.run.subject, self.out / ATTACKED
        if not self._attacks_the_score(chosen[0]):
            self.skipped[cell.id] = "the detector reads an image in several views, and attacks are on one view alone"
            return None
        if cell.kind == "attack":
            return attack(subject, cell, self.plan, self.images, chosen, folder)
        if cell.kind == "transfer" and cell.name not in self.run.others:
            self.skipped[cell.id] = f"the run began with --transfer {cell.name}; give it again"
            return None
        if cell.kind == "transfer":
            return transfer(self._other(cell.name), cell, self.images, chosen, folder)
        learn = self._learn(cell.direction, chosen)
        if learn is None or not len(learn):
            self.skipped[cell.id] = "there is no other image to learn a universal perturbation on"
            return None
        return learn_and_apply(subject, cell, self.plan, learn, self.images, chosen, folder)

    def _attacks_the_score(self, index: int) -> bool:
        """Whether the differentiable score of an image at one size is the score that is judged."""
        if self._same_score is None:
            subject = self.run.subject
            pixels = subject.pixels([Image.fromarray(self.images.pictures[index])])
            with torch.no_grad():
                direct = float(subject.objective()(pixels)[0])
            (judged,) = subject.judge(iter([one.numpy() for one in to_bytes(pixels)]))
            self._same_score = abs(direct - judged.score) <= 1e-3 * max(1.0, abs(judged.score))
        return self._same_score

    def _learn(self, direction: str, chosen: Sequence[int]) -> Images | None:
        """Images of the attacked label that are not attacked: of other categories first, then of this one."""
        wanted = direction == "hide"
        side = min(self.run.subject.size)
        others = [sample for sample in self.run.source.others if bool(sample.label) is wanted]
        if not others and not wanted:
            others = list(self.run.source.normals)
        if others:
            picked = [others[i * len(others) // min(_LEARN, len(others))] for i in range(min(_LEARN, len(others)))]
            return load(picked, side, bits=self.run.subject.pipeline.bits)
        rest = [i for i, label in enumerate(self.images.labels) if bool(label) is wanted and i not in set(chosen)]
        return self.images.select(rest[:_LEARN]) if rest else None

    def _remedy(self, cell: Cell) -> Measured | None:
        if self.run.remedy is None:
            subject: Subject = Averaged.of(self.run.subject)
        else:
            subject = self._made("remedy", self.run.remedy)
        plain = Cell("corruption", cell.name, cell.level) if cell.level else Cell("clean", cell.name)
        indices = self._some(self.plan.remedy_images)
        before = time.perf_counter()
        done = replace(measure(subject, plain, self.images, indices), cell=cell.id)
        if not self.remedy.get("seconds"):
            seconds = (time.perf_counter() - before) / len(indices)
            before = time.perf_counter()
            measure(self.run.subject, plain, self.images, indices)
            self.remedy |= {
                "name": subject.name,
                "seconds": seconds,
                "seconds_before": (time.perf_counter() - before) / len(indices),
                "numbers": _numbers(subject),
                "numbers_before": _numbers(self.run.subject),
                "threshold": subject.rule.threshold,
                "threshold_before": self.run.subject.rule.threshold,
            }
        return done

    def _other(self, name: str) -> Subject:
        return self._made(name, self.run.others[name])

    def _made(self, name: str, make: Callable[[], Subject]) -> Subject:
        if name not in self._others:
            self._others[name] = make()
        return self._others[name]

    def _some(self, count: int) -> list[int]:
        return balanced(self.images.labels.tolist(), count)


def _numbers(subject: Subject) -> int:
    """How many numbers the detector keeps beside its backbone."""
    return sum(int(tensor.numel()) for tensor in subject.pipeline.state_dict().values())


def _speed(run: Run) -> Speed:
    """Seconds an image, forward and with backward, on a few images after one for warm-up."""
    samples = run.source.tests[:4]
    images = load(samples, min(run.subject.size), bits=run.subject.pipeline.bits)
    list(run.subject.judge(iter(images.pictures[:1])))
    before = time.perf_counter()
    list(run.subject.judge(iter(images.pictures)))
    forward = (time.perf_counter() - before) / len(images)
    objective = run.subject.objective()
    pixels = run.subject.pixels([Image.fromarray(picture) for picture in images.pictures]).requires_grad_(True)
    before = time.perf_counter()
    torch.autograd.grad(objective(pixels).sum(), pixels)
    return Speed(forward, (time.perf_counter() - before) / len(images))


def _clear(out: Path) -> None:
    (out / CELLS).unlink(missing_ok=True)
    for file in (out / ATTACKED).glob("*.png"):
        file.unlink()


def _dump(measured: Measured) -> str:
    return json.dumps(measured.record(), default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is not JSON")
