"""``nut.json``: what stands beside an exported model, as plain numbers, and a check that they belong together."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vlmad_edge.rule import Rule
from vlmad_edge.shared.errors import ConfigError

__all__ = ["FORMAT", "Record", "decode_tokens", "encode_tokens", "file_sha256", "read_record", "record_path"]

FORMAT = 1
"""Of the file; a runtime refuses a higher one."""


@dataclass(frozen=True, eq=False)
class Record:
    """What is known of an exported detector.

    Args:
        model: The file of the network.
        runtime: ``"onnx"`` or ``"openvino"``.
        precision: ``"fp32"``, ``"fp16"`` or ``"int8"``.
        size: ``(height, width)`` of the input in pixels.
        mean: Of each channel, in [0, 1].
        std: Likewise.
        interpolation: Filter of the resize.
        bits: Of the values in 16-bit grey; None: what the file says, or 16.
        class_name: What the images show.
        normal_range: Median of the maps of normal images, and what 99.5 % of their cells do not exceed; or None.
        colours: Numbers of the scale of overlays; None: each map has its own.
        rule: Thresholds; None where the detector is not calibrated.
        reason: Why there is no rule.
        pixel_threshold: Above it a pixel belongs to a region; None: no regions.
        tokens: Class tokens of the normal images that the rule rests on, ``[n, D]``; or None.
        document: The whole file.
    """

    model: Path
    runtime: Literal["onnx", "openvino"]
    precision: str
    size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str
    bits: int | str | None
    class_name: str | None
    normal_range: tuple[float, float] | None
    colours: Mapping[str, Any] | None
    rule: Rule | None
    reason: str
    pixel_threshold: float | None
    tokens: NDArray[np.float32] | None
    document: Mapping[str, Any]


def record_path(model: str | Path) -> Path:
    """Where the record of a model file lies: ``nut.json`` beside ``nut.onnx``."""
    return Path(model).with_suffix(".json")


def read_record(path: str | Path) -> Record:
    """Read the record of a model, and compare the hash of every file that it names.

    Args:
        path: The model, ``nut.onnx`` or ``nut.xml``.

    Raises:
        ConfigError: A file is missing or changed, the record is of another model or a newer version, or damaged.
    """
    model = Path(path)
    if not model.is_file():
        raise ConfigError(f"{model}: no such file; give a model that `vlmad export` wrote.")
    where = record_path(model)
    try:
        document = json.loads(where.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(
            f"{model}: {where.name} is missing beside it. It holds the pre-processing and the thresholds, without "
            "which a score means nothing; copy both files, or export again with `vlmad export`."
        ) from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{where}: cannot be read as JSON ({error}); restore it, or export again.") from error
    if not isinstance(document, dict) or document.get("kind") != "vlmad exported detector":
        raise ConfigError(f"{where}: is not the record of an exported detector; `vlmad export` writes it.")
    if type(document.get("format")) is not int or not 1 <= document["format"] <= FORMAT:
        raise ConfigError(
            f"{where}: has format {document.get('format')!r}, this reads 1 to {FORMAT}; upgrade vlmad-edge."
        )
    try:
        found = _parsed(model, document)
        hashes = {str(name): str(digest) for name, digest in document["files"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"{where}: is damaged ({type(error).__name__}: {error}); restore it, or export again."
        ) from error
    if model.name not in hashes:
        raise ConfigError(f"{where}: is about {', '.join(hashes)}, not about {model.name}; keep both under one name.")
    for name, digest in hashes.items():
        _check(model.parent / Path(name).name, digest, where)
    return found


def file_sha256(path: Path) -> str:
    """Of a whole file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def encode_tokens(tokens: NDArray[np.float32]) -> dict[str, Any]:
    """``[n, D]`` as JSON: its shape and the numbers as base64 of little-endian float32."""
    return {"shape": list(tokens.shape), "base64": base64.b64encode(tokens.astype("<f4").tobytes()).decode()}


def decode_tokens(given: Mapping[str, Any]) -> NDArray[np.float32]:
    """What :func:`encode_tokens` wrote."""
    values = np.frombuffer(base64.b64decode(given["base64"]), "<f4").reshape(given["shape"])
    return values.astype(np.float32)


def _check(path: Path, digest: str, record: Path) -> None:
    if not path.is_file():
        raise ConfigError(f"{path}: is missing, and {record.name} says that it belongs to the model.")
    if file_sha256(path) != digest:
        raise ConfigError(
            f"{path}: is not the file that {record.name} was written for (its hash differs): it is damaged, changed, "
            "or of another model. Copy the model and its .json together, or export again."
        )


def _parsed(model: Path, document: Mapping[str, Any]) -> Record:
    pixels, decision = document["preprocess"], document["decision"]
    rule, source = None, ""
    if decision["rule"] is not None:
        given = dict(decision["rule"])
        source = given.pop("source")
        given["normals"] = tuple(float(value) for value in given["normals"])
        given["class_distances"] = tuple(float(value) for value in given["class_distances"])
        rule = Rule(**given)
    tokens = document["tokens"].get("held_out" if source == "held-out" else "references") if rule is not None else None
    if document["runtime"] not in ("onnx", "openvino") or pixels["interpolation"] not in _FILTERS:
        raise ValueError("an unknown runtime or interpolation")
    height, width = (int(side) for side in pixels["size"])
    mean, std = (tuple(float(value) for value in pixels[name]) for name in ("mean", "std"))
    if min(height, width) < 1 or len(mean) != 3 or len(std) != 3 or min(std) <= 0:
        raise ValueError("impossible pre-processing")
    usual = document["normal_range"]
    return Record(
        model=model,
        runtime=document["runtime"],
        precision=str(document["precision"]),
        size=(height, width),
        mean=(mean[0], mean[1], mean[2]),
        std=(std[0], std[1], std[2]),
        interpolation=pixels["interpolation"],
        bits=pixels["bits"],
        class_name=document["class_name"],
        normal_range=None if usual is None else (float(usual[0]), float(usual[1])),
        colours=document["colours"],
        rule=rule,
        reason=str(decision["reason"]),
        pixel_threshold=decision["pixel_threshold"],
        tokens=None if tokens is None else decode_tokens(tokens),
        document=document,
    )


_FILTERS = ("nearest", "bilinear", "bicubic", "lanczos")
