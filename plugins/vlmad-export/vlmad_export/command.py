"""``vlmad export``: a detector as one file for a machine without torch."""

from __future__ import annotations

import sys
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from vlmad_core.cli import options, terminal

__all__ = ["export_command"]


class RuntimeChoice(StrEnum):
    """What the file is for."""

    onnx = "onnx"
    openvino = "openvino"


class PrecisionChoice(StrEnum):
    """Of the backbone and the extractor."""

    fp32 = "fp32"
    fp16 = "fp16"
    int8 = "int8"


def export_command(
    detector: Annotated[Path, typer.Argument(help="Folder that `vlmad fit` wrote, or the name of a recipe.")],
    out: Annotated[Path, typer.Option("--out", "-o", dir_okay=False, help="nut.onnx, or nut.xml for OpenVINO.")],
    to: Annotated[RuntimeChoice, typer.Option("--to", help="The runtime.")] = RuntimeChoice.onnx,
    precision: Annotated[
        PrecisionChoice, typer.Option(help="Of the backbone; what compares and scores stays in float32.")
    ] = PrecisionChoice.fp32,
    normal: Annotated[
        list[str] | None,
        typer.Option("--normal", "-n", help="Images of good parts to compare on; int8 takes its ranges from them."),
    ] = None,
    class_name: Annotated[
        str | None, typer.Option("--class-name", "-c", help="What the images show; fixed in the file.")
    ] = None,
    false_alarms: Annotated[
        float | None, typer.Option(min=0, max=1, help="Rate of good images that may be rejected, for the thresholds.")
    ] = None,
    max_images: Annotated[int, typer.Option(min=1, help="Real images in the comparison.")] = 64,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON document on stdout, and nothing else there.")
    ] = False,
    quiet: options.Quiet = False,
) -> None:
    """Write a detector as one file that runs without torch: image in, score and map out.

    The file is compared with the original on real and made images first, and nothing is written where scores, maps or
    decisions differ. Pre-processing and thresholds are in the .json beside it. Run it with `vlmad-edge`, or with
    `vlmad predict --detector nut.onnx`.
    """
    from vlmad_core.pipeline.build import build, load
    from vlmad_export.exporting import export_detector

    pipeline = load(detector, device="cpu") if detector.exists() else build(str(detector), device="cpu")
    pipeline.class_name = class_name or pipeline.class_name
    report = export_detector(
        pipeline,
        out,
        to=to.value,
        precision=precision.value,
        images=normal or (),
        false_alarms=false_alarms,
        max_images=max_images,
        tell=(lambda text: None) if quiet or as_json else terminal.note,
    )
    if as_json:
        terminal.print_json({**asdict(report), "model": str(report.model)})
        return
    if not quiet:
        terminal.note(report.parity.summary())
        for name, old, new in report.parity.changed:
            terminal.note(f"decision changed: {terminal.shown(name)} from {old} to {new}")
        if report.recalibrated:
            terminal.note(f"thresholds set again from {report.recalibrated} normal images in {report.precision}")
        if not report.parity.real:
            terminal.note("compared on made images alone; give real ones with --normal")
    sys.stdout.write(terminal.shown(f"{report.model}: {report.precision}, {report.size / 1e6:.1f} MB") + "\n")
