"""From everything that was measured to the files of a report."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vlmad_core.errors import VlmadError
from vlmad_core.files import write_whole
from vlmad_core.registry import Registry
from vlmad_core.report import ROWS, Row, read_rows
from vlmad_core.version import __version__
from vlmad_study.ablation import read_effects
from vlmad_study.backbone import BackboneInfo
from vlmad_study.cost import measured
from vlmad_study.ranking import Ranked, rank
from vlmad_study.recommendation import recommend
from vlmad_study.report import sections
from vlmad_study.report.content import Content, StudyReport
from vlmad_study.report.details import appendix, categories, examples
from vlmad_study.report.headline import first_page, reason
from vlmad_study.report.render import Markdown, bullets, heading, page, paragraph
from vlmad_study.sections import PlannedSection
from vlmad_study.settings import SECTIONS, Scope, StudySettings

__all__ = ["write_report"]

HTML, MARKDOWN, JSON = "report.html", "report.md", "study.json"

_SECTIONS: dict[str, Callable[[Content], list[Markdown]]] = {
    "features": sections.features,
    "alignment": sections.alignment,
    "prompts": sections.prompts,
    "shots": sections.shots,
    "efficiency": sections.efficiency,
    "cross-domain": sections.cross_domain,
}


def write_report(
    out: Path,
    settings: StudySettings,
    scope: Scope,
    info: BackboneInfo,
    planned: Mapping[str, PlannedSection],
    left_out: Mapping[str, Sequence[str]],
    record: Mapping[str, Any],
    registry: Registry,
) -> StudyReport:
    """Write ``report.md``, the same as ``report.html``, and ``study.json``.

    Args:
        out: Folder of the study.
        settings: Of the study.
        scope: How much of it was done.
        info: The backbone.
        planned: Section to its plan.
        left_out: Section to sentences.
        record: Of the folder: versions, seconds.
        registry: Where to look for parts.
    """
    rows: dict[str, list[Row]] = {name: _rows(out / name) for name in SECTIONS}
    speeds = measured(out / "efficiency")
    content = Content(
        out=out,
        settings=settings,
        scope=scope,
        info=info,
        rows=rows,
        groups={name: planned[name].groups if name in planned else {} for name in SECTIONS},
        left_out={name: list(dict.fromkeys(some)) for name, some in left_out.items()},
        speeds=speeds,
        effects=read_effects(out / "prompts" / "ablation.json") or [],
        recommendation=recommend(out / "shots", rows["shots"], speeds, scope.reference) if rows["shots"] else None,
        record=record,
        registry=registry,
    )
    content.images.mkdir(parents=True, exist_ok=True)
    blocks = first_page(content)
    for name in SECTIONS:
        if name in settings.sections:
            blocks += _section(name, content)
    blocks += [*categories(content), *examples(content), *appendix(content)]
    text = "\n\n".join(block for block in blocks if block) + "\n"
    write_whole(out / MARKDOWN, text.encode())
    write_whole(out / HTML, page(text, out).encode())
    write_whole(out / JSON, (json.dumps(_summary(content), indent=1, allow_nan=False) + "\n").encode())
    best = None if content.recommendation is None else content.recommendation.best
    done = [row for some in rows.values() for row in some if row["status"] == "done"]
    return StudyReport(
        folder=out,
        html=out / HTML,
        markdown=out / MARKDOWN,
        json=out / JSON,
        recommended="" if best is None else best.method,
        shots=0 if best is None else best.shots,
        reason=reason(content),
        tested=max((row["good"] + row["defective"] for row in done), default=0),
        unreadable=len({f["path"] for some in rows.values() for row in some for f in row.get("unreadable") or ()}),
        seconds=float(record.get("seconds", 0.0)),
    )


def _rows(folder: Path) -> list[Row]:
    return read_rows(folder) if (folder / ROWS).exists() else []


def _section(name: str, content: Content) -> list[Markdown]:
    """A section; where nothing was tested, that sentence."""
    source = "shots" if name in ("alignment", "efficiency") else name
    if not any(row["status"] == "done" for row in content.rows[source]):
        blocks = [heading(f"{SECTIONS.index(name) + 1} {name.capitalize()}"), paragraph("Nothing was tested.")]
    else:
        try:
            blocks = _SECTIONS[name](content)
        except VlmadError as error:
            blocks = [heading(f"{SECTIONS.index(name) + 1} {name.capitalize()}")]
            blocks.append(paragraph(f"This section could not be written: {error}"))
    lacks = [*content.left_out.get(name, ())]
    lacks += [s for key, s in content.scope.cuts.items() if key.partition(",")[0] == name and s not in lacks]
    return [*blocks, paragraph("Left out here:"), bullets(lacks)] if lacks else blocks


def _summary(content: Content) -> dict[str, Any]:
    """``study.json``: what the report says, for programs."""
    found, info = content.recommendation, content.info
    summary: dict[str, Any] = {
        "vlmad": __version__,
        "settings": content.settings.model_dump(mode="json"),
        "scope": content.scope.model_dump(mode="json"),
        "backbone": {"label": info.label, "depth": info.depth, "has_text": info.has_text, **info.provenance},
        "seconds": content.record.get("seconds", 0.0),
        "recommended": None,
        "sections": {
            name: {
                dataset: [_ranked(one) for one in rank(rows, dataset=dataset)]
                for dataset in dict.fromkeys(str(row["dataset"]) for row in rows)
            }
            for name, rows in content.rows.items()
            if rows
        },
        "effects": [{**asdict(effect), "verdict": effect.verdict} for effect in content.effects],
        "speed": [asdict(speed) for speed in content.speeds],
        "left_out": content.left_out,
    }
    if found is not None:
        pair = found.comparison.paired if found.comparison is not None else None
        summary["recommended"] = {
            **_ranked(found.best),
            "reason": reason(content),
            "shown_better_than_the_next": found.is_better_than_next,
            "next": None if found.runner_up is None else _ranked(found.runner_up),
            "difference": None if pair is None else _finite(asdict(pair)),
            "not_shown_to_be_worse": [_ranked(one) for one in found.equals],
        }
    return summary


def _ranked(one: Ranked) -> dict[str, Any]:
    low, high = one.image.interval or (None, None)
    return {
        "method": one.method,
        "shots": one.shots,
        "image_auroc": one.image.value,
        "image_auroc_low": low,
        "image_auroc_high": high,
        "pixel_auroc": one.pixel.value,
        "aupro": one.aupro.value,
        "trained_on_this": one.rows.trained_here,
    }


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}
