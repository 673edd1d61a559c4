"""How fast a detector is and what it needs, measured apart from how good it is: no metric is timed.

The time of an image is what a user waits for: decode the file, resize, run the backbone, score, and the map at the size
of the image. Text is encoded once a class name, before the clock starts.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vlmad_core.benchmark.flops import count_flops
from vlmad_core.contracts.images import WORKERS, ImageLike, open_image, to_pixels
from vlmad_core.errors import ConfigError
from vlmad_core.pipeline.pipeline import Pipeline
from vlmad_core.report.speed import Speed

__all__ = ["measure"]


def measure(
    pipeline: Pipeline,
    images: Sequence[ImageLike],
    *,
    class_name: str | None = None,
    method: str = "",
    backbone: str = "",
    shots: int | None = None,
    batch_sizes: Sequence[int] = (1, 8),
    repeats: int = 100,
    warmup: int = 3,
    workers: int = WORKERS,
) -> list[Speed]:
    """Time a detector that is ready to predict.

    Args:
        pipeline: Fitted where it has a memory.
        images: Scored in turn and as often as needed; files, for times that include decoding.
        class_name: What they show; the pipeline's own by default.
        method: Label for the results; the names of extractor and scorers by default.
        backbone: Label for the results; the backbone's own name by default.
        shots: Normal images it was fitted on, for the results.
        batch_sizes: Each is one result.
        repeats: Images timed, at each batch size and once more for the latency of single ones.
        warmup: Rounds before the clock starts, at each batch size.
        workers: Threads that decode.

    Raises:
        ConfigError: No images, or a number below 1.
        ImageError: An image cannot be read.
        NotFittedError: A memory is not fitted.
    """
    if not images or not batch_sizes or min(*batch_sizes, repeats, warmup) < 1:
        raise ConfigError("speed needs at least one image, and batch sizes, repeats and warm-up of at least 1.")
    pipeline.check_ready(has_class_name=class_name is not None)
    about = _about(pipeline, method, backbone)
    device = pipeline.backbone.device
    pixels = to_pixels(open_image(images[0], bits=pipeline.preprocess.bits), pipeline.preprocess)[None]
    class_names = None if class_name is None else [class_name]
    with torch.no_grad():
        pipeline(pixels, class_names)  # encodes the text, so that it is not counted with the image
        if pipeline.views is None:
            flops = count_flops(lambda: pipeline(pixels, class_names))
        else:  # all sizes and tiles of this image count
            flops = count_flops(lambda: pipeline.predict(images[0], class_name))

    found = []
    for batch in batch_sizes:
        _predict(pipeline, islice(cycle(images), warmup * batch), class_name, batch, workers)
        peak = _Peak(device)
        rounds = max(2, -(-repeats // batch))
        started = time.perf_counter()
        _predict(pipeline, islice(cycle(images), rounds * batch), class_name, batch, workers)
        rate = rounds * batch / (time.perf_counter() - started)
        times = _latencies(pipeline, images, class_name, repeats) if batch == 1 else None
        p50, p95, p99 = (None, None, None) if times is None else map(float, np.percentile(times, [50, 95, 99]))
        found.append(
            Speed(
                **about,
                batch=batch,
                images=rounds * batch,
                p50_ms=p50,
                p95_ms=p95,
                p99_ms=p99,
                images_per_second=rate,
                peak_memory_mb=peak.megabytes(),
                memory=peak.kind,
                flops=flops,
                shots=shots,
            )
        )
    return found


def _about(pipeline: Pipeline, method: str, backbone: str) -> dict[str, Any]:
    model = pipeline.backbone
    learned = sum(parameter.numel() for parameter in pipeline.parameters())
    extractor = pipeline.spec.extractor.name if pipeline.spec else type(pipeline.extractor).__name__
    return {
        "method": method or " + ".join([extractor, *pipeline.labels]),
        "backbone": backbone or model.provenance.get("backbone", type(model.vision).__name__),
        "image_size": model.preprocess.size,
        "device": str(model.device),
        "machine": _machine(model.device),
        "dtype": str(model.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "parameters": sum(parameter.numel() for parameter in model.parameters()) + learned,
        "learned": learned,
    }


def _predict(pipeline: Pipeline, images: Iterable[ImageLike], class_name: str | None, batch: int, workers: int) -> None:
    for prediction in pipeline.stream(images, class_name, batch_size=batch, workers=workers):
        _ = prediction.anomaly_map  # made when it is asked for; a copy to the CPU, so an accelerator is waited for


def _latencies(pipeline: Pipeline, images: Sequence[ImageLike], class_name: str | None, repeats: int) -> list[float]:
    """Milliseconds, each image by itself."""
    times = []
    for image in islice(cycle(images), repeats):
        started = time.perf_counter()
        _predict(pipeline, [image], class_name, 1, 1)
        times.append(1000 * (time.perf_counter() - started))
    return times


class _Peak:
    """The most memory held from now on: the accelerator's, or the process's where there is none."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            self.kind = "allocated on the accelerator"
            torch.cuda.reset_peak_memory_stats(device)
            return
        self.kind = "resident, since the process began"
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # Linux: the mark begins anew
            self.kind = "resident"

    def megabytes(self) -> float | None:
        if self._device.type == "cuda":
            return float(torch.cuda.max_memory_allocated(self._device)) / 1e6
        with suppress(OSError):
            for line in Path("/proc/self/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024 / 1e6
        try:
            import resource
        except ImportError:  # Windows
            return None
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most / 1e6 if platform.system() == "Darwin" else most * 1024 / 1e6


def _machine(device: torch.device) -> str:
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
