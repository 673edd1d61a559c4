"""What vlmad-study offers: the command ``vlmad study``."""

from __future__ import annotations

from collections.abc import Iterable

from vlmad_core.registry import Command, hookimpl


@hookimpl
def vlmad_commands() -> Iterable[Command]:
    """The study."""
    yield Command(
        name="study",
        target="vlmad_study.command:study_command",
        summary="Compare methods on your own data, and get a report that says which to take.",
    )
