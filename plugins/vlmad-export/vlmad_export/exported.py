"""An exported file as a pipeline of the core, so that every command judges with it: predict, calibrate, report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, cast

import numpy as np
import torch
from torch import Tensor, nn

from vlmad_core.contracts import (
    Backbone,
    Extractor,
    Features,
    Level,
    LevelSpec,
    Prediction,
    Preprocess,
    Scorer,
    Scores,
    TextEmbeddings,
)
from vlmad_core.contracts.images import Picture
from vlmad_core.errors import ConfigError
from vlmad_core.inspection.calibration import Calibration, Fingerprint
from vlmad_core.inspection.evidence import Evidence
from vlmad_core.pipeline import Pipeline
from vlmad_core.pipeline.decisions import StoredCalibration
from vlmad_edge.record import Record, decode_tokens, read_record
from vlmad_edge.session import open_session
from vlmad_export.edge_errors import as_core_errors
from vlmad_export.record_file import exported_fingerprint

__all__ = ["ExportedPipeline", "load_exported"]


class _Vision(nn.Module):
    """Stands where a tower is expected; the file holds the real one."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.zeros(1), requires_grad=False)
        self.blocks: Sequence[Any] = ()
        self.width = self.dim = self.prefix = 1
        self.patch, self.joint, self.class_pool = size, False, False


class _Extractor(Extractor):
    """Runs the file: its map and score as features, so that the scorer has only to hand them on."""

    levels = (LevelSpec("map", 1, False), LevelSpec("score", 1, False))

    def __init__(self, record: Record, threads: int | None, device: str) -> None:
        super().__init__()
        self.run = open_session(record, threads=threads, device=device)

    def forward(self, vision: Any, images: Tensor) -> Features:
        found = self.run(np.ascontiguousarray(images.numpy()))
        score, map_ = torch.from_numpy(np.array(found.score)), torch.from_numpy(np.array(found.anomaly_map))
        grid = (map_.shape[1], map_.shape[2])
        levels = (
            Level(self.levels[0], map_.flatten(1)[..., None], grid),
            Level(self.levels[1], score[:, None, None], (1, 1)),
        )
        return Features(levels, None if found.class_token is None else torch.from_numpy(np.array(found.class_token)))


class _Scorer(Scorer):
    def __init__(self, maximum: float) -> None:
        super().__init__()
        self.maximum = maximum

    def forward(self, features: Features, text_embeddings: TextEmbeddings | None, size: tuple[int, int]) -> Scores:
        level = features["map"]
        return Scores(features["score"].vectors[:, 0, 0], level.vectors[..., 0].unflatten(1, level.grid))


class ExportedPipeline(Pipeline):
    """A detector in a file for onnxruntime or OpenVINO; it predicts and decides, and nothing in it can be exchanged.

    Args:
        record: Of the file; its hash was compared.
        threads: Of the runtime.
        device: ``"cpu"``, or another one of the runtime.

    Raises:
        ConfigError: The runtime is not installed, or the file cannot be opened.
    """

    def __init__(self, record: Record, *, threads: int | None = None, device: str = "cpu") -> None:
        document = record.document
        pixels = Preprocess(record.size, record.mean, record.std, cast("Any", record.interpolation), bits=record.bits)
        hashes = {str(name): str(digest) for name, digest in document["files"].items()}
        provenance = {
            "backbone": f"exported for {record.runtime}",
            "weights": record.model.name,
            "sha256": hashes[record.model.name],
        }
        backbone = Backbone(cast("Any", _Vision(record.size)), None, pixels, provenance=provenance)
        super().__init__(backbone, _Extractor(record, threads, device), [_Scorer(float(document["map_maximum"]))])
        self.record = record
        self.exported = exported_fingerprint(hashes, record.size, record.precision)
        self.class_name, self.bits = record.class_name, record.bits
        self.plugins, self.normals = document["source"]["plugins"], document["source"]["normals"]
        self.trained = document["source"]["trained"]
        if record.normal_range is not None:
            self.normal_range = torch.tensor(record.normal_range)
        if document["calibration"] is not None:
            calibration = Calibration.from_json(json.dumps(document["calibration"]), name=str(record.model))
            tokens = {name: decode_tokens(given) for name, given in document["tokens"].items()}
            self.stored_calibration = StoredCalibration(calibration, tokens)

    def fingerprint(self) -> Fingerprint:
        """The hash of the file, which is all that its scores depend on."""
        return self.exported

    def summary(self) -> str:
        """What the file is and what it was made from."""
        record, source = self.record, self.record.document["source"]
        spec = source["spec"] or {}
        parts = [spec.get("backbone", {}).get("use", "?"), *(scorer["use"] for scorer in spec.get("scorers", ()))]
        known = f"class name {self.class_name!r}" if self.class_name else "no class name"
        return (
            f"exported   {record.model.name}: {record.runtime}, {record.precision}, {record.size[0]} x {record.size[1]}"
            f" pixels, {known}\nmade from  {', '.join(parts)}"
        )

    def explain_batch(
        self, pictures: Sequence[Picture], class_names: Sequence[str] | None = None
    ) -> list[tuple[Prediction, Evidence]]:
        """Refused: the parts that would give the reasons are constants of the file."""
        raise ConfigError(
            f"{self.record.model}: is an exported detector, which gives scores, maps and verdicts and no evidence. Ask "
            "the detector that it was exported from."
        )

    def save(self, folder: str | Path) -> NoReturn:
        """Refused: the file is the detector already."""
        raise ConfigError(
            f"{self.record.model}: is an exported detector and cannot be saved again; copy it with its .json."
        )

    def _class_names(self, names: Sequence[str] | None, count: int) -> list[str]:
        wanted = {self.class_name, *(names or ())} - {None}
        if wanted - {self.record.class_name}:
            other = sorted(str(name) for name in wanted - {self.record.class_name})[0]
            raise ConfigError(
                f"{self.record.model}: was exported for the class name {self.record.class_name!r}, which is fixed in "
                f"the file; got {other!r}. Export the detector again for another name."
            )
        return [self.record.class_name or "object"] * count


def load_exported(path: str | Path, *, threads: int | None = None, device: str = "cpu") -> ExportedPipeline:
    """Open an exported detector as a pipeline; `vlmad_core.load` calls it for ``.onnx`` and ``.xml``.

    Args:
        path: ``nut.onnx`` or ``nut.xml``, with ``nut.json`` beside it.
        threads: Of the runtime; None: as many as torch has, so that `--threads` holds for both.
        device: ``"cpu"``, or another one of the runtime; ``"auto"`` is the CPU.

    Raises:
        ConfigError: A file is missing, changed or of another model, or the runtime is not installed.
    """
    with as_core_errors():
        return ExportedPipeline(read_record(path), threads=threads or torch.get_num_threads(), device=device)
