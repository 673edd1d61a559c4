"""The extractor through `torch.compile`, where it is faster and gives the same features."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, get_args

import torch
from torch import Tensor

from vlmad_core.contracts.data import Features
from vlmad_core.contracts.device import synchronize
from vlmad_core.contracts.ops import l2_normalize
from vlmad_core.contracts.parts import Extractor
from vlmad_core.contracts.towers import VisionTower
from vlmad_core.errors import ConfigError
from vlmad_core.pipeline.arithmetic import CompileMode

__all__ = ["CompiledExtractor"]

_LIMITS = {torch.float32: 1e-5, torch.bfloat16: 2e-3, torch.float16: 1e-4}
"""Largest allowed cosine distance of a feature to that of the extractor as it is: rounding, and no more."""
_MOST_SHAPES = 4
_ROUNDS = 3


class CompiledExtractor:
    """Takes the place of an extractor at predictions, for each shape of batches by itself.

    A shape is compiled when it comes for the second time, so that a last batch with fewer images costs no compilation.
    Then both ways run on that batch. The compiled one is kept if every feature is the same up to rounding and it is
    faster; otherwise, and where the compiler fails, the extractor goes on as it is, and ``tell`` gets the reason.

    Args:
        extractor: As it is.
        mode: See :data:`vlmad_core.pipeline.arithmetic.CompileMode`.
        tell: Called with what was found, in a sentence.

    Raises:
        ConfigError: An unknown mode.
    """

    def __init__(self, extractor: Extractor, mode: CompileMode, tell: Callable[[str], None]) -> None:
        if mode not in get_args(CompileMode):
            raise ConfigError(f"compile must be one of {', '.join(get_args(CompileMode))}; got {mode!r}.")
        self.extractor, self.mode, self.tell = extractor, mode, tell
        self.kept: dict[tuple[int, ...], bool] = {}
        """By the shape of a batch: whether the compiled extractor is used; a shape that came once is missing."""
        self._once: set[tuple[int, ...]] = set()
        self._compiled: Callable[[VisionTower, Tensor], Features] | None = None
        self._has_failed = False

    def __call__(self, vision: VisionTower, images: Tensor) -> Features:
        """As the extractor: ``[B, 3, H, W]`` to its features."""
        shape = tuple(images.shape)
        if torch.is_grad_enabled() or self._has_failed:
            return self._plain(vision, images)
        if shape not in self.kept and shape in self._once and len(self.kept) < _MOST_SHAPES:
            return self._try(vision, images, shape)
        self._once.add(shape)
        return self._run(vision, images) if self.kept.get(shape) else self._plain(vision, images)

    def _plain(self, vision: VisionTower, images: Tensor) -> Features:
        features: Features = self.extractor(vision, images)
        return features

    def _run(self, vision: VisionTower, images: Tensor) -> Features:
        if self._compiled is None:
            self._compiled = torch.compile(self.extractor.forward, mode=self.mode, dynamic=False)
        features = self._compiled(vision, images)
        if self.mode == "default" or images.device.type != "cuda":
            return features
        # A CUDA graph writes every batch into the same memory.
        return features.with_tensors({name: tensor.clone() for name, tensor in features.tensors().items()})

    def _try(self, vision: VisionTower, images: Tensor, shape: tuple[int, ...]) -> Features:
        """Compile for a shape, compare, time, and decide."""
        self.kept[shape] = False
        plain = self._plain(vision, images)
        started = time.perf_counter()
        try:
            found = self._run(vision, images)
            synchronize(images.device)
        except Exception as error:  # whatever the compiler stumbles over, there is a way without it
            self._has_failed = True
            self.tell(f"not compiled: the compiler failed ({type(error).__name__}: {_first_line(error)}).")
            return plain
        compiling = time.perf_counter() - started
        distance, limit = _largest_distance(plain, found), _LIMITS.get(images.dtype, _LIMITS[torch.float32])
        if not distance <= limit:
            self.tell(f"not compiled: features would differ by a cosine of {distance:.1e}, and {limit:.0e} is allowed.")
            return plain
        before, after = (_seconds(way, vision, images) for way in (self._plain, self._run))
        self.kept[shape] = after < before
        verb = "compiled" if self.kept[shape] else "not compiled: no gain"
        self.tell(
            f"{verb}; {len(images)} images of {shape[2]} x {shape[3]} take {1000 * before:.1f} ms as they are and "
            f"{1000 * after:.1f} ms compiled ({self.mode}), which took {compiling:.0f} s and moves a feature by a "
            f"cosine distance of at most {distance:.0e}."
        )
        return found if self.kept[shape] else plain


def _largest_distance(one: Features, other: Features) -> float:
    """Of any vector to its counterpart, one minus the cosine; NaN where one is not finite."""
    pairs = zip(one.tensors().values(), other.tensors().values(), strict=True)
    return max(float((1 - (l2_normalize(a) * l2_normalize(b)).sum(-1)).max()) for a, b in pairs)


def _seconds(way: Callable[[VisionTower, Tensor], Any], vision: VisionTower, images: Tensor) -> float:
    """The shortest of a few runs."""
    found = []
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        way(vision, images)
        synchronize(images.device)
        found.append(time.perf_counter() - started)
    return min(found)


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "no message")[:200]
