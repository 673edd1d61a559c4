"""``vlmad speed``: time of an image, images a second, memory and operations."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vlmad_core.cli import options, terminal
from vlmad_core.cli.choice import Choice, takes_choice
from vlmad_core.cli.detector import build, note_missing_name
from vlmad_core.cli.torch_import import import_torch
from vlmad_core.cli.unquoted import QuotedCommand

if TYPE_CHECKING:
    from vlmad_core.pipeline.pipeline import Pipeline


class SpeedCommand(QuotedCommand):
    """Knows a pattern that the shell took apart."""

    one_value = (("--normal", "-n"),)


@takes_choice("detector", "class_name", "normals", "bits", "precision")
def speed_command(
    paths: Annotated[list[str], typer.Argument(help="Images, folders, glob patterns; scored in turn.")],
    choice: Choice,
    batch_size: Annotated[
        list[int] | None, typer.Option(min=1, help="Images at a time; repeat it for several. By default 1 and 8.")
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Images timed at each batch size.")] = 100,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", dir_okay=False, help="A speed.jsonl to write to, or to add to.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
    threads: options.Threads = None,
    workers: options.Workers = 2,
    compile_mode: options.Compile = None,
) -> None:
    """Measure speed and memory, apart from how good the results are.

    From the file to the map at the size of the image: percentiles for one image by itself, images a second for each
    batch size, the most memory, parameters, and floating-point operations an image.
    """
    from vlmad_core.contracts.images import find_images

    found = find_images(paths)
    if threads is not None:
        import_torch(threads)
    made = build(choice, terminal.note)
    note_missing_name(made.pipeline, terminal.note)
    made.fit(batch_size=8, workers=workers)
    if compile_mode is not None:
        made.pipeline.compile_extractor(compile_mode, terminal.note)
    from vlmad_core.benchmark.speed import measure
    from vlmad_core.report.speed import write_speed

    method = choice.detector.name if choice.detector is not None else _label(choice.recipe_or_default, made.pipeline)
    sizes = tuple(dict.fromkeys(batch_size or (1, 8)))
    speeds = measure(
        made.pipeline,
        found,
        method=method,
        shots=len(made.normals) or None,
        batch_sizes=sizes,
        repeats=repeats,
        workers=workers,
    )
    if out is not None:
        write_speed(out, speeds)
    if as_json:
        terminal.print_json([asdict(speed) for speed in speeds])
        return
    heads = ("batch", "p50 [ms]", "p95 [ms]", "p99 [ms]", "images/s", "memory [MB]")
    lines = [
        (
            str(one.batch),
            *("" if value is None else f"{value:.1f}" for value in (one.p50_ms, one.p95_ms, one.p99_ms)),
            f"{one.images_per_second:.1f}",
            "unknown" if one.peak_memory_mb is None else f"{one.peak_memory_mb:.0f}",
        )
        for one in speeds
    ]
    terminal.table(heads, lines, right=heads)
    one = speeds[0]
    size = f"{one.image_size[0]} x {one.image_size[1]} pixels"
    terminal.note(
        f"{one.method} on {one.backbone}, {size}, {one.dtype}: {one.parameters / 1e6:.1f} M parameters, "
        f"{one.learned / 1e6:.2f} M of them learned; {one.flops / 1e9:.2f} GFLOP an image"
    )
    terminal.note(f"on {one.machine}, {one.device}, {one.threads} threads; memory: {one.memory}")


def _label(recipe: str, pipeline: Pipeline) -> str:
    """A run on another backbone than the recipe's own is not called by the recipe's name alone."""
    from vlmad_core.benchmark.cells import method_label
    from vlmad_core.registry.registry import default_registry

    if pipeline.spec is None:
        return recipe
    return method_label(recipe, recipe, pipeline.spec.backbone, default_registry())
