"""Adversarial images inside a ball of the maximum norm, by the true gradient of the image score.

Letters: B images, H W pixels at the size that the detector works at. Pixels are in [0, 1]; ``epsilon`` is a multiple of
1/255, so that the ball's corners are 8-bit pictures and rounding never leaves it. The objective is the score itself, to
be raised (``sign`` 1: a false alarm) or lowered (``sign`` -1: a defect is hidden).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Attacked", "Objective", "apgd", "pgd", "random_search", "to_bytes", "universal"]

Objective = Callable[[Tensor], Tensor]
"""``[B, 3, H, W]`` in [0, 1] to scores ``[B]``, differentiable."""


@dataclass(frozen=True)
class Attacked:
    """What an attack found.

    Args:
        images: ``[B, 3, H, W]``, the best of each image over all steps and restarts.
        scores: ``[B]``, of these.
        trace: Mean score of the iterates at each step of the first restart, before the step.
    """

    images: Tensor
    scores: Tensor
    trace: tuple[float, ...]


def pgd(
    objective: Objective,
    images: Tensor,
    epsilon: float,
    *,
    sign: int,
    steps: int,
    restarts: int,
    generator: torch.Generator,
) -> Attacked:
    """Projected gradient steps on the sign of the gradient (Madry et al., ICLR 2018), step size 2.5 epsilon / steps.

    Args:
        objective: The score.
        images: ``[B, 3, H, W]`` in [0, 1].
        epsilon: Radius of the ball.
        sign: 1 raises the score, -1 lowers it.
        steps: Gradient steps of each restart.
        restarts: The first starts at the image, the others at random points of the ball.
        generator: For these.
    """
    best = _Best(images, sign)
    trace: list[float] = []
    for restart in range(restarts):
        x = images if restart == 0 else _random_start(images, epsilon, generator)
        for step in range(steps):
            score, gradient = _gradient(objective, x)
            best.take(x, score)
            if restart == 0:
                trace.append(float(score.mean()))
            x = _project(x + sign * (2.5 * epsilon / steps) * gradient.sign(), images, epsilon)
            if step == steps - 1:
                with torch.no_grad():
                    score = objective(x)
                best.take(x, score)
                if restart == 0:
                    trace.append(float(score.mean()))
    return Attacked(best.images, best.scores, tuple(trace))


def apgd(
    objective: Objective,
    images: Tensor,
    epsilon: float,
    *,
    sign: int,
    steps: int,
    restarts: int,
    generator: torch.Generator,
) -> Attacked:
    """Auto-PGD (Croce and Hein, ICML 2020): momentum 0.25, and a step size that halves where progress stalls.

    Arguments as of :func:`pgd`; every restart begins at a random point.
    """
    best = _Best(images, sign)
    trace: list[float] = []
    checkpoints = _checkpoints(steps)
    for restart in range(restarts):
        x = _random_start(images, epsilon, generator)
        own = _Best(images, sign)
        score, gradient = _gradient(objective, x)
        own.take(x, score)
        best_gradient = gradient
        values = [sign * score]
        size = torch.full((len(x), 1, 1, 1), 2 * epsilon, device=x.device, dtype=x.dtype)
        halved_before, best_before = torch.zeros(len(x), dtype=torch.bool, device=x.device), own.scores.clone()
        before, last = x, 0
        for step in range(steps):
            if restart == 0:
                trace.append(float(score.mean()))
            z = _project(x + sign * size * gradient.sign(), images, epsilon)
            share = 1.0 if step == 0 else 0.75
            moved = _project(x + share * (z - x) + (1 - share) * (x - before), images, epsilon)
            before, x = x, moved
            score, gradient = _gradient(objective, x)
            best_gradient = torch.where(_column(own.take(x, score)), gradient, best_gradient)
            values.append(sign * score)
            if step + 1 in checkpoints:
                recent = torch.stack(values[last : step + 2])
                rises = (recent[1:] > recent[:-1]).sum(0)
                stalls = rises < 0.75 * (step + 1 - last)
                halve = stalls | (~halved_before & (own.scores == best_before))
                size = torch.where(_column(halve), size / 2, size)
                x = torch.where(_column(halve), own.images, x)
                # The gradient at the best point is known, so going back there costs no pass.
                gradient = torch.where(_column(halve), best_gradient, gradient)
                score = torch.where(halve, own.scores, score)
                halved_before, best_before, last = halve, own.scores.clone(), step + 1
        if restart == 0:
            trace.append(float(score.mean()))
        best.take(own.images, own.scores)
    return Attacked(best.images, best.scores, tuple(trace))


def random_search(
    objective: Objective, images: Tensor, epsilon: float, *, sign: int, tries: int, generator: torch.Generator
) -> Attacked:
    """The best of random corners of the ball: the control with the same norm and no gradient."""
    best = _Best(images, sign)
    trace: list[float] = []
    for _ in range(tries):
        x = (images + epsilon * _signs(images, generator)).clamp(0, 1)
        with torch.no_grad():
            score = objective(x)
        best.take(x, score)
        trace.append(float(score.mean()))
    return Attacked(best.images, best.scores, tuple(trace))


def universal(
    objective: Objective,
    images: Tensor,
    epsilon: float,
    *,
    sign: int,
    steps: int,
    batch_size: int,
    generator: torch.Generator,
) -> Tensor:
    """One perturbation for all images, learned on these: signed steps on the mean score of a batch.

    In the spirit of sample-agnostic attacks on vision-language models (arXiv 2408.02980, there by the hyperplanes of
    DeepFool, here by the gradient of the score that decides).

    Returns:
        ``[1, 3, H, W]`` in [-epsilon, epsilon].
    """
    delta = epsilon * _signs(images[:1], generator)
    for step in range(steps):
        chosen = torch.randperm(len(images), generator=generator)[:batch_size]
        batch = images[chosen]
        free = delta.detach().requires_grad_(True)
        score = objective((batch + free).clamp(0, 1))
        (gradient,) = torch.autograd.grad(score.sum(), free)
        rate = 2 * epsilon * 2.5 / steps * (1 - step / steps)
        delta = (free.detach() + sign * rate * gradient.sign()).clamp(-epsilon, epsilon)
    return delta


def to_bytes(images: Tensor) -> list[Tensor]:
    """Each image as ``[H, W, 3]`` uint8, the nearest 8-bit picture."""
    return list((images.detach().clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu())


class _Best:
    """The best point of each image so far."""

    def __init__(self, images: Tensor, sign: int) -> None:
        self.sign = sign
        self.images = images.clone()
        self.scores = torch.full((len(images),), -sign * math.inf, device=images.device)

    def take(self, x: Tensor, scores: Tensor) -> Tensor:
        """Keep what is better; gives which images that is, ``[B]``."""
        better = self.sign * scores > self.sign * self.scores
        self.images = torch.where(_column(better), x.detach(), self.images)
        self.scores = torch.where(better, scores.detach().to(self.scores.dtype), self.scores)
        return better


def _column(chosen: Tensor) -> Tensor:
    """``[B]`` to ``[B, 1, 1, 1]``."""
    return chosen[:, None, None, None]


def _gradient(objective: Objective, x: Tensor) -> tuple[Tensor, Tensor]:
    free = x.detach().requires_grad_(True)
    score = objective(free)
    (gradient,) = torch.autograd.grad(score.sum(), free)
    return score.detach(), gradient


def _project(x: Tensor, images: Tensor, epsilon: float) -> Tensor:
    return torch.minimum(torch.maximum(x, images - epsilon), images + epsilon).clamp(0, 1).detach()


def _random_start(images: Tensor, epsilon: float, generator: torch.Generator) -> Tensor:
    uniform = torch.rand(images.shape, generator=generator).to(images)
    return (images + epsilon * (2 * uniform - 1)).clamp(0, 1)


def _signs(images: Tensor, generator: torch.Generator) -> Tensor:
    return torch.where(torch.rand(images.shape, generator=generator) < 0.5, -1.0, 1.0).to(images)


def _checkpoints(steps: int) -> set[int]:
    """Steps after which the step size may halve: ``p += max(p_j - p_(j-1) - 0.03, 0.06)`` from 0 and 0.22."""
    shares = [0.0, 0.22]
    while shares[-1] < 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    return {math.ceil(share * steps) for share in shares[1:] if share < 1}
