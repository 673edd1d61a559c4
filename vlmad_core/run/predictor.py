"""A detector as a function of a batch of arrays, for engines that distribute work: Ray, Daft, Spark, torchrun.

The core imports none of them. Each worker process opens the detector once and judges batch after batch.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vlmad_core.errors import ConfigError

if TYPE_CHECKING:
    from vlmad_core.pipeline.pipeline import Pipeline
    from vlmad_core.run.maps import MapFormat
    from vlmad_core.run.results import Result
    from vlmad_core.run.verdicts import Decision

__all__ = ["Predictor"]


class Predictor:
    """Judges batches of images; small when pickled, since the detector is opened where it is used.

    Args:
        detector: Folder of a detector, or ``nut.onnx``; a path that every worker can read.
        device: ``"auto"``: cuda, else mps, else cpu.
        maps: ``"png16"`` or ``"npy"``: the map of each image as the bytes of such a file; ``"none"``: no maps.
        false_alarms: Rate of good images that may be rejected; None: see `Pipeline.verdict`.
        batch_size: Images through the backbone at a time.
        threads: Of torch; None: as many as it wants. Several workers on one machine share its cores.
        max_side: Maps of larger images have this longer side.

    >>> predictor = Predictor("nut.vlmad")
    >>> predictor({"path": np.array(["a.png", "b.png"])})["verdict"]  # doctest: +SKIP
    array(['pass', 'reject'], dtype=object)
    """

    def __init__(
        self,
        detector: str | Path,
        device: str = "auto",
        *,
        maps: MapFormat = "none",
        false_alarms: float | None = None,
        batch_size: int = 8,
        threads: int | None = None,
        max_side: int = 4096,
    ) -> None:
        if batch_size < 1 or max_side < 1 or (threads is not None and threads < 1):
            raise ConfigError(
                f"batch_size ({batch_size}), max_side ({max_side}) and threads ({threads}) must be at least 1."
            )
        if maps not in ("none", "png16", "npy"):
            raise ConfigError(f"maps must be none, png16 or npy; got {maps!r}.")
        self.detector, self.device = str(detector), device
        self.maps, self.false_alarms, self.batch_size = maps, false_alarms, batch_size
        self.threads, self.max_side = threads, max_side
        self._opened: tuple[Pipeline, Decision] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}

    def open(self) -> Pipeline:
        """The detector, loaded at the first call in a process.

        Raises:
            VlmadError: It cannot be loaded, is not ready, or cannot promise the rate.
        """
        return self._open()[0]

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Judge a batch.

        Args:
            batch: ``path``: ``[B]`` names; and ``bytes``: ``[B]`` contents of the files, or None where there are none.
                Without ``bytes`` the paths are opened. Other columns are handed on.

        Returns:
            The batch without ``bytes``, and ``[B]`` each: ``score`` (NaN where there is an error), ``verdict``,
            ``threshold``, ``p_value``, ``confidence``, ``height``, ``width``, ``regions`` (JSON), ``sha256``, ``note``,
            ``error`` (None where it was judged), and ``anomaly_map`` (bytes) where maps are wanted. A broken file is a
            row with its error.

        Raises:
            ConfigError: ``path`` is missing.
            VlmadError: As :meth:`open`: what is wrong with all images.
        """
        if "path" not in batch:
            raise ConfigError(f"a batch needs the column 'path'; it has {', '.join(map(str, batch)) or 'none'}.")
        names = [str(name) for name in batch["path"]]
        if "bytes" in batch:
            with tempfile.TemporaryDirectory(prefix="vlmad-") as folder:
                rows = self._judge(names, _written(Path(folder), names, batch["bytes"]))
        else:
            rows = self._judge(names, names)
        columns: dict[str, Any] = {key: value for key, value in batch.items() if key != "bytes"}
        for name, kind in _COLUMNS.items():
            values = [row[name] for row in rows]
            if kind is object:
                columns[name] = np.empty(len(rows), object)
                columns[name][:] = values
            else:
                columns[name] = np.array([np.nan if value is None else value for value in values], kind)
        if self.maps != "none":
            columns["anomaly_map"] = np.empty(len(rows), object)
            columns["anomaly_map"][:] = [row["anomaly_map"] for row in rows]
        return columns

    def _open(self) -> tuple[Pipeline, Decision]:
        if self._opened is None:
            import torch

            from vlmad_core.pipeline.build import load
            from vlmad_core.run.verdicts import make_decision

            if self.threads is not None:
                torch.set_num_threads(self.threads)
            pipeline = load(self.detector, device=self.device)
            pipeline.check_ready()
            self._opened = pipeline, make_decision(pipeline, self.false_alarms)
        return self._opened

    def _judge(self, names: Sequence[str], files: Sequence[str]) -> list[dict[str, Any]]:
        from vlmad_core.run.maps import encode, highest
        from vlmad_core.run.predict import judge
        from vlmad_core.run.verdicts import decide_all

        pipeline, decision = self._open()
        rows: list[dict[str, Any]] = []
        for judged in decide_all(judge(pipeline, files, batch_size=self.batch_size), decision):
            for result, prediction in judged:
                result = _renamed(result, names[len(rows)])
                map_ = None
                if prediction is not None and self.maps != "none":
                    map_, _ = encode(prediction, self.maps, highest(pipeline), self.max_side)
                row = {name: getattr(result, name) for name in _COLUMNS}
                regions = None if result.regions is None else json.dumps(result.regions)
                rows.append({**row, "regions": regions, "anomaly_map": map_})
        return rows


_COLUMNS: dict[str, Any] = {
    "score": np.float64,
    "verdict": object,
    "threshold": np.float64,
    "p_value": np.float64,
    "confidence": np.float64,
    "height": np.float64,
    "width": np.float64,
    "regions": object,
    "sha256": object,
    "note": object,
    "error": object,
}


def _written(folder: Path, names: Sequence[str], contents: Sequence[bytes | None]) -> list[str]:
    """Contents as files, so that they are read exactly as files are; a missing one is a file that is not there."""
    paths = []
    for i, (name, content) in enumerate(zip(names, contents, strict=True)):
        path = folder / f"{i}{Path(name).suffix[:8]}"
        if content is not None:
            path.write_bytes(content)
        paths.append(str(path))
    return paths


def _renamed(result: Result, name: str) -> Result:
    """The result under the name that was given, also inside its messages."""
    texts = {key: getattr(result, key) for key in ("error", "note")}
    fixed = {key: text.replace(result.path, name) for key, text in texts.items() if text is not None}
    return replace(result, path=name, **fixed)
