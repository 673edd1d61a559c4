"""What is written beside an exported model: pre-processing, calibration, provenance and hashes, as plain numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vlmad_core.inspection.calibration import Fingerprint
from vlmad_core.inspection.rule import DecisionRule
from vlmad_core.pipeline import Pipeline
from vlmad_core.run.maps import highest
from vlmad_core.run.overlay import Scale
from vlmad_core.run.verdicts import Decision, make_decision
from vlmad_core.version import __version__
from vlmad_edge.record import FORMAT, encode_tokens, file_sha256

__all__ = ["KIND", "exported_fingerprint", "make_document"]

KIND = "vlmad exported detector"


def exported_fingerprint(files: Mapping[str, str], size: tuple[int, int], precision: str) -> Fingerprint:
    """What identifies an exported file for a calibration: the hash of the model is all that its scores depend on."""
    return Fingerprint("exported " + " ".join(sorted(files.values())), size, precision)


def make_document(
    pipeline: Pipeline, *, runtime: str, precision: str, files: Mapping[str, Path], false_alarms: float | None
) -> dict[str, Any]:
    """The record of a model as a JSON document, without the comparison.

    Args:
        pipeline: The original, with the calibration that belongs to the exported file.
        runtime: ``"onnx"`` or ``"openvino"``.
        precision: ``"fp32"``, ``"fp16"`` or ``"int8"``.
        files: Name to path of every file of the model, as written.
        false_alarms: Rate of the thresholds; None: as the core chooses.

    Raises:
        ConfigError: A rate that was asked for cannot be promised.
    """
    hashes = {name: file_sha256(path) for name, path in files.items()}
    preprocess, decision = pipeline.preprocess, make_decision(pipeline, false_alarms)
    median, usual = pipeline.normal_range.tolist()
    colours = decision.scale(Scale.of(pipeline))
    return {
        "kind": KIND,
        "format": FORMAT,
        "vlmad": __version__,
        "runtime": runtime,
        "precision": precision,
        "files": hashes,
        "preprocess": {
            "size": list(preprocess.size),
            "interpolation": preprocess.interpolation,
            "divide_by": 255,
            "mean": list(preprocess.mean),
            "std": list(preprocess.std),
            "bits": preprocess.bits,
        },
        "class_name": pipeline.class_name,
        "normal_range": [median, usual] if math.isfinite(median + usual) else None,
        "map_maximum": highest(pipeline),
        "colours": None if colours is None else asdict(colours),
        "decision": _decision(decision),
        **_calibration(pipeline, exported_fingerprint(hashes, preprocess.size, precision)),
        "source": {
            "spec": None if pipeline.spec is None else pipeline.spec.model_dump(mode="json"),
            "plugins": dict(pipeline.plugins),
            "backbone": dict(pipeline.backbone.provenance),
            "trained": json.loads(json.dumps(dict(pipeline.trained))),
            "normals": dict(pipeline.normals),
        },
    }


def _decision(decision: Decision) -> dict[str, Any]:
    return {
        "rule": None if decision.rule is None else _rule(decision.rule),
        "reason": decision.reason,
        "pixel_threshold": None if decision.pixels is None else decision.pixels.threshold,
        "pixel_promise": None if decision.pixels is None else decision.pixels.promise,
    }


def _rule(rule: DecisionRule) -> dict[str, Any]:
    return {
        "source": rule.source,
        "normals": rule.normals.tolist(),
        "threshold": rule.threshold,
        "review_threshold": rule.review_threshold,
        "scale": rule.scale,
        "false_alarms": rule.false_alarms,
        "class_distances": rule.class_distances.tolist(),
        "class_limit": rule.class_limit if math.isfinite(rule.class_limit) else None,
        "promise": rule.promise,
    }


def _calibration(pipeline: Pipeline, fingerprint: Fingerprint) -> dict[str, Any]:
    stored = pipeline.stored_calibration
    if stored is None:
        return {"calibration": None, "tokens": {}}
    document = json.loads(stored.calibration.to_json())
    document["detector"] = json.loads(json.dumps(asdict(fingerprint)))
    return {
        "calibration": document,
        "tokens": {name: encode_tokens(tokens) for name, tokens in stored.tokens.items()},
    }
