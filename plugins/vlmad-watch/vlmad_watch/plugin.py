"""What vlmad-watch offers: the command ``vlmad watch``."""

from __future__ import annotations

from collections.abc import Iterable

from vlmad_core.registry import Command, hookimpl


@hookimpl
def vlmad_commands() -> Iterable[Command]:
    """The command."""
    yield Command(
        name="watch",
        target="vlmad_watch.command:watch_command",
        summary="Score images as they arrive: a folder, a video, a camera, a stream; one verdict a part.",
    )
