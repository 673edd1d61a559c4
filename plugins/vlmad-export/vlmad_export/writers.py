"""The two kinds of files, behind one face: prepare the network, run it with its features, write it without them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vlmad_core.errors import ConfigError
from vlmad_edge.session import INPUT
from vlmad_export.graph import DetectorGraph
from vlmad_export.onnx_file import keep_outputs, to_onnx, with_metadata

__all__ = ["OnnxWriter", "Writer", "writer_of"]

Pixels = Sequence[NDArray[np.float32]]
Tell = Callable[[str], None]
Network = Callable[[NDArray[np.float32]], Mapping[str, NDArray[np.float32]]]


class Writer(Protocol):
    """What an export needs of a kind of file."""

    def prepare(self, graph: DetectorGraph, precision: str, images: Pixels, tell: Tell) -> None:
        """Trace, translate and lower the precision."""
        ...

    def network(self) -> Network:
        """The network with all outputs, the features among them."""
        ...

    def write(self, path: Path, about: Mapping[str, str]) -> dict[str, Path]:
        """Write it without the features; gives every file by its name."""
        ...


def writer_of(to: str) -> Writer:
    """The writer for a runtime.

    Raises:
        ConfigError: Its packages are not installed.
    """
    if to == "onnx":
        return OnnxWriter()
    try:
        import openvino  # noqa: F401
    except ImportError as error:
        raise ConfigError("OpenVINO is not installed: pip install 'vlmad-export[openvino]'.") from error
    from vlmad_export.openvino_file import OpenvinoWriter

    return OpenvinoWriter()


class OnnxWriter:
    """One ``.onnx`` file."""

    def prepare(self, graph: DetectorGraph, precision: str, images: Pixels, tell: Tell) -> None:
        """As :class:`Writer`."""
        from vlmad_export.precision import to_fp16, to_int8

        self.results = graph.results
        model = to_onnx(graph)
        boundary = graph.names[len(graph.results) :]
        if precision == "fp16":
            model = to_fp16(model, boundary)
        elif precision == "int8":
            tell(f"quantising with {len(images)} images")
            model = to_int8(model, boundary, images)
        self.model = model

    def network(self) -> Network:
        """As :class:`Writer`."""
        import onnxruntime

        session = onnxruntime.InferenceSession(self.model.SerializeToString(), providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        return lambda images: dict(zip(names, session.run(names, {INPUT: images}), strict=True))

    def write(self, path: Path, about: Mapping[str, str]) -> dict[str, Path]:
        """As :class:`Writer`."""
        model = with_metadata(keep_outputs(self.model, self.results), about)
        path.write_bytes(model.SerializeToString(deterministic=True))
        return {path.name: path}
