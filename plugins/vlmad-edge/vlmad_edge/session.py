"""Runs the network of an exported detector with onnxruntime or OpenVINO; the same three outputs from both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vlmad_edge.record import Record
from vlmad_edge.shared.errors import ConfigError

__all__ = ["INPUT", "OUTPUTS", "Outputs", "open_session"]

INPUT, OUTPUTS = "images", ("score", "anomaly_map", "class_token")
"""Names in the graph; ``class_token`` is missing where the detector has none."""


class Outputs(NamedTuple):
    """What the network gives for a batch.

    Args:
        score: ``[B]``.
        anomaly_map: ``[B, H, W]``.
        class_token: ``[B, D]`` of unit length, or None.
    """

    score: NDArray[np.float32]
    anomaly_map: NDArray[np.float32]
    class_token: NDArray[np.float32] | None


def open_session(
    record: Record, *, threads: int | None = None, device: str = "cpu"
) -> Callable[[NDArray[np.float32]], Outputs]:
    """A function from ``[B, 3, H, W]`` float32 to :class:`Outputs`.

    Args:
        record: Of the model; its hash was compared.
        threads: Of the runtime; None: as many as it wants.
        device: ``"cpu"``; ``"cuda"`` for onnxruntime-gpu; for OpenVINO also ``"gpu"`` and ``"npu"``.

    Raises:
        ConfigError: The runtime is not installed, cannot read the file, or the input has another size than the record.
    """
    if threads is not None and threads < 1:
        raise ConfigError(f"threads must be at least 1, got {threads}.")
    opened = _openvino if record.runtime == "openvino" else _onnxruntime
    try:
        shape, names, run = opened(record, threads, device.lower())
    except ConfigError:
        raise
    except Exception as error:  # each runtime has exceptions of its own
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"{record.model}: cannot be opened on '{device}' ({type(error).__name__}: {reason})."
        ) from error
    if shape[1:] != [3, *record.size]:
        raise ConfigError(
            f"{record.model}: takes images of shape {shape[1:]}, and its .json says {[3, *record.size]}; they do not "
            "belong together. Export again."
        )
    if list(OUTPUTS[:2]) != names[:2]:
        raise ConfigError(f"{record.model}: gives {', '.join(names)}; an exported detector gives {', '.join(OUTPUTS)}.")
    checked: Callable[[NDArray[np.float32]], Outputs] = run
    return checked


def _onnxruntime(record: Record, threads: int | None, device: str) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError(
            f"{record.model}: needs onnxruntime, which is not installed: pip install 'vlmad-edge[onnxruntime]'."
        ) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    provider = (
        "CPUExecutionProvider" if device in ("cpu", "auto") else f"{device.partition(':')[0].upper()}ExecutionProvider"
    )
    if provider not in onnxruntime.get_available_providers():
        raise ConfigError(
            f"onnxruntime has no '{device}' here; it has {', '.join(onnxruntime.get_available_providers())}."
        )
    session = onnxruntime.InferenceSession(str(record.model), options, providers=[provider])
    names = [output.name for output in session.get_outputs()]

    def run(images: NDArray[np.float32]) -> Outputs:
        found = session.run(names, {INPUT: images})
        return Outputs(found[0], found[1], found[2] if len(found) > 2 else None)

    (first,) = session.get_inputs()
    return list(first.shape), names, run


def _openvino(record: Record, threads: int | None, device: str) -> Any:
    try:
        import openvino
    except ImportError as error:
        raise ConfigError(
            f"{record.model}: needs OpenVINO, which is not installed: pip install 'vlmad-edge[openvino]'."
        ) from error
    core = openvino.Core()
    options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
    target = "CPU" if device == "auto" else device.upper()
    if target == "CPU":
        # A processor with bfloat16 computes in that otherwise, and the scores are not those that were compared.
        options["INFERENCE_PRECISION_HINT"] = "f32"
        if threads is not None:
            options["INFERENCE_NUM_THREADS"] = threads
    compiled = core.compile_model(core.read_model(str(record.model)), target, options)
    names = [output.get_any_name() for output in compiled.outputs]

    def run(images: NDArray[np.float32]) -> Outputs:
        found = compiled([images])
        values = [np.array(found[index]) for index in range(len(names))]
        return Outputs(values[0], values[1], values[2] if len(values) > 2 else None)

    shape = [side.get_length() if side.is_static else None for side in compiled.inputs[0].partial_shape]
    return shape, names, run
