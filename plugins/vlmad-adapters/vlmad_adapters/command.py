"""``vlmad adapt``: train on a few images of a field, and keep what was trained only where it helps on held-out ones."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vlmad_core.cli import options, terminal
from vlmad_core.cli.choice import Choice
from vlmad_core.cli.detector import resolve_choice
from vlmad_core.cli.report import bar
from vlmad_core.errors import ConfigError

if TYPE_CHECKING:
    from vlmad_adapters.adapt import Outcome

__all__ = ["adapt_command"]


class What(StrEnum):
    """What is trained."""

    probe = "probe"
    prompts = "prompts"
    adapters = "adapters"
    both = "both"
    all = "all"


def adapt_command(
    normals: Annotated[list[str], typer.Argument(help="Normal images: files, folders, glob patterns.")],
    out: Annotated[Path, typer.Option("--out", "-o", file_okay=False, help="Folder of the detector; made if needed.")],
    defects: Annotated[
        list[str] | None, typer.Option("--defects", help="Defective images: file, folder or pattern; repeat it.")
    ] = None,
    masks: Annotated[
        list[str] | None,
        typer.Option("--masks", help="Of defective images, named as they are, with or without _mask."),
    ] = None,
    what: Annotated[
        list[What] | None,
        typer.Option(
            help="What is trained: a discriminant beside a memory of normal images, prompts, adapters in the image "
            "encoder, adapters and prompts, or each of them; by default the probe, and prompts without defects.",
        ),
    ] = None,
    class_name: Annotated[
        str | None, typer.Option("--class-name", "-c", help="What the images show, such as 'metal nut'.")
    ] = None,
    field: options.Field = None,
    folds: Annotated[int, typer.Option(min=2, help="Parts of which each is held out once.")] = 4,
    epochs: Annotated[int, typer.Option(min=1, help="Times through the images, at most; training stops early.")] = 30,
    seed: Annotated[int, typer.Option(min=0, help="Of folds, generated defects and training.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Save it also where training does not help.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Begin anew in OUT.adapt.")] = False,
    bits: options.Bits = None,
    window: options.Window = None,
    channels: options.Channels = None,
    device: Annotated[str, typer.Option(help="Such as cpu or cuda:1; auto: the first of cuda, mps and cpu.")] = "auto",
    batch_size: options.BatchSize = 8,
    threads: options.Threads = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout, at the end.")] = False,
    quiet: options.Quiet = False,
    progress: options.ProgressFlag = None,
) -> None:
    """Train on a few images of a field, and save the detector only where it helps on held-out images.

    Every method is compared on images that it did not learn from, with recipes that need no training; a table shows
    all of them. Where no trained one is better, nothing is saved, the better recipe is named, and the exit code is 1.
    The same command after a stop goes on.
    """
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    values = options.parse_values(bits, window, channels)
    from vlmad_adapters.images import find_given
    from vlmad_core.contracts.find import find_images

    if field is not None:
        resolve_choice(Choice(recipe="pocket", field=field))  # an unknown one is refused before an image is read
    given = find_given(
        find_images(normals),
        find_images(defects) if defects else [],
        find_images(masks) if masks else [],
        class_name=class_name,
    )
    from vlmad_adapters.adapt import adapt, not_helpful
    from vlmad_adapters.methods import WHAT, Setting, methods_of

    chosen = [str(one) for one in what or ()] or (["probe"] if given.defects else ["prompts"])
    if "all" in chosen:
        chosen = [name for name in WHAT if name != "probe" or given.defects]
    methods = methods_of(chosen, states=field, has_defects=bool(given.defects))
    setting = Setting(class_name, seed, epochs, values, device, batch_size)
    if not given.defects and not quiet:
        terminal.note(
            "no defective image was given, so the held-out defects are generated ones. They say little of real ones: "
            "give a few with --defects."
        )
    with bar("training", 0, False if quiet else progress) as shown:

        def show(done: int, total: int, now: str) -> None:
            shown.say(now)
            shown.reach(done, total)

        outcome = adapt(
            given, methods, out, setting=setting, folds=folds, force=force, overwrite=overwrite, progress=show
        )
    if as_json:
        sys.stdout.write(json.dumps(outcome.document, indent=2) + "\n")
    elif not quiet:
        _show(outcome)
    if outcome.saved is None:
        raise ConfigError(not_helpful(outcome))
    if not quiet and not as_json:
        sys.stdout.write(f"saved      {terminal.shown(str(outcome.saved))}: {outcome.trained.name}\n")
        sys.stdout.write("no threshold yet: `vlmad calibrate` sets one from normal images that it did not learn from\n")


def _show(outcome: Outcome) -> None:
    rows = []
    for row in outcome.rows:
        difference = ("", "", "")
        if row.difference is not None:
            one = row.difference
            difference = (f"{one.difference:+.3f}", f"{one.low:+.3f} to {one.high:+.3f}", f"{one.better:.0%}")
        rows.append((row.name, "yes" if row.trained else "no", f"{row.auroc:.3f}", *difference))
    columns = ["method", "trained", "image AUROC", "difference", "95 %", "better in"]
    terminal.table(columns, rows, right=["image AUROC", "difference", "better in"])
