"""Attacks on test images: who is attacked, by what, and how the detector decides on the 8-bit picture that results."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vlmad_core.files import write_whole
from vlmad_robustness.attack import Attacked, apgd, pgd, random_search, to_bytes, universal
from vlmad_robustness.data import Images, balanced
from vlmad_robustness.measure import Measured
from vlmad_robustness.plan import DIRECTIONS, LARGE, Cell, Plan
from vlmad_robustness.subject import Subject

__all__ = ["attack", "attacked_file", "learn_and_apply", "targets", "transfer"]


def targets(clean: Measured, labels: np.ndarray, direction: str, count: int) -> list[int]:
    """Images that are attacked: of those that are decided rightly, at most half of ``count``, evenly spread.

    Args:
        clean: The images as they are.
        labels: Of all test images.
        direction: ``raise``: normal images without an alarm; ``hide``: defective ones with an alarm.
        count: Of both directions together.
    """
    wanted = direction == "hide"
    right = [
        i for i, alarm in zip(clean.images, clean.alarms, strict=True) if bool(labels[i]) is wanted and alarm is wanted
    ]
    return [right[i] for i in balanced([wanted] * len(right), min(len(right), max(1, count // 2)))]


def attack(subject: Subject, cell: Cell, plan: Plan, images: Images, chosen: Sequence[int], folder: Path) -> Measured:
    """Attack images and judge the pictures that result, by the way of every other image.

    The pictures of the largest epsilon are kept in ``folder``.
    """
    found: list[Tensor] = []
    traces: list[tuple[float, ...]] = []
    objective, generator = subject.objective(), torch.Generator().manual_seed(zlib.crc32(cell.id.encode()))
    pixels = subject.pixels([Image.fromarray(images.pictures[i]) for i in chosen])
    sign, epsilon = DIRECTIONS[cell.direction], cell.level / 255
    for batch in pixels.split(subject.batch_size):
        restarts = 1 if cell.level == LARGE else plan.restarts
        if cell.name == "random":
            done: Attacked = random_search(objective, batch, epsilon, sign=sign, tries=plan.steps, generator=generator)
        else:
            method = pgd if cell.name == "pgd" else apgd
            done = method(
                objective, batch, epsilon, sign=sign, steps=plan.steps, restarts=restarts, generator=generator
            )
        found += to_bytes(done.images)
        traces.append(tuple(value * len(batch) / len(pixels) for value in done.trace))
    pictures = [one.numpy() for one in found]
    if cell.name == "apgd" and cell.level == max(plan.epsilons):
        for i, picture in zip(chosen, pictures, strict=True):
            save_picture(attacked_file(folder, cell.direction, i), picture)
    judged = list(subject.judge(iter(pictures)))
    trace = [float(sum(values)) for values in zip(*traces, strict=True)]
    return Measured(
        cell.id,
        list(chosen),
        [one.score for one in judged],
        [one.alarm for one in judged],
        [one.above for one in judged],
        more={"trace": trace},
    )


def learn_and_apply(
    subject: Subject,
    cell: Cell,
    plan: Plan,
    learn: Images,
    images: Images,
    indices: Sequence[int],
    folder: Path,
) -> Measured:
    """Learn one perturbation on some images, and judge others with it.

    Args:
        subject: The detector.
        cell: Direction and epsilon.
        plan: Number of steps.
        learn: Images to learn on, of the label that the direction attacks.
        images: Test images.
        indices: Those that are judged; none of them is learned on.
        folder: Where the perturbation is kept as a picture.
    """
    generator = torch.Generator().manual_seed(zlib.crc32(cell.id.encode()))
    epsilon = cell.level / 255
    pixels = subject.pixels([Image.fromarray(picture) for picture in learn.pictures])
    delta = universal(
        subject.objective(),
        pixels,
        epsilon,
        sign=DIRECTIONS[cell.direction],
        steps=plan.universal_steps,
        batch_size=min(8, len(pixels)),
        generator=generator,
    )
    shown = ((delta / epsilon + 1) / 2).clamp(0, 1)
    save_picture(folder / f"universal-{cell.direction}.png", to_bytes(shown)[0].numpy())
    tests = subject.pixels([Image.fromarray(images.pictures[i]) for i in indices])
    pictures = (one.numpy() for one in to_bytes((tests + delta).clamp(0, 1)))
    judged = list(subject.judge(pictures))
    return Measured(
        cell.id,
        list(indices),
        [one.score for one in judged],
        [one.alarm for one in judged],
        [one.above for one in judged],
        more={"learned_on": len(learn)},
    )


def transfer(other: Subject, cell: Cell, images: Images, chosen: Sequence[int], folder: Path) -> Measured:
    """Judge, by another detector, the pictures that were made against the first; clean scores stand in ``more``."""
    files = [attacked_file(folder, cell.direction, i) for i in chosen]
    clean = list(other.judge(iter([images.pictures[i] for i in chosen])))
    judged = list(other.judge(iter([np.asarray(Image.open(file).convert("RGB")) for file in files])))
    return Measured(
        cell.id,
        list(chosen),
        [one.score for one in judged],
        [one.alarm for one in judged],
        [one.above for one in judged],
        more={
            "clean_scores": [one.score for one in clean],
            "clean_alarms": [one.alarm for one in clean],
            "threshold": other.rule.threshold,
        },
    )


def attacked_file(folder: Path, direction: str, index: int) -> Path:
    """Where the attacked picture of the largest epsilon lies."""
    return folder / f"{direction}-{index:04d}.png"


def save_picture(path: Path, picture: np.ndarray) -> None:
    """A picture as PNG, whole or not at all."""
    import io

    path.parent.mkdir(parents=True, exist_ok=True)
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG")
    write_whole(path, stream.getvalue())
