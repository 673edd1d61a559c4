"""The same detector on several devices, which are handed batches in turn."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import cycle
from typing import TypeVar

from vlmad_core.contracts.device import find_device
from vlmad_core.errors import ConfigError
from vlmad_core.pipeline.pipeline import Pipeline

__all__ = ["in_turn", "replicate"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def replicate(pipeline: Pipeline, devices: Iterable[str]) -> list[Pipeline]:
    """Copies of a detector that is ready, with its backbone, one on each device.

    Args:
        pipeline: Fitted where it has a memory, and not compiled.
        devices: See `find_device`; one may be named several times.

    Raises:
        ConfigError: A device is not there, or the detector is an exported file.
    """
    found = [find_device(name) for name in devices]
    try:
        return [copy.deepcopy(pipeline).to(device) for device in found]
    except TypeError as error:  # the session of a runtime
        raise ConfigError(
            "this detector cannot be copied to a second device; an exported file takes one device, and all cores of a "
            "processor by itself."
        ) from error


def in_turn(
    items: Iterable[_Item], workers: Sequence[Callable[[_Item], _Result]], is_last_before: Callable[[_Item], bool]
) -> Generator[_Result]:
    """Results in the order of the items; each worker is a thread with its share of them, one item ahead.

    A single worker is no thread: an item is taken when its result is asked for.

    Args:
        items: In order; at most one more than there are workers is held.
        workers: Item 0 is for the first one, item 1 for the second one, and so on in turn.
        is_last_before: Whether an item must be done, and its result be taken, before the next one is asked for.
    """
    if len(workers) == 1:
        yield from map(workers[0], items)
        return
    pools = [ThreadPoolExecutor(1, thread_name_prefix="vlmad-device") for _ in workers]
    waiting: deque[Future[_Result]] = deque()
    try:
        for pool, work, item in zip(cycle(pools), cycle(workers), items, strict=False):
            waiting.append(pool.submit(work, item))
            while waiting and (len(waiting) > len(workers) or is_last_before(item)):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for pool in pools:
            pool.shutdown(cancel_futures=True)
