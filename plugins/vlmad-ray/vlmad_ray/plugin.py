"""What vlmad-ray offers: the command ``vlmad batch``, and the executor of ``vlmad benchmark --ray``."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from vlmad_core.registry import Command, Component, Config, hookimpl


class RayExecutorConfig(Config):
    """Options of the executor."""

    address: str | None = Field(None, description="Of a Ray cluster; none: RAY_ADDRESS, else one on this machine.")
    cpus: float = Field(1.0, gt=0, description="For each job, which computes with so many threads.")
    gpus: float = Field(0.0, ge=0, description="For each job; 0.5 puts two on one GPU.")
    workers: int | None = Field(
        None, gt=0, description="Jobs at a time where the cluster is started here; none: as many as there are cores."
    )
    retries: int = Field(3, ge=0, description="How often a job whose process died is tried again.")


@hookimpl
def vlmad_commands() -> Iterable[Command]:
    """The batch."""
    yield Command(
        name="batch",
        target="vlmad_ray.command:batch_command",
        summary="Judge very many images on one or several machines with Ray Data; goes on where it stopped.",
    )


@hookimpl
def vlmad_executors() -> Iterable[Component]:
    """Jobs of a benchmark as Ray tasks."""
    yield Component(
        name="ray",
        target="vlmad_ray.executor:RayExecutor",
        config=RayExecutorConfig,
        summary="Cells of a benchmark as tasks on a Ray cluster.",
    )
