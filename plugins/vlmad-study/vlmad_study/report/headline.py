"""The first page: what to take, how to use it, and how sure that is."""

from __future__ import annotations

from pathlib import Path

from vlmad_study.ranking import Ranked, percent
from vlmad_study.recommendation import RULE, headline, reasons
from vlmad_study.report.content import Content
from vlmad_study.report.render import Markdown, bold, bullets, code_block, heading, lead, paragraph, printable
from vlmad_study.usage import command, save_method

__all__ = ["first_page", "reason"]

_RECIPE, _ZERO_SHOT = "recommended.yaml", "recommended-zero-shot.yaml"
NOTHING = "No recommendation: no method was tested, so there is nothing to compare."


def reason(content: Content) -> str:
    """The recommendation in a few sentences of plain text."""
    found = content.recommendation
    return NOTHING if found is None else printable(" ".join(headline(found)))


def first_page(content: Content) -> list[Markdown]:
    """Title, recommendation, commands, and the reasons; writes the recipe of each command."""
    name = content.datasets[0] if content.datasets else content.settings.data.path.name
    blocks = [heading(f"Which method for {name}?", 1)]
    found = content.recommendation
    if found is None:
        return [*blocks, lead(NOTHING)]
    first, facts = headline(found)
    blocks.append(lead(bold(first), facts))
    height, width = content.info.size
    categories = len(found.best.rows.categories)
    plural = "categories" if categories > 1 else "category"
    about = f"All methods use backbone '{content.info.label}' at {height} x {width} pixels, on {categories} {plural}."
    blocks += [paragraph(about), heading("How to use it", 3), *_usage(content, found.best, _RECIPE)]
    if found.best.shots:
        shots = found.best.shots
        text = (
            f"NORMAL_IMAGES is a folder of {shots} or more images without defects. The figures are for {shots}; "
            "section 4 shows what more of them bring."
        )
        blocks.append(paragraph(text))
    if found.without is not None:
        best = found.without
        blocks.append(paragraph(bold("Without any normal image:"), f"{best.name}, image AUROC {percent(best.image)}."))
        blocks += _usage(content, best, _ZERO_SHOT)
    blocks += [heading("Why, and how sure that is", 3), bullets(reasons(found)), paragraph(RULE)]
    if content.scope.cuts:
        limit = f"The limit of {content.settings.minutes:g} minutes allowed less than everything:"
        blocks += [paragraph(limit), bullets(content.scope.cuts.values())]
    return blocks


def _usage(content: Content, one: Ranked, file: str) -> list[Markdown]:
    """The command, or that there is none."""
    detector = _detector(content.out, one.method) if one.is_learned else None
    typed = command(one, save_method(one, content.out / file, content.registry), detector, content.settings.bits)
    if typed is None:
        return [paragraph(f"{one.name} could not be written as a recipe; its pipeline is in shots/rows.jsonl.")]
    return [code_block(typed)]


def _detector(out: Path, method: str) -> Path | None:
    """The folder of a detector that was trained here, by the label of its rows."""
    for path in sorted((out / "trained").glob("*/label")):
        if path.read_text(encoding="utf-8") == method:
            return path.parent
    return None
