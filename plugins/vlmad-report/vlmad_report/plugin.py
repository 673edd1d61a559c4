"""What vlmad-report offers: the command ``vlmad report``."""

from __future__ import annotations

from collections.abc import Iterable

from vlmad_core.registry import Command, hookimpl


@hookimpl
def vlmad_commands() -> Iterable[Command]:
    """The report."""
    yield Command(
        name="report",
        target="vlmad_report.command:report_command",
        summary="Make one HTML page of results: images, heat maps, verdicts, a movable threshold, feedback.",
    )
