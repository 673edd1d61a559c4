"""Lower precision for the tower of an ONNX model; what compares and scores stays in float32."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto

from vlmad_edge.session import INPUT
from vlmad_export.onnx_file import checked, tower_nodes

__all__ = ["to_fp16", "to_int8"]

_WEIGHTED = ("MatMul", "Gemm")


def to_fp16(model: ModelProto, boundary: Sequence[str]) -> ModelProto:
    """Weights and activations of the tower in float16; inputs and outputs stay float32.

    Args:
        model: In float32, with the features among its outputs.
        boundary: Names of these outputs.
    """
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    inside = {node.name for node in tower_nodes(model, boundary)}
    outside = [node.name for node in model.graph.node if node.name not in inside]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numbers below the smallest of float16 become that
        converted = convert_float_to_float16(
            model, keep_io_types=True, op_block_list=DEFAULT_OP_BLOCK_LIST, node_block_list=outside
        )
    OnnxModel(converted).topological_sort()  # the conversions between types were put at the end
    return checked(converted)


def to_int8(model: ModelProto, boundary: Sequence[str], images: Sequence[NDArray[np.float32]]) -> ModelProto:
    """Static post-training quantisation by onnxruntime: products with weights in 8 bits, one scale a channel.

    Products of activations (attention), normalisations and everything that scores stay in float32.

    Args:
        model: In float32, with the features among its outputs.
        boundary: Names of these outputs.
        images: ``[1, 3, H, W]`` each, real ones: they decide the ranges of the activations.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.calibrate import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.images: Iterator[NDArray[np.float32]] = iter(images)

        def get_next(self) -> dict[str, Any] | None:
            found = next(self.images, None)
            return None if found is None else {INPUT: found}

    constants = {constant.name for constant in model.graph.initializer}
    chosen = [
        node.name
        for node in tower_nodes(model, boundary)
        if node.op_type in _WEIGHTED and any(name in constants for name in node.input[:2])
    ]
    with tempfile.TemporaryDirectory(prefix="vlmad-export-") as folder:
        before, after = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, before)
        quiet = logging.getLogger().level
        logging.disable(logging.WARNING)
        try:
            quantize_static(
                before,
                after,
                Reader(),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(_WEIGHTED),
                nodes_to_quantize=chosen,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
                extra_options={"ActivationSymmetric": False, "WeightSymmetric": True},
            )
        finally:
            logging.disable(logging.NOTSET)
            logging.getLogger().setLevel(quiet)
        quantised = onnx.load(after)
    return checked(quantised)
