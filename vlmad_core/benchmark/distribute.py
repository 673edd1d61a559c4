"""Cells shared out through an executor: a job is a category on a backbone, so that its features are computed once.

A job holds the same cells as one process would take together, so its batches, and with them its numbers, are the same.
"""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Sequence
from concurrent.futures import Executor, as_completed
from itertools import groupby
from pathlib import Path

from vlmad_core.benchmark.cells import Cell
from vlmad_core.benchmark.plan import BenchmarkPlan
from vlmad_core.benchmark.run_cells import CellEvent, CellStep, run_cells
from vlmad_core.errors import VlmadError
from vlmad_core.registry.registry import default_registry

__all__ = ["distribute", "run_job"]


def distribute(cells: Sequence[Cell], plan: BenchmarkPlan, executor: Executor) -> Generator[CellEvent]:
    """What happens in all jobs, job after job as they end.

    Args:
        cells: That wait, in the order of :func:`vlmad_core.benchmark.cells.find_cells`.
        plan: Of the run.
        executor: Where they run.

    Raises:
        VlmadError: A job ended without its rows, after the events of all the others.
    """
    jobs = [list(job) for _, job in groupby(cells, key=lambda cell: (cell.spec.backbone, id(cell.category)))]
    waiting = {executor.submit(run_job, job, plan): job for job in jobs}
    yield CellStep(f"{len(jobs)} jobs shared out")
    lost: list[str] = []
    ended = 0
    try:
        for future in as_completed(waiting):
            first, ended = waiting[future][0], ended + 1
            where = f"{first.backbone}, {first.category.dataset}/{first.category.name}"
            error = future.exception()
            if error is not None:
                lost.append(f"{where} ({type(error).__name__}: {' '.join(str(error).split())[:300]})")
                continue
            yield from future.result()
            yield CellStep(f"{ended} of {len(jobs)} jobs done, the last: {where}")
    finally:
        for future in waiting:
            future.cancel()
    if lost:
        raise VlmadError(
            f"{len(lost)} of {len(jobs)} jobs ended without their rows: {'; '.join(lost[:3])}. The other rows are "
            "safe; run the same command again to go on."
        )


def run_job(cells: Sequence[Cell], plan: BenchmarkPlan) -> list[CellEvent]:
    """One job, where the executor runs it: all that happens, without the steps. Nothing is kept on the disk."""
    with tempfile.TemporaryDirectory(prefix="vlmad-") as folder:
        events = run_cells(cells, plan, default_registry(), Path(folder) / "features")
        return [event for event in events if not isinstance(event, CellStep)]
