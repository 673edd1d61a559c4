"""What vlmad-export offers: the command ``vlmad export``."""

from __future__ import annotations

from collections.abc import Iterable

from vlmad_core.registry import Command, hookimpl


@hookimpl
def vlmad_commands() -> Iterable[Command]:
    """The export."""
    yield Command(
        name="export",
        target="vlmad_export.command:export_command",
        summary="Write a detector as one ONNX or OpenVINO file that runs without torch, compared with the original.",
    )
