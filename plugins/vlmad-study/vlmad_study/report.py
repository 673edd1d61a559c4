"""From everything that was measured to a report: HTML that needs nothing else, Markdown with its pictures, and JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlmad_core.errors import VlmadError
from vlmad_core.files import write_whole
from vlmad_core.report import means
from vlmad_core.report.rows import ROWS, Row, read_rows
from vlmad_study import chapters
from vlmad_study.advice import advise
from vlmad_study.costs import cost_blocks
from vlmad_study.document import Block, Heading, Text
from vlmad_study.efficiency import measured
from vlmad_study.ending import closing
from vlmad_study.leave_out import read_effects
from vlmad_study.markdown import as_markdown
from vlmad_study.material import Material
from vlmad_study.opening import opening
from vlmad_study.page import as_page
from vlmad_study.probe import Eyes
from vlmad_study.prompt_chapter import prompts
from vlmad_study.settings import SECTIONS, Scope, StudySettings
from vlmad_study.summary import summary
from vlmad_study.weaknesses import gallery_blocks, weaknesses

__all__ = ["StudyReport", "write_report"]

HTML, MARKDOWN, JSON = "report.html", "report.md", "study.json"

_CHAPTERS: dict[str, Callable[[Material], list[Block]]] = {
    "features": chapters.features,
    "alignment": chapters.alignment,
    "prompts": prompts,
    "shots": chapters.shots,
    "efficiency": cost_blocks,
    "cross-domain": chapters.cross_domain,
}


@dataclass(frozen=True)
class StudyReport:
    """What a study left.

    Args:
        folder: Where everything is.
        html: The report for people, in one file.
        markdown: The same as Markdown.
        json: The same for programs.
        recommended: Label of the method to take; empty where none was compared.
        shots: Normal images that it wants.
        reason: Why, in a few sentences.
        seconds: That it took, over all parts of the run.
    """

    folder: Path
    html: Path
    markdown: Path
    json: Path
    recommended: str
    shots: int
    reason: str
    seconds: float


def write_report(
    out: Path,
    asked: StudySettings,
    scope: Scope,
    eyes: Eyes,
    left_out: Mapping[str, Sequence[str]],
    record: Mapping[str, Any],
) -> StudyReport:
    """Make the report of what is in a folder.

    Args:
        out: Folder of the study.
        asked: Its settings.
        scope: What was done of it.
        eyes: The backbone.
        left_out: Section to sentences.
        record: Of the run: versions, hashes, seconds.
    """
    rows: dict[str, list[means.Row]] = {name: list(_rows(out / name)) for name in SECTIONS}
    speeds = measured(out / "efficiency")
    advice = advise(out / "shots", rows["shots"], speeds, scope.reference) if rows["shots"] else None
    material = Material(
        out=out,
        scope=scope,
        rows=rows,
        left_out={name: list(dict.fromkeys(some)) for name, some in left_out.items()},
        speeds=speeds,
        effects=read_effects(out / "prompts" / "leave-one-out.json") or [],
        advice=advice,
        datasets=list(dict.fromkeys(str(row["dataset"]) for some in rows.values() for row in some)),
    )
    material.pictures.mkdir(parents=True, exist_ok=True)
    detectors = {
        str(row["method"]): str(path)
        for row in rows["shots"]
        if (path := _detector(out, str(row["method"]))) is not None
    }
    blocks, reason = opening(material, asked, eyes, detectors)
    for name in SECTIONS:
        if name in asked.sections:
            blocks += _chapter(name, material)
    blocks += weaknesses(material)
    blocks += gallery_blocks(material)
    blocks += closing(material, asked, eyes, record)
    title = f"Study of {material.datasets[0] if material.datasets else asked.data.path.name} with {eyes.label}"
    write_whole(out / MARKDOWN, as_markdown(blocks, out).encode())
    write_whole(out / HTML, as_page(blocks, title).encode())
    told = summary(material, asked, eyes, record, reason)
    write_whole(out / JSON, (json.dumps(told, indent=1, allow_nan=False) + "\n").encode())
    best = None if advice is None else advice.best
    return StudyReport(
        folder=out,
        html=out / HTML,
        markdown=out / MARKDOWN,
        json=out / JSON,
        recommended="" if best is None else best.method,
        shots=0 if best is None else best.shots,
        reason=reason,
        seconds=float(record.get("seconds", 0.0)),
    )


def _rows(folder: Path) -> list[Row]:
    return read_rows(folder) if (folder / ROWS).exists() else []


def _detector(out: Path, method: str) -> Path | None:
    """The folder of a detector that was trained here, by the label that rows have."""
    for path in sorted((out / "trained").glob("*/label")):
        if path.read_text(encoding="utf-8") == method:
            return path.parent
    return None


def _chapter(name: str, material: Material) -> list[Block]:
    """A chapter; where it has no rows, or cannot be told, why."""
    blocks: list[Block]
    if name != "efficiency" and not any(row["status"] == "done" for row in material.rows[name]):
        number = SECTIONS.index(name) + 1 if name in SECTIONS else 0
        blocks = [Heading(f"{number} {name.capitalize()}"), Text("Nothing was judged in this section.")]
    else:
        try:
            blocks = _CHAPTERS[name](material)
        except VlmadError as error:
            blocks = [Heading(name.capitalize()), Text(f"This section could not be told: {error}")]
    lacks = material.left_out.get(name, [])
    if lacks:
        blocks.append(Text(f"Left out here: {' '.join(lacks)}", "note"))
    return blocks
