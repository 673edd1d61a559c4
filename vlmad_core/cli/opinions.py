"""Options of ``vlmad predict`` about a second opinion, and what it prints of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vlmad_core.cli import terminal
from vlmad_core.cli.named_component import make_named
from vlmad_core.cli.names import complete

if TYPE_CHECKING:
    from vlmad_core.run.opinion import SecondOpinion
    from vlmad_core.run.results import Result

__all__ = ["Judge", "JudgeSetting", "OpinionTally", "make_opinion"]

_PANEL, _ROWS = "Second opinion", 20
Judge = Annotated[
    str | None,
    typer.Option(
        "--judge",
        help="Who gives a second opinion, such as 'openai-compatible': a sentence and a vote beside each verdict that "
        "is not 'pass'. No verdict is changed by it.",
        autocompletion=complete("opinion"),
        rich_help_panel=_PANEL,
    ),
]
JudgeSetting = Annotated[
    list[str] | None,
    typer.Option(
        "--judge-set",
        metavar="NAME=VALUE",
        help="An option of it, such as model=qwen2.5vl; `vlmad show NAME` lists them. Repeat it for several.",
        rich_help_panel=_PANEL,
    ),
]


def make_opinion(name: str | None, settings: Sequence[str] | None) -> SecondOpinion | None:
    """Build who gives the second opinion; None where nobody was named.

    Raises:
        typer.BadParameter: Options without a name, or one that is not ``NAME=VALUE``.
        UnknownComponentError: Nobody offers the name.
        ConfigError: An option that does not exist or does not fit.
    """
    if name is None:
        if settings:
            raise typer.BadParameter(
                "sets an option of a second opinion; name it with --judge.", param_hint="--judge-set"
            )
        return None
    from vlmad_core.run.opinion import SecondOpinion

    made: SecondOpinion = make_named(
        "opinion", SecondOpinion, name, settings, option="--judge", example="model=qwen2.5vl"
    )
    return made


@dataclass
class OpinionTally:
    """Counts votes, and keeps the first sentences."""

    outcomes: Counter[str] = field(default_factory=Counter)
    rows: list[tuple[str, str, str, str]] = field(default_factory=list)
    milliseconds: float = 0.0
    tokens: int = 0
    kept: int = 0
    cached: int = 0

    def add(self, result: Result) -> None:
        """One more result; those without an opinion do not count."""
        opinion = result.opinion
        if opinion is None:
            return
        self.outcomes[str(opinion["outcome"])] += 1
        self.cached += bool(opinion["cached"])
        self.milliseconds += opinion["milliseconds"] or 0.0
        self.tokens += opinion["tokens"] or 0
        self.kept += opinion["outcome"] == "no defect" and result.verdict in ("reject", "not this part")
        if len(self.rows) < _ROWS:
            text = str(opinion["sentence"] or opinion["detail"])
            self.rows.append((result.verdict or "", str(opinion["outcome"]), Path(result.path).name, text))

    def show(self) -> None:
        """The table of sentences on stdout."""
        if self.rows:
            terminal.table(["verdict", "second opinion", "image", "sentence"], self.rows)

    def summarise(self) -> Iterator[str]:
        """Sentences for the end of a run: votes, cost and time."""
        asked = sum(self.outcomes.values())
        if not asked:
            yield "no second opinion was asked for: every image passed."
            return
        counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(self.outcomes.items()))
        new = asked - self.cached
        cost = f"; {self.milliseconds / new / 1000:.1f} s and {self.tokens / new:.0f} tokens an image" if new else ""
        yield f"second opinion on {terminal.counted(asked, 'image')}: {counts}, {self.cached} stored before{cost}."
        if self.kept:
            yield f"{terminal.counted(self.kept, 'image')} stay rejected although the second opinion sees no defect."
