"""The steps of an export: refuse, trace, lower the precision, calibrate again, compare, and only then write."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxscript
import torch
from numpy.typing import NDArray

from vlmad_core.contracts import find_images
from vlmad_core.contracts.images import read, stack
from vlmad_core.errors import ConfigError, VlmadError
from vlmad_core.files import write_whole
from vlmad_core.pipeline import Pipeline
from vlmad_core.pipeline.decisions import StoredCalibration
from vlmad_core.version import __version__
from vlmad_edge.detector import EdgeDetector
from vlmad_edge.record import read_record, record_path
from vlmad_export.edge_errors import as_core_errors
from vlmad_export.gate_images import GateImage, hard_images, normal_files, spread
from vlmad_export.graph import DetectorGraph, check_exportable
from vlmad_export.parity import Parity, compare
from vlmad_export.recalibrate import missing_images, recalibrate
from vlmad_export.record_file import make_document
from vlmad_export.writers import writer_of

__all__ = ["ExportReport", "Precision", "Runtime", "export_detector"]

Runtime = Literal["onnx", "openvino"]
Precision = Literal["fp32", "fp16", "int8"]

SUFFIXES = {"onnx": ".onnx", "openvino": ".xml"}
_FEWEST = 8
"""Real images without which ranges of activations are guesses."""


@dataclass(frozen=True)
class ExportReport:
    """What an export wrote.

    Args:
        model: The file of the network; its ``.json`` lies beside it.
        precision: Of the tower.
        size: Of all files, in bytes.
        parity: The comparison with the original.
        recalibrated: Number of normal images that were scored again by the exported file; 0 in float32.
    """

    model: Path
    precision: str
    size: int
    parity: Parity
    recalibrated: int


def export_detector(
    pipeline: Pipeline,
    out: str | Path,
    *,
    to: Runtime = "onnx",
    precision: Precision = "fp32",
    images: str | Path | Iterable[str | Path] = (),
    false_alarms: float | None = None,
    max_images: int = 64,
    tell: Callable[[str], None] = lambda text: None,
) -> ExportReport:
    """Write a detector as one file and its record. Nothing is written unless it agrees with the original.

    Args:
        pipeline: Fitted and trained; on a CPU, in float32.
        out: ``nut.onnx``, or ``nut.xml`` for OpenVINO; ``nut.json`` is written beside it.
        to: The runtime.
        precision: Of the backbone and extractor; what compares and scores is always float32.
        images: Real images of good parts: for the comparison, and for the ranges of ``int8``. The images of the
            detector's calibration are used too where their files are found.
        false_alarms: Rate of the thresholds that are stored; None: as `Pipeline.verdict` chooses.
        max_images: Real images in the comparison and for the ranges.
        tell: Called with what is done.

    Raises:
        IncompatibleError: The detector cannot be exported; the text names the part.
        ConfigError: Too few images for a lower precision, or the path cannot be written.
        VlmadError: The exported file differs from the original by more than is allowed.
    """
    target = Path(out)
    if target.suffix.lower() != SUFFIXES[to]:
        raise ConfigError(f"{target}: a model for {to} is a file {target.stem}{SUFFIXES[to]}; give that as --out.")
    if not target.parent.is_dir():
        raise ConfigError(f"{target.parent}: no such folder; make it first.")
    pipeline.to("cpu")
    check_exportable(pipeline)
    writer = writer_of(to)
    given = find_images(images) if isinstance(images, str | Path) or list(images := list(images)) else []
    known = normal_files(pipeline.calibration, given)
    remembered = [Path(name) for name, _ in pipeline.normal_images if name and Path(name).is_file()]
    real = spread(list(dict.fromkeys([*given, *known.values(), *(() if known else remembered)])), max_images)
    _check_images(pipeline, precision, real, known)
    with tempfile.TemporaryDirectory(prefix=".vlmad-export-", dir=target.parent) as folder:
        draft = Path(folder) / target.name
        graph = DetectorGraph(pipeline)
        tell("tracing")
        writer.prepare(graph, precision, _pixels(pipeline, real), tell)
        original = pipeline.stored_calibration
        renewed = 0
        if precision != "fp32" and original is not None:
            tell("scoring the normal images again in the lower precision")
            fresh: StoredCalibration | None = recalibrate(pipeline, writer.network(), known)
            renewed = len(known)
        else:
            fresh = original
        files = writer.write(draft, _about(pipeline, precision))
        with _calibrated_with(pipeline, fresh):
            document = make_document(pipeline, runtime=to, precision=precision, files=files, false_alarms=false_alarms)
        tell("comparing with the original")
        parity = _compare(pipeline, draft, document, Path(folder), real, precision, false_alarms)
        if parity.problems:
            raise VlmadError(
                f"the exported detector is not the original, and nothing was written: {'; '.join(parity.problems)}. "
                f"{parity.summary()} Take a higher precision, or more --normal images."
            )
        document["parity"] = parity.to_dict()
        _publish(files, target, document)
    size = sum((target.parent / name).stat().st_size for name in [*files, record_path(target).name])
    return ExportReport(target, precision, size, parity, renewed)


def _check_images(pipeline: Pipeline, precision: str, real: Sequence[Path], known: Mapping[str, Path]) -> None:
    if precision == "fp32":
        return
    if len(real) < _FEWEST:
        raise ConfigError(
            f"precision {precision} needs at least {_FEWEST} images of good parts, and {len(real)} were found: they "
            "set the ranges of the numbers, and show what changes. Give them with --normal."
        )
    stored = pipeline.stored_calibration
    if stored is not None and (missing := missing_images(stored, known)):
        raise ConfigError(
            f"in precision {precision} the thresholds must be set again from the same normal images, and "
            f"{len(missing)} of them are not there, the first is '{missing[0]}'. Give their folder with "
            "--normal, or calibrate the detector anew."
        )


def _pixels(pipeline: Pipeline, paths: Sequence[Path]) -> list[NDArray[np.float32]]:
    """``[1, 3, H, W]`` of each image."""
    batches: Iterator[Any] = read(paths, pipeline.preprocess, batch_size=1)
    found = []
    for (picture,) in batches:
        if picture.error:
            raise ConfigError(f"an image for the export cannot be read: {picture.error}")
        found.append(stack([picture]).numpy())
    return found


def _about(pipeline: Pipeline, precision: str) -> dict[str, str]:
    return {
        "version": __version__,
        "exporter": f"torch {torch.__version__}, onnxscript {onnxscript.__version__}",
        "precision": precision,
        "class_name": pipeline.class_name or "",
        "preprocess": json.dumps(pipeline.preprocess.__dict__, default=list),
        "note": "Thresholds and calibration are in the .json beside this file.",
    }


@contextmanager
def _calibrated_with(pipeline: Pipeline, stored: StoredCalibration | None) -> Iterator[None]:
    before, pipeline.stored_calibration = pipeline.stored_calibration, stored
    try:
        yield
    finally:
        pipeline.stored_calibration = before


def _compare(
    pipeline: Pipeline,
    draft: Path,
    document: Mapping[str, Any],
    folder: Path,
    real: Sequence[Path],
    precision: str,
    false_alarms: float | None,
) -> Parity:
    record_path(draft).write_text(json.dumps(document), encoding="utf-8")
    pictures = folder / "images"
    pictures.mkdir()
    images = [*(GateImage(path, "real") for path in real), *hard_images(pictures, real)]
    with as_core_errors():
        exported = EdgeDetector(read_record(draft))
        return compare(pipeline, exported, images, precision, false_alarms)


def _publish(files: Mapping[str, Path], target: Path, document: Mapping[str, Any]) -> None:
    """The model first and its record last: until that is in place, the old record refuses the new model."""
    try:
        for name, path in files.items():
            shutil.move(path, target.parent / name)
        write_whole(record_path(target), (json.dumps(document, indent=1) + "\n").encode(), sync=True)
    except OSError as error:
        raise ConfigError(f"{target}: cannot be written ({error.strerror}).") from error
