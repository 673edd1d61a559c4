"""``vlmad prompts``: what each phrase and template of a recipe's prompts does to normal images and defects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlmad_core.cli import options, terminal
from vlmad_core.cli.choice import Choice, takes_choice
from vlmad_core.cli.detector import build, build_unfitted, note_missing_name
from vlmad_core.cli.report import bar
from vlmad_core.errors import IncompatibleError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vlmad_core.contracts.parts import TextParts
    from vlmad_core.inspection.prompt_effects import Control, Effect
    from vlmad_core.pipeline.pipeline import Pipeline
    from vlmad_core.pipeline.prompt_lint import Item

__all__ = ["prompts_command"]


@takes_choice("detector", "class_name", "bits")
def prompts_command(
    choice: Choice,
    normal: Annotated[list[str], typer.Option("--normal", "-n", help="Images of good parts: file, folder or pattern.")],
    defects: Annotated[
        list[str] | None, typer.Option("--defects", help="Images of defects; without them nothing is called harmful.")
    ] = None,
    sentences: Annotated[bool, typer.Option("--sentences", help="Also each sentence by itself.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
    quiet: options.Quiet = False,
    progress: options.ProgressFlag = None,
    batch_size: options.BatchSize = 8,
    workers: options.Workers = 2,
) -> None:
    """Leave out each phrase and each template of the prompts in turn, and compare the scores with and without it.

    Dead ones change nothing; with --defects, harmful ones lower the AUROC. A control with nonsense words in the same
    sentences shows what the words bring. Only scorers that compare with text count here.
    """
    from vlmad_core.contracts.images import find_images

    good, bad = find_images(normal), find_images(defects) if defects else []
    tell = (lambda text: None) if quiet else terminal.note
    pipeline = _built(choice, tell)
    note_missing_name(pipeline, tell)
    with bar("images", len(good) + len(bad), False if quiet else progress) as shown:
        found = _lint(
            pipeline, good, bad, sentences=sentences, batch_size=batch_size, workers=workers, progress=shown.reach
        )
    if as_json:
        terminal.print_json(found)
        return
    if not quiet:
        _show(found)
        for line in _notes(found):
            terminal.note(line)


def _built(choice: Choice, tell: Callable[[str], None]) -> Pipeline:
    """The detector, with nothing in its memories where it is none that was saved: only text counts here."""
    if choice.detector is not None:
        return build(choice, tell).pipeline
    pipeline = build_unfitted(choice)
    pipeline.check_trained()
    pipeline.class_name = choice.class_name
    return pipeline


def _lint(
    pipeline: Pipeline,
    good: Sequence[Path],
    bad: Sequence[Path],
    *,
    sentences: bool,
    batch_size: int,
    workers: int,
    progress: Any,
) -> dict[str, Any]:
    """Everything as plain data."""
    from vlmad_core.inspection.prompt_effects import control_of, effect_of
    from vlmad_core.pipeline.prompt_lint import items_of, nonsense_variants, score_variants, text_scorers, variants_of

    text_scorers(pipeline)
    name, parts, texts = _parts(pipeline)
    abnormal = texts.abnormal.tolist()
    items = items_of(parts, abnormal, sentences=sentences)
    variants = variants_of(parts, items, len(abnormal))
    controls = nonsense_variants(pipeline, parts, name, texts)
    scores = score_variants(
        pipeline,
        [*good, *bad],
        [*variants, *controls],
        texts.abnormal,
        batch_size=batch_size,
        workers=workers,
        progress=progress,
    )
    is_defect = [False] * len(good) + [True] * len(bad)
    effects = [effect_of(scores[0], row, is_defect) for row in scores[1 : len(variants)]]
    control = control_of(scores[0], scores[len(variants) :], is_defect)
    return _record(items, effects, control, scores, len(variants), is_defect, name, parts)


def _parts(pipeline: Pipeline) -> Any:
    """Class name, sentences and text embeddings.

    Raises:
        IncompatibleError: The prompts name no sentences, or depend on the image.
    """
    import torch

    name = pipeline.class_name or "object"
    with torch.no_grad():
        parts = pipeline.text_parts(name)
        if parts is None:
            raise IncompatibleError(
                "these prompts name no sentences, so none can be left out. Use prompts 'templates' or 'compositional'."
            )
        texts = pipeline.text_embeddings([name])
    assert texts is not None
    return name, parts, texts


def _record(
    items: Sequence[Item],
    effects: Sequence[Effect],
    control: Control | None,
    scores: NDArray[np.float64],
    count: int,
    is_defect: Sequence[bool],
    name: str,
    parts: TextParts,
) -> dict[str, Any]:
    import numpy as np

    labels = np.asarray(is_defect)
    pairs = sorted(zip(items, effects, strict=True), key=lambda pair: (pair[0].kind != "state", -pair[1].largest))
    rows = [
        {"kind": item.kind, "text": item.text, "is_abnormal": item.is_abnormal, "sentences": len(item.rows)}
        | asdict(effect)
        for item, effect in pairs
    ]
    nonsense = scores[count:]
    return {
        "class_name": name,
        "sentences": len(parts.sentences),
        "normal_images": int((~labels).sum()),
        "defects": int(labels.sum()),
        "score": {
            "normal": float(scores[0][~labels].mean()),
            "defect": float(scores[0][labels].mean()) if labels.any() else None,
            "spread": float(scores[0].std()),
        },
        "control": None
        if not len(nonsense)
        else {
            "normal": float(nonsense[:, ~labels].mean()),
            "defect": float(nonsense[:, labels].mean()) if labels.any() else None,
            **({} if control is None else asdict(control)),
        },
        "items": rows,
    }


def _show(found: dict[str, Any]) -> None:
    if not found["items"]:
        return
    has_defects = found["defects"] > 0
    columns = ["finding", "what", "of", "on normals", *(["on defects", "AUROC", "95 %"] if has_defects else []), "text"]
    rows = []
    for one in found["items"]:
        side = {None: "", True: "abnormal", False: "normal"}[one["is_abnormal"]]
        row = [one["finding"], one["kind"], side, f"{one['normal']:+.4f}"]
        if has_defects:
            between = "" if one["low"] is None else f"{100 * one['low']:+.1f} to {100 * one['high']:+.1f}"
            row += [f"{one['defect']:+.4f}", f"{100 * one['auroc']:+.1f}", between]
        rows.append([*row, one["text"]])
    terminal.table(columns, rows, right=["on normals", "on defects", "AUROC", "95 %"])


def _notes(found: dict[str, Any]) -> list[str]:
    normals, defects = (
        terminal.counted(found[key], word) for key, word in (("normal_images", "normal image"), ("defects", "defect"))
    )
    about = f"{normals}, {defects}; {found['sentences']} sentences about '{found['class_name']}'"
    notes = [f"{about}. An effect is the score with the phrase minus the score without it."]
    if not found["items"]:
        notes.append("each state has one sentence only, so none can be left out.")
    control = found["control"]
    if control is None:
        notes.append("no control with nonsense words: these prompts are not plain sentences.")
    elif "auroc" in control:
        low, high = control["nonsense"][0], control["nonsense"][-1]
        notes.append(
            f"control: AUROC {100 * control['auroc']:.1f} with these words, {100 * low:.1f} to {100 * high:.1f} with "
            f"nonsense words in the same sentences ({len(control['nonsense'])} draws, of which "
            f"{100 * control['share_below']:.0f} % are lower)."
        )
    else:
        own = found["score"]["normal"]
        notes.append(f"control: normal images score {own:.4f} on average, {control['normal']:.4f} with nonsense words.")
    if not found["defects"]:
        notes.append("which phrases are harmful is only known with --defects.")
    return notes
