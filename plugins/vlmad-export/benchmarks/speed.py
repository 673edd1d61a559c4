"""How long one image takes, JPEG in and verdict out, with torch and with exported files, one after another in one run.

`python plugins/vlmad-export/benchmarks/speed.py nut.vlmad IMAGES nut.onnx nut8.onnx nut.xml nut8.xml`

`--beside model.xml` adds another program's OpenVINO model of images, such as anomalib's exported PatchCore;
its images are decoded and resized by Pillow. One thread each. Beside the time on the clock there is the time that
processors worked, which other programs disturb less; and the speed of a plain matrix product in the same run, which
says what the machine could give at that moment.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino
import torch
from PIL import Image

import vlmad_core
import vlmad_edge


def main() -> None:
    """Print a line of JSON for each way, then the machine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("detector", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--beside", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=12)
    given = parser.parse_args()
    torch.set_num_threads(1)
    images = sorted(path for path in given.images.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    images = images[: given.count]
    ways: dict[str, Callable[[Path], object]] = {}
    for dtype in ("float32", "bfloat16"):
        changes = {} if dtype == "float32" else {"backbone.config.dtype": dtype}
        detector = vlmad_core.load(given.detector, device="cpu", overrides=changes)
        detector.stored_calibration = detector.stored_calibration if dtype == "float32" else None
        ways[f"torch {dtype}"] = _torch(detector)
    for file in given.files:
        ways[f"{file.suffix[1:]} {file.stem}"] = vlmad_edge.load(file, threads=1).predict
    at_once = dict.fromkeys(ways, 1)
    if given.beside is not None:
        name = f"beside: {given.beside.name}"
        ways[name], at_once[name] = _beside(given.beside)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for each in ways.values():
        each(images[0])
    for _ in range(given.rounds):  # round by round, so that a busy minute meets all of them
        for name, judge in ways.items():
            for image in images:
                wall, worked = time.perf_counter(), time.process_time()
                judge(image)
                times = (time.perf_counter() - wall, time.process_time() - worked)
                found[name].append((times[0] / at_once[name], times[1] / at_once[name]))
    first = statistics.median(worked for _, worked in found["torch float32"])
    for name, times in found.items():
        wall, worked = (statistics.median(column) * 1000 for column in zip(*times, strict=True))
        row = {
            "way": name,
            "worked_ms": round(worked, 1),
            "wall_ms": round(wall, 1),
            "faster": round(first * 1000 / worked, 2),
        }
        print(json.dumps(row))
    print(json.dumps({"gflops_1_thread": round(_gflops(), 1), "load": os.getloadavg(), "images": len(images)}))


def _torch(detector: vlmad_core.Pipeline) -> Callable[[Path], object]:
    def judge(path: Path) -> object:
        return detector.verdict(detector.predict(path, batch_size=1))

    return judge


def _beside(path: Path) -> tuple[Callable[[Path], object], int]:
    """The model, and how many images it takes: anomalib's exporter fixes the batch to that of its trace."""
    core = openvino.Core()
    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    model = core.compile_model(core.read_model(path), "CPU", options)
    batch, _, height, width = (side.get_length() for side in model.inputs[0].partial_shape)

    def judge(path: Path) -> object:
        images = [Image.open(path).convert("RGB").resize((width, height)) for _ in range(batch)]
        return model([np.stack(images).astype(np.float32).transpose(0, 3, 1, 2) / 255])

    return judge, batch


def _gflops(side: int = 1024) -> float:
    a, b = torch.randn(side, side), torch.randn(side, side)
    times = []
    for _ in range(8):
        started = time.process_time()
        a @ b
        times.append(time.process_time() - started)
    return 2 * side**3 / min(times) / 1e9


if __name__ == "__main__":
    main()
