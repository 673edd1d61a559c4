"""Rules of what a part may cost: time beside the bare backbone, and memory that does not grow."""

from __future__ import annotations

import gc
import itertools
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vlmad_core.contracts.towers import forward_blocks
from vlmad_core.testing.cases import PartCase
from vlmad_core.testing.rules import check, require

if TYPE_CHECKING:
    from vlmad_core.testing.cases import BackboneCase

CALLS = 200
_MOST_TIMES = 50
_MOST_OBJECTS, _SLACK = 0.5, 100
_MOST_BYTES = 256
_MOST_SECONDS = 5.0


@check("extractor", "scorer")
def keeps_pace_with_the_backbone(case: PartCase) -> str:
    """An image takes at most 50 times as long as in the bare (tiny) backbone."""
    backbone, part, images = case.backbone, case.part, case.images()

    def bare() -> None:
        # As many runs as are allowed: long enough to be disturbed by a busy machine as often as the part is.
        for _ in range(_MOST_TIMES):
            backbone.vision.pool(forward_blocks(backbone.vision.blocks, backbone.vision.embed(images)[0])[0])

    with torch.no_grad():
        alone, whole = _least(bare) / _MOST_TIMES, _least(lambda: case.run(part))
    times = whole / alone
    require(
        times <= _MOST_TIMES,
        f"an image takes {1000 * whole / 3:.1f} ms, {times:.0f} times as long as in the bare backbone; move work to "
        "the constructor, and replace loops over regions by one batch.",
    )
    return f"{times:.1f} times the bare backbone"


@check("backbone", "extractor", "prompts", "scorer")
def memory_does_not_grow(case: BackboneCase | PartCase) -> str:
    """200 calls (or as many as 5 seconds allow) leave neither Python objects nor tensors behind."""
    with torch.no_grad():
        call = _call(case)
        for _ in range(3):  # Python itself fills caches in the first hundreds of calls; a leak goes on
            grown, calls = growth(call)
            steady = grown.objects <= _MOST_OBJECTS * calls + _SLACK and grown.bytes <= _MOST_BYTES * calls
            if steady:
                break
    require(
        steady,
        f"{calls} calls leave {grown.objects} Python objects and {grown.bytes / 1024:.0f} KiB of tensors behind; keep "
        "nothing from a call, or bound the cache (functools.lru_cache with a maxsize).",
    )
    return f"{calls} calls leave {max(grown.objects, 0)} objects and {max(grown.bytes, 0)} bytes of tensors"


def _call(case: BackboneCase | PartCase) -> Callable[[], object]:
    if isinstance(case, PartCase):
        part, run = case.part, case.run
        return lambda: run(part)
    vision, images = case.backbone.vision, case.images(1)
    return lambda: forward_blocks(vision.blocks, vision.embed(images)[0])


@dataclass(frozen=True)
class Held:
    """What is alive: Python objects (blocks of its allocator, arrays among them), and bytes of tensors."""

    objects: int
    bytes: int


def growth(call: Callable[[], object], calls: int = CALLS) -> tuple[Held, int]:
    """What repeated calls leave behind, and how many calls that were."""
    started = time.perf_counter()
    for _ in range(5):  # caches that are filled once are nobody's leak
        call()
    seconds = (time.perf_counter() - started) / 5
    calls = max(10, min(calls, int(_MOST_SECONDS / max(seconds, 1e-6))))
    marks = [_held()]
    for _ in range(4):
        for _ in range(max(1, calls // 4)):
            call()
        marks.append(_held())
    # A leak grows in every quarter; what grows in one of them was made once, by us or by Python.
    objects, size = (4 * min(quarters) for quarters in zip(*_steps(marks), strict=True))
    return Held(objects, size), calls


def _steps(marks: list[Held]) -> list[tuple[int, int]]:
    return [(b.objects - a.objects, b.bytes - a.bytes) for a, b in itertools.pairwise(marks)]


def _held() -> Held:
    gc.collect()
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in _live_tensors()}
    total = sum(storages.values())
    del storages
    return Held(sys.getallocatedblocks(), total)


def _live_tensors() -> list[Tensor]:
    # Other kinds of tensors, such as those that torch.export leaves behind, have no storage.
    found = [o for o in gc.get_objects() if type(o) in (Tensor, nn.Parameter)]
    return [o for o in found if o.layout == torch.strided and not o.is_meta]


def _least(call: Callable[[], object], times: int = 5) -> float:
    """Of a few runs the shortest: what the call takes when nobody disturbs it."""
    call()
    found = []
    for _ in range(times):
        started = time.perf_counter()
        call()
        found.append(time.perf_counter() - started)
    return min(found)
