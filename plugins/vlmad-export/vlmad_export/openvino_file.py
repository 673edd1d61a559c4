"""OpenVINO files: ``nut.xml`` and ``nut.bin``, converted from the ONNX graph, in 8 bits by nncf."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openvino
from numpy.typing import NDArray

from vlmad_core.errors import ConfigError
from vlmad_export.graph import DetectorGraph
from vlmad_export.onnx_file import to_onnx, tower_nodes
from vlmad_export.writers import Network, Pixels, Tell

__all__ = ["OpenvinoWriter"]

_OPTIONS = {"INFERENCE_PRECISION_HINT": "f32"}


class OpenvinoWriter:
    """A ``.xml`` file with its ``.bin``; see :class:`vlmad_export.writers.Writer`."""

    def prepare(self, graph: DetectorGraph, precision: str, images: Pixels, tell: Tell) -> None:
        """Trace, convert, and quantise where asked."""
        self.results, self.precision = graph.results, precision
        source = to_onnx(graph)
        boundary = graph.names[len(graph.results) :]
        scoring = [node.name for node in source.graph.node if node not in tower_nodes(source, boundary)]
        with tempfile.TemporaryDirectory(prefix="vlmad-export-") as folder:
            path = Path(folder) / "fp32.onnx"
            onnx.save(source, path)
            self.model = openvino.convert_model(path)
            self.names = list(graph.names)
            if precision == "int8":
                tell(f"quantising with {len(images)} images")
                self.model = _quantised(self.model, images, scoring)
            elif precision == "fp16":
                self.model = _halved(self.model, Path(folder))

    def network(self) -> Network:
        """The network with all outputs."""
        compiled = openvino.Core().compile_model(self.model, "CPU", _OPTIONS)

        def run(images: NDArray[np.float32]) -> Mapping[str, NDArray[np.float32]]:
            found = compiled([images])
            return {name: np.array(found[i]) for i, name in enumerate(self.names)}

        return run

    def write(self, path: Path, about: Mapping[str, str]) -> dict[str, Path]:
        """Write it without the features; gives both files by their names."""
        kept = self.model.outputs[: len(self.results)]
        model = openvino.Model([output.node for output in kept], self.model.get_parameters(), path.stem)
        for key, value in about.items():
            model.set_rt_info(value, ["vlmad", key])
        openvino.save_model(model, path, compress_to_fp16=self.precision == "fp16")
        weights = path.with_suffix(".bin")
        return {path.name: path, weights.name: weights}


def _halved(model: Any, folder: Path) -> Any:
    """Weights rounded to float16, as the file will hold them."""
    openvino.save_model(model, folder / "fp16.xml", compress_to_fp16=True)
    return openvino.Core().read_model(folder / "fp16.xml", folder / "fp16.bin")


def _quantised(model: Any, images: Pixels, scoring: Sequence[str]) -> Any:
    """Post-training quantisation of the tower by nncf, with SmoothQuant as it does for transformers.

    Raises:
        ConfigError: nncf is not installed.
    """
    try:
        import nncf
    except ImportError as error:
        raise ConfigError("int8 for OpenVINO needs nncf: pip install 'vlmad-export[openvino]'.") from error
    nncf.set_log_level(logging.ERROR)
    there = {operation.get_friendly_name() for operation in model.get_ops()}
    return nncf.quantize(
        model,
        nncf.Dataset(list(images)),
        subset_size=len(images),
        model_type=nncf.ModelType.TRANSFORMER,
        ignored_scope=nncf.IgnoredScope(names=[name for name in scoring if name in there]),
    )
