"""What vlmad-robustness offers: the command ``vlmad robustness``."""

from __future__ import annotations

from collections.abc import Iterable

from vlmad_core.registry import Command, hookimpl


@hookimpl
def vlmad_commands() -> Iterable[Command]:
    """The robustness report."""
    yield Command(
        name="robustness",
        target="vlmad_robustness.command:robustness_command",
        summary="Test a detector under corruptions, other light and adversarial images, at its own threshold.",
    )
