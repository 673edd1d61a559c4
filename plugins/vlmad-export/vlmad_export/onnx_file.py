"""From a torch module to an ONNX model: traced, translated, shapes inferred anew, checked in full."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import onnx
import torch
from onnx import ModelProto

from vlmad_core.errors import IncompatibleError
from vlmad_edge.session import INPUT
from vlmad_export.graph import DetectorGraph

__all__ = ["checked", "keep_outputs", "to_onnx", "tower_nodes", "with_metadata"]

_LARGEST = 2_000_000_000
"""Bytes that a protobuf message may have."""


def to_onnx(graph: DetectorGraph) -> ModelProto:
    """Trace with two images and a free batch dimension, and translate.

    Raises:
        IncompatibleError: A part does something that a fixed graph cannot hold.
    """
    height, width = graph.size
    example = torch.zeros(2, 3, height, width)  # with one image the tracer would freeze the batch
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            program = torch.export.export(
                graph, (example,), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},), strict=True
            )
            exported = torch.onnx.export(program, dynamo=True, input_names=[INPUT], output_names=list(graph.names))
        except Exception as error:  # the tracer's own errors, of many classes
            reason = " ".join(str(error).split())[:400]
            raise IncompatibleError(
                f"this detector cannot be traced as one fixed graph ({type(error).__name__}: {reason}). Parts that "
                "choose what to compute from the values in an image cannot be exported."
            ) from error
    if exported is None:
        raise IncompatibleError("torch.onnx.export returned no program; it needs torch 2.9 or newer with onnxscript.")
    return checked(exported.model_proto)


def checked(model: ModelProto) -> ModelProto:
    """The model with shapes inferred anew, after onnx's full check.

    Raises:
        IncompatibleError: The check failed, or the model is too large for one file.
    """
    if model.ByteSize() > _LARGEST:
        raise IncompatibleError(
            f"the model has {model.ByteSize() / 1e9:.1f} GB, and one ONNX file holds 2 GB; take a smaller backbone."
        )
    del model.graph.value_info[:]
    try:
        model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise IncompatibleError(f"the exported graph is not valid: {' '.join(str(error).split())[:400]}") from error
    return model


def tower_nodes(model: ModelProto, boundary: Sequence[str]) -> list[Any]:
    """The nodes that lead to the features: backbone and extractor. All others score, and stay in full precision.

    Args:
        model: With the features among its outputs.
        boundary: Names of these outputs.
    """
    makers = {name: node for node in model.graph.node for name in node.output}
    found, waiting = set(), list(boundary)
    while waiting:
        node = makers.get(waiting.pop())
        if node is not None and node.name not in found:
            found.add(node.name)
            waiting.extend(node.input)
    return [node for node in model.graph.node if node.name in found]


def keep_outputs(model: ModelProto, names: Sequence[str]) -> ModelProto:
    """The model with these outputs alone, and without nodes and constants that nothing needs any more."""
    result = ModelProto()
    result.CopyFrom(model)
    kept = [output for output in result.graph.output if output.name in names]
    del result.graph.output[:]
    result.graph.output.extend(kept)
    needed = {node.name for node in tower_nodes(result, names)}
    nodes = [node for node in result.graph.node if node.name in needed]
    del result.graph.node[:]
    result.graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    constants = [constant for constant in result.graph.initializer if constant.name in used]
    del result.graph.initializer[:]
    result.graph.initializer.extend(constants)
    return checked(result)


def with_metadata(model: ModelProto, about: Mapping[str, str]) -> ModelProto:
    """Write texts into the file, for people and tools that meet it without its record."""
    del model.metadata_props[:]
    for key, value in about.items():
        model.metadata_props.add(key=f"vlmad.{key}", value=value)
    for node in model.graph.node:
        del node.metadata_props[:]  # paths and source lines of the machine that exported
        node.doc_string = ""
    model.graph.doc_string = ""
    return model
