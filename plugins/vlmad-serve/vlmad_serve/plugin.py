"""What vlmad-serve offers: the command ``vlmad serve``."""

from __future__ import annotations

from collections.abc import Iterable

from vlmad_core.registry import Command, hookimpl


@hookimpl
def vlmad_commands() -> Iterable[Command]:
    """The server."""
    yield Command(
        name="serve",
        target="vlmad_serve.command:serve_command",
        summary="Serve detectors over HTTP, with a page to enrol products, inspect parts and set thresholds.",
    )
