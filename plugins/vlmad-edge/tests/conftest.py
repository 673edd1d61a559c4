from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

SIZE = (32, 48)


def _write_model(folder: Path, name: str = "nut", size: tuple[int, int] = SIZE) -> Path:
    """A network whose map is the mean of the channels, and whose score is its highest value."""
    axes = {"channels": [1], "pixels": [1, 2]}
    constants = [numpy_helper.from_array(np.array(value, np.int64), key) for key, value in axes.items()]
    nodes = [
        helper.make_node("ReduceMean", ["images", "channels"], ["anomaly_map"], keepdims=0),
        helper.make_node("ReduceMax", ["anomaly_map", "pixels"], ["score"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, *size])],
        [
            helper.make_tensor_value_info("score", TensorProto.FLOAT, ["batch"]),
            helper.make_tensor_value_info("anomaly_map", TensorProto.FLOAT, ["batch", *size]),
        ],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    path = folder / f"{name}.onnx"
    onnx.save(model, path)
    return path


def _write_record(model: Path, **changes: Any) -> Path:
    document = {
        "kind": "vlmad exported detector",
        "format": 1,
        "runtime": "onnx",
        "precision": "fp32",
        "files": {model.name: hashlib.sha256(model.read_bytes()).hexdigest()},
        "preprocess": {
            "size": list(SIZE),
            "interpolation": "bicubic",
            "divide_by": 255,
            "mean": [0.0, 0.0, 0.0],
            "std": [1.0, 1.0, 1.0],
            "bits": None,
        },
        "class_name": "nut",
        "normal_range": [0.2, 0.4],
        "map_maximum": 1.0,
        "colours": {"low": 0.2, "high": 0.8, "normal": 0.5, "basis": "normals", "share": 0.01},
        "decision": {
            "rule": {
                "source": "held-out",
                "normals": [0.5, 0.4, 0.3],
                "threshold": 0.5,
                "review_threshold": 0.4,
                "scale": 0.1,
                "false_alarms": 0.25,
                "class_distances": [],
                "class_limit": None,
                "promise": "",
            },
            "reason": "",
            "pixel_threshold": 0.5,
            "pixel_promise": "",
        },
        "calibration": None,
        "tokens": {},
        **changes,
    }
    path = model.with_suffix(".json")
    path.write_text(json.dumps(document))
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """``nut.onnx`` with its record."""
    path = _write_model(tmp_path)
    _write_record(path)
    return path


@pytest.fixture
def write_model() -> Callable[..., Path]:
    return _write_model


@pytest.fixture
def write_record() -> Callable[..., Path]:
    return _write_record
