"""Options of ``vlmad predict`` about decisions, and what it prints of them."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vlmad_core.cli import terminal
from vlmad_core.errors import ConfigError

if TYPE_CHECKING:
    from vlmad_core.run.drift import DriftMonitor
    from vlmad_core.run.results import Result
    from vlmad_core.run.verdicts import Decision

__all__ = [
    "Confidence",
    "Drift",
    "FailOn",
    "FailOnLabel",
    "FalseAlarms",
    "FalseDiscoveries",
    "Tally",
    "check_rate",
    "discovered",
    "drift_monitor",
    "show_discoveries",
    "summarise",
]

_PANEL = "Decision"


class FailOnLabel(StrEnum):
    """From which verdict on the exit code is 4."""

    reject = "reject"
    review = "review"


def check_rate(value: float | None) -> float | None:
    """A rate above 0 and below 1, or None.

    Raises:
        typer.BadParameter: It is not.
    """
    if value is not None and not 0 < value < 1:
        raise typer.BadParameter(f"must be above 0 and below 1, not {value:g}; 0.01 means 1 %.")
    return value


FalseAlarms = Annotated[
    float | None,
    typer.Option(
        "--false-alarms",
        callback=check_rate,
        help="Rate of good images that may be rejected; by default 0.01, or 0.05 with fewer than 99 normal images.",
        rich_help_panel=_PANEL,
        metavar="RATE",
    ),
]
Confidence = Annotated[
    float | None,
    typer.Option(
        "--confidence",
        callback=check_rate,
        help="The rate holds with this probability, such as 0.95, not only on average.",
        rich_help_panel=_PANEL,
        metavar="RATE",
    ),
]
FalseDiscoveries = Annotated[
    float | None,
    typer.Option(
        "--false-discoveries",
        callback=check_rate,
        help="Also list images of which on average at most this share is good.",
        rich_help_panel=_PANEL,
        metavar="RATE",
    ),
]
Drift = Annotated[
    Path | None,
    typer.Option(
        "--drift",
        dir_okay=False,
        help="File that carries the test for drift from run to run, so that a slow change is found too.",
        rich_help_panel=_PANEL,
    ),
]
FailOn = Annotated[
    FailOnLabel | None,
    typer.Option(
        "--fail-on",
        help="Exit with 4 if an image is rejected or 'not this part'; 'review': also if one needs review.",
        rich_help_panel=_PANEL,
    ),
]


@dataclass
class Tally:
    """Counts verdicts, and keeps p-values and paths where they are needed in the end.

    Args:
        keeps_p_values: For a list of discoveries.
    """

    keeps_p_values: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    scored: list[tuple[float, str]] = field(default_factory=list)

    def add(self, result: Result) -> None:
        """One more."""
        if result.error is None and result.verdict is not None:
            self.counts[result.verdict] += 1
            if self.keeps_p_values and result.p_value is not None:
                self.scored.append((result.p_value, result.path))

    def fails(self, on: FailOnLabel | None) -> bool:
        """Whether an image has a verdict from which on the exit code is 4."""
        if on is None:
            return False
        labels = ["reject", "not this part", *(["review"] if on is FailOnLabel.review else [])]
        return any(self.counts[label] for label in labels)


def drift_monitor(decision: Decision, file: Path | None) -> DriftMonitor | None:
    """A test for drift where the detector is calibrated.

    Raises:
        ConfigError: A file is given and the detector is not calibrated, or the file is another detector's.
    """
    if decision.rule is None and file is None:
        return None
    from vlmad_core.run.drift import DriftMonitor

    return DriftMonitor(decision.pipeline, file)


def summarise(decision: Decision, tally: Tally, asked: bool) -> Iterable[str]:
    """Sentences about the verdicts of a run."""
    rule = decision.rule
    if rule is None:
        if asked or decision.pipeline.calibration is not None:
            yield f"uncalibrated: {decision.reason}"
        return
    counts = ", ".join(f"{number} {label}" for label, number in sorted(tally.counts.items()))
    yield f"{counts or 'no verdicts'}; reject above {rule.threshold:.6g}. {rule.promise}"
    if decision.pipeline.calibration is not None:
        missed = rule.missed(decision.pipeline.calibration.defects)
        if missed is not None:
            low, high = missed.interval
            yield (
                f"of {terminal.counted(missed.total, 'known defect')} {missed.count} would not be rejected "
                f"(95 % interval of that share: {low:.1%} to {high:.1%})."
            )


def show_discoveries(decision: Decision, tally: Tally, rate: float, *, as_json: bool) -> None:
    """The images to report: a path a line on stdout unless ``as_json``, and a sentence on stderr."""
    found, text = discovered(decision, tally.scored, rate)
    for path in () if as_json else found:
        sys.stdout.write(f"{terminal.shown(path)}\n")
    terminal.note(text)


def discovered(decision: Decision, scored: Sequence[tuple[float, str]], rate: float) -> tuple[list[str], str]:
    """Paths to report at a false-discovery rate, and a sentence about them.

    Raises:
        ConfigError: The detector is not calibrated with held-out normal images, on which the procedure rests.
    """
    from vlmad_core.inspection.batch import discoveries, fewest_discoveries

    if decision.rule is None or decision.rule.source != "held-out" or decision.rule.n_chosen:
        raise ConfigError(
            "--false-discoveries needs a calibration with held-out normal images, none of which joined by feedback: "
            "vlmad calibrate DETECTOR IMAGES."
        )
    flags = discoveries([p for p, _ in scored], rate)
    found = [path for flag, (_, path) in zip(flags, scored, strict=True) if flag]
    normals = len(decision.rule.normals)
    least = fewest_discoveries(normals, max(1, len(scored)), rate)
    text = f"{terminal.counted(len(found), 'image')} of {len(scored)} reported; on average at most {rate:.4g} of these "
    text += "are good"
    if not found:
        text = (
            f"no image of {len(scored)} is reported at a false-discovery rate of {rate:.4g}; with {normals} normals at "
        )
        text += f"least {least} images must be above all of them"
    return found, f"{text} (Benjamini-Hochberg)."
