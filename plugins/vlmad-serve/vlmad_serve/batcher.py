"""Dynamic batching: images that wait together for one detector go through it together. The queue is bounded.

Nothing waits for a batch to fill up: an image that comes alone is scored alone, and those that come meanwhile are the
next batch. So one client has the lowest latency, and many have the throughput of full batches.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from vlmad_core.contracts.data import Prediction
from vlmad_core.contracts.images import Picture
from vlmad_core.errors import VlmadError
from vlmad_serve.detectors import Version
from vlmad_serve.metrics import Metrics
from vlmad_serve.refusal import Refusal

__all__ = ["Batcher", "Gate", "predict_pictures"]

_FORGET = 0.9


class Gate:
    """How many images are accepted and not answered yet.

    Args:
        capacity: At most so many.
        metrics: Shows the number.
    """

    def __init__(self, capacity: int, metrics: Metrics) -> None:
        self.capacity = capacity
        self.n_inside = 0
        self._metrics = metrics
        self._seconds = 0.05  # an image, averaged over the last ones
        self._last = 0.0

    @contextmanager
    def enter(self, count: int) -> Iterator[None]:
        """Accept images until the ``with`` ends.

        Raises:
            Refusal: 413; more than there is ever room for. 429; there is no room now, with the time to wait.
        """
        if count > self.capacity:
            raise Refusal(413, f"{count} images in one request; send at most {self.capacity} at a time.")
        if self.n_inside + count > self.capacity:
            excess = self.n_inside + count - self.capacity
            wait = min(60, max(1, math.ceil(excess * self._seconds)))
            self._metrics.refused.inc(count)
            raise Refusal(
                429, f"{self.n_inside} images wait already; send it again in {wait} seconds.", retry_after=wait
            )
        self.n_inside += count
        self._metrics.waiting.set(self.n_inside)
        try:
            yield
        finally:
            self.n_inside -= count
            self._metrics.waiting.set(self.n_inside)

    def took(self, seconds: float, count: int) -> None:
        """A batch took so long; for the time that clients are asked to wait."""
        self._seconds = _FORGET * self._seconds + (1 - _FORGET) * seconds / count


@dataclass(eq=False)
class _Waiting:
    version: Version
    picture: Picture
    future: asyncio.Future[Prediction]
    since: float = field(default_factory=time.perf_counter)


class Batcher:
    """Collects pictures of one detector and scores them in one thread.

    Args:
        batch_size: At most so many at a time.
        gate: Is informed how long a batch takes.
        metrics: Counts batches.
        predict: Scores pictures of one version; an exception in place of a prediction is that picture's own.
    """

    def __init__(
        self,
        batch_size: int,
        gate: Gate,
        metrics: Metrics,
        predict: Callable[[Version, Sequence[Picture]], list[Prediction | Exception]] | None = None,
    ) -> None:
        self._batch_size, self._gate, self._metrics = batch_size, gate, metrics
        self._predict = predict or predict_pictures
        self._waiting: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="vlmad-serve-predict")
        self._task: asyncio.Task[None] | None = None
        self._is_closing = False

    def start(self) -> None:
        """Begin to take pictures; in the event loop."""
        self._task = asyncio.create_task(self._run(), name="vlmad-serve-batches")

    async def predict(self, version: Version, picture: Picture) -> Prediction:
        """The prediction of one picture, in some batch.

        Raises:
            Exception: What went wrong with this picture; others of its batch are not concerned.
        """
        waiting = _Waiting(version, picture, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._arrived.set()
        return await waiting.future

    async def close(self) -> None:
        """Score what still waits, then stop."""
        self._is_closing = True
        self._arrived.set()
        if self._task is not None:
            await self._task
        self._pool.shutdown()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            batch = self._next()
            if not batch:
                if self._is_closing:
                    return
                self._arrived.clear()
                continue
            started = time.perf_counter()
            version, pictures = batch[0].version, [each.picture for each in batch]
            try:
                found: Sequence[Any] = await loop.run_in_executor(self._pool, self._predict, version, pictures)
            except Exception as error:  # of the whole batch: out of memory, a lost device
                found = [error] * len(batch)
            seconds = time.perf_counter() - started
            self._gate.took(seconds, len(batch))
            self._metrics.batch_size.observe(len(batch))
            self._metrics.batch_seconds.observe(seconds)
            for each, outcome in zip(batch, found, strict=True):
                if each.future.done():  # nobody waits any more
                    continue
                if isinstance(outcome, Exception):
                    each.future.set_exception(outcome)
                else:
                    each.future.set_result(outcome)

    def _next(self) -> list[_Waiting]:
        """The oldest picture that somebody waits for, and others of the same version, in the order of arrival."""
        batch: list[_Waiting] = []
        others: deque[_Waiting] = deque()
        while self._waiting and len(batch) < self._batch_size:
            each = self._waiting.popleft()
            if each.future.done():
                continue
            (batch if not batch or each.version is batch[0].version else others).append(each)
        self._waiting.extendleft(reversed(others))
        return batch


def predict_pictures(version: Version, pictures: Sequence[Picture]) -> list[Prediction | Exception]:
    """Score pictures together; where that fails, one by one, so that one picture does not take others with it."""
    try:
        return list(version.pipeline.predict_batch(pictures))
    except VlmadError:
        raise
    except Exception as error:
        if len(pictures) == 1:
            return [error]
        return [found for picture in pictures for found in predict_pictures(version, [picture])]
