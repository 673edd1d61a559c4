"""What a report is made of, and what it leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlmad_core.registry import Registry
from vlmad_core.report import Row, Speed
from vlmad_study.ablation import Effect
from vlmad_study.backbone import BackboneInfo
from vlmad_study.recommendation import Recommendation
from vlmad_study.settings import Scope, StudySettings

__all__ = ["Content", "StudyReport"]


@dataclass(frozen=True)
class Content:
    """Everything that was measured.

    Args:
        out: Folder of the study.
        settings: Of the study.
        scope: How much of it was done.
        info: The backbone.
        rows: Section to its rows.
        groups: Section to the group of each method.
        left_out: Section to sentences.
        speeds: As measured.
        effects: Of states and templates.
        recommendation: None where section `shots` tested nothing.
        record: Of the folder: seconds and versions.
        registry: Where to look for parts.
    """

    out: Path
    settings: StudySettings
    scope: Scope
    info: BackboneInfo
    rows: Mapping[str, Sequence[Row]]
    groups: Mapping[str, Mapping[str, str]]
    left_out: Mapping[str, Sequence[str]]
    speeds: Sequence[Speed]
    effects: Sequence[Effect]
    recommendation: Recommendation | None
    record: Mapping[str, Any]
    registry: Registry

    @property
    def datasets(self) -> list[str]:
        """Names of the data sets that were tested on, the own one first."""
        return list(dict.fromkeys(str(row["dataset"]) for some in self.rows.values() for row in some))

    @property
    def images(self) -> Path:
        """Folder of plots and examples."""
        return self.out / "images"


@dataclass(frozen=True)
class StudyReport:
    """What a study leaves.

    Args:
        folder: Where everything is.
        html: The report for people, in one file.
        markdown: The same as Markdown.
        json: The same for programs.
        recommended: Label of the method to take; empty where none was tested.
        shots: Normal images that it needs.
        reason: Why, in a few sentences.
        tested: Images that at least one method scored.
        unreadable: Images that could not be read.
        seconds: Time over all calls.
    """

    folder: Path
    html: Path
    markdown: Path
    json: Path
    recommended: str
    shots: int
    reason: str
    tested: int
    unreadable: int
    seconds: float
