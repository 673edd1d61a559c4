"""Work that takes longer than an answer should: enrolment, calibration, feedback. One job at a time, in a thread."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

from vlmad_core.errors import VlmadError
from vlmad_serve.refusal import Refusal

__all__ = ["Job", "Jobs"]

_KEPT, _WAITING = 200, 8


@dataclass
class Job:
    """A piece of work.

    Attributes:
        id: Its number.
        kind: ``enrol``, ``calibrate`` or ``feedback``.
        detector: Name of the product.
        state: Where it is.
        done: Images done.
        total: Images in all.
        started: Seconds since 1970.
        seconds: That it took.
        error: Why it failed.
        status: Of HTTP, where it failed.
        result: What it gave.
    """

    id: str
    kind: str
    detector: str
    total: int
    state: Literal["waiting", "running", "done", "failed"] = "waiting"
    done: int = 0
    started: float = 0.0
    seconds: float = 0.0
    error: str = ""
    status: int = 200
    result: dict[str, Any] | None = None


class Jobs:
    """The jobs of one server, of which the last are remembered."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="vlmad-serve-job")

    def get(self, number: str) -> Job:
        """A job.

        Raises:
            Refusal: 404; there is none of that number.
        """
        if number not in self._jobs:
            raise Refusal(404, "there is no job of that number; the server was restarted, or it was long ago.")
        return self._jobs[number]

    def start(
        self, kind: str, detector: str, total: int, work: Callable[[Callable[[int], None]], dict[str, Any]]
    ) -> Job:
        """Begin a job as soon as those before it are done.

        Args:
            kind: See `Job`.
            detector: Name of the product.
            total: Images.
            work: Called in a thread with a function that takes the number of images done.

        Raises:
            Refusal: 429; too many jobs wait.
        """
        if len(self._tasks) >= _WAITING:
            raise Refusal(429, "other products are being enrolled; send it again.", retry_after=10)
        job = Job(secrets.token_hex(8), kind, detector, total)
        self._jobs[job.id] = job
        while len(self._jobs) > _KEPT:
            self._jobs.popitem(last=False)
        self._tasks[job.id] = asyncio.create_task(self._run(job, work), name=f"vlmad-serve-{kind}")
        return job

    async def wait(self, job: Job) -> None:
        """Until it is done or has failed; the job goes on where the caller is cancelled."""
        task = self._tasks.get(job.id)
        if task is not None:
            await asyncio.shield(task)

    async def close(self) -> None:
        """Finish all jobs."""
        await asyncio.gather(*self._tasks.values())
        self._pool.shutdown()

    async def _run(self, job: Job, work: Callable[[Callable[[int], None]], dict[str, Any]]) -> None:
        def progress(done: int) -> None:
            job.done = done

        def run() -> dict[str, Any]:
            job.state, job.started = "running", time.time()
            return work(progress)

        try:
            job.result = await asyncio.get_running_loop().run_in_executor(self._pool, run)
            job.state, job.done = "done", job.total
        except Refusal as refusal:
            job.state, job.error, job.status = "failed", str(refusal), refusal.status
        except VlmadError as error:
            job.state, job.error, job.status = "failed", str(error), 422
        except Exception as error:  # the server goes on
            job.state, job.error, job.status = "failed", f"an error inside vlmad: {error}", 500
        finally:
            job.seconds = round(time.time() - job.started, 2) if job.started else 0.0
            del self._tasks[job.id]
