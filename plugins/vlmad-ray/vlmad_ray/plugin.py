"""What vlmad-ray offers: the command ``vlmad batch``."""

from __future__ import annotations

from collections.abc import Iterable

from vlmad_core.registry import Command, hookimpl


@hookimpl
def vlmad_commands() -> Iterable[Command]:
    """The batch."""
    yield Command(
        name="batch",
        target="vlmad_ray.command:batch_command",
        summary="Judge very many images on one or several machines with Ray Data; goes on where it stopped.",
    )
