"""Ray as an executor of ``concurrent.futures``: each call is a task, tried again when its process dies."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Executor, Future
from math import ceil
from typing import Any

from vlmad_ray.cluster import join_cluster
from vlmad_ray.plugin import RayExecutorConfig

__all__ = ["RayExecutor"]


class RayExecutor(Executor):
    """Joins a cluster when it is made, or starts one on this machine.

    Args:
        config: See :class:`vlmad_ray.plugin.RayExecutorConfig`.

    Raises:
        VlmadError: Ray cannot be started or reached.
    """

    def __init__(self, config: RayExecutorConfig) -> None:
        import ray

        self._own = not ray.is_initialized()
        self._threads = max(1, int(config.cpus))
        if self._own:
            join_cluster(config.address, ceil((config.workers or os.cpu_count() or 1) * config.cpus))
        share: dict[str, Any] = {"num_cpus": config.cpus, "max_retries": config.retries}
        self._task = ray.remote(_call).options(**share, num_gpus=config.gpus or None)
        self._open = True

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """A task; its error becomes that of the future."""
        if not self._open:
            raise RuntimeError("the executor was shut down.")
        future: Future[Any] = self._task.remote(self._threads, fn, args, kwargs).future()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Leave the cluster, or end the one that was started here, with the tasks that still run."""
        import ray

        if self._open and self._own:
            ray.shutdown()
        self._open = False


def _call(threads: int, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    import torch

    torch.set_num_threads(threads)
    return fn(*args, **kwargs)
