"""The last page: what was left out, and everything that is needed to repeat it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from vlmad_core.report.means import Row
from vlmad_core.version import __version__
from vlmad_study.document import Block, Bullets, Heading, Text
from vlmad_study.material import Material
from vlmad_study.probe import Eyes
from vlmad_study.settings import StudySettings

__all__ = ["closing"]

TUNED = (
    "Nothing was tuned on this data: every threshold, temperature, weight and wording is the default of its method, no "
    "image of this data set was learned from by what is ranked here, and the normal images that methods compare with "
    "were drawn by seed."
)


def closing(study: Material, asked: StudySettings, eyes: Eyes, record: Mapping[str, Any]) -> list[Block]:
    """What is missing, and the settings."""
    blocks: list[Block] = [Heading("What was left out")]
    lacks = list(dict.fromkeys(sentence for some in study.left_out.values() for sentence in some))
    if study.scope.reduced:
        lacks.insert(0, study.scope.reduced)
    unread = {
        (f["path"], f["error"]) for some in study.rows.values() for row in some for f in row.get("unreadable") or ()
    }
    lacks += [f"Could not be read: {path} ({error})" for path, error in sorted(unread)]
    blocks.append(Bullets(tuple(lacks)) if lacks else Text("Nothing."))
    blocks += [Heading("How it was done"), Text(TUNED), Bullets(tuple(_facts(study, asked, eyes, record)))]
    blocks.append(
        Text(
            "Every number is in `SECTION/rows.jsonl`, every score of every image in `SECTION/scores/`, and the "
            "summary in "
            "`study.json`. The same command with the same `--out` measures nothing again and writes this report anew.",
            "note",
        )
    )
    return blocks


def _facts(study: Material, asked: StudySettings, eyes: Eyes, record: Mapping[str, Any]) -> list[str]:
    rows = [row for some in study.rows.values() for row in some if row["status"] == "done"]
    weights = ", ".join(f"{name} {value[:16]}" for name, value in sorted(eyes.provenance.items()) if name == "sha256")
    facts = [
        f"Backbone `{eyes.label}`: {eyes.depth} blocks, {eyes.size[0]} x {eyes.size[1]} pixels, "
        f"{'reads' if eyes.reads else 'does not read'}; weights {eyes.provenance.get('weights', 'not named')}"
        + (f" ({weights})." if weights else "."),
        *_images(study, rows),
        f"Normal images: {', '.join(map(str, study.scope.shots)) or 'none'}; draws with seeds 0 to "
        f"{study.scope.seeds - 1} "
        "(section features: seed 0 alone); which ones is written in the rows.",
        "Class names: " + "; ".join(_names(rows)) + ".",
        f"vlmad {__version__}, torch {torch.__version__}; {torch.get_num_threads()} threads.",
        f"{len(rows)} rows in {_time(float(record.get('seconds', 0.0)))} of work, over all parts of the run.",
        f"Asked for: sections {', '.join(asked.sections)}; at most {asked.minutes:g} minutes; estimated "
        f"{_time(sum(study.scope.seconds.values()))}.",
    ]
    trained = sorted({row["method"] for row in rows if row["trained_on"]})
    if trained:
        facts.append(
            f"Trained here, {asked.epochs} epochs on at most {study.scope.pictures} pictures each: "
            f"{'; '.join(trained)}. Options are those "
            "of each paper but for the epochs, and without mosaics."
        )
    return facts


def _images(study: Material, rows: list[Row]) -> list[str]:
    facts = []
    for dataset in study.datasets:
        counts: dict[str, tuple[int, int]] = {}
        for row in rows:
            if row["dataset"] == dataset:
                counts[row["category"]] = row["good"], row["defective"]
        told = "; ".join(f"{name} {good} good + {bad} defective" for name, (good, bad) in counts.items())
        facts.append(f"Judged of {dataset}: {told}.")
    return facts


def _names(rows: list[Row]) -> list[str]:
    usual = {row["category"]: row["class_name"] for row in rows if not row["method"].startswith("synonym")}
    return [f"{category} “{name}”" for category, name in usual.items()]


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
