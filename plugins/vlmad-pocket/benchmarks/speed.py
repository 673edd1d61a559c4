"""How fast 'pocket' is from JPEG files to results with maps: ``python plugins/vlmad-pocket/benchmarks/speed.py``.

Two things are timed, each as a user meets it: images a second through the Python API (files in, scores and maps out)
and through ``vlmad predict --out`` (maps and overlays on the disk too), and the first result of a new process. Beside
the clock stands the processor time, which says the same on a machine that is busy with something else. A plain product
of matrices in the same run tells what the machine could do: the operations of an image over its rate are the least
processor time that any program needs there.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import vlmad_core
from vlmad_core.benchmark.flops import count_flops
from vlmad_core.contracts import linear
from vlmad_core.run import run

SIDE = 640
"""Of the JPEG files, as a camera on a line gives them; 16 x 12 blobs make the bytes that a real picture has."""


def main() -> None:
    """Draw the files, then time what is asked for."""
    parser = argparse.ArgumentParser(description="How fast 'pocket' is, from JPEG files to results with maps.")
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--quality", nargs="+", choices=["fast", "balanced", "best"], default=["fast"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--recipes", nargs="+", default=["pocket", "pocket-few-shot"])
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--processes", type=int, default=3, help="new processes for the first result")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    say(f"{arguments.threads} threads, batches of {arguments.batch_size}")
    rates = {dtype: matrix_rate(getattr(torch, dtype)) for dtype in arguments.dtypes}
    for dtype, rate in rates.items():
        say(f"product of matrices, {dtype}: {rate / 1e9:.0f} GFLOP a second of processor time")
    with tempfile.TemporaryDirectory() as folder:
        paths = draw(Path(folder) / "images", arguments.images)
        for recipe, quality, dtype in product(arguments.recipes, arguments.quality, arguments.dtypes):
            overrides = {"backbone.config.dtype": dtype}
            detector = vlmad_core.build(recipe, quality=quality, overrides=overrides)
            detector.class_name = "plate"
            if any(scorer.needs_fit for scorer in detector.scorers):
                detector.fit(paths[:4])
            list(detector.stream(paths[:2]))  # the first batch chooses kernels and encodes the texts
            least = count_flops(partial(detector.predict, paths[0])) / rates[dtype]
            for what, out in (("scores and maps", None), ("and written, with overlays", Path(folder) / "out")):
                rate, cost = timed(detector, paths, out, arguments.batch_size)
                text = f"{rate:5.1f} images/s  {1000 * cost:4.0f} ms processor time each, at least {1000 * least:.0f}"
                say(f"{recipe:16} {quality:9} {dtype:9} {what:27} {text}")
        first(paths[0], arguments.processes)


def matrix_rate(dtype: torch.dtype) -> float:
    """Floating-point operations a second of processor time, of the product that the encoder spends its time on."""
    x, weight = torch.randn(2056, 384).to(dtype), torch.randn(1536, 384).to(dtype)
    with torch.inference_mode():
        linear(x, weight)
        used = time.process_time()
        for _ in range(20):
            linear(x, weight)
        used = time.process_time() - used
    return 20 * 2 * x.numel() * len(weight) / used


def draw(folder: Path, count: int) -> list[Path]:
    """JPEG files of coarse and fine noise, by a fixed seed."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(count):
        coarse = Image.fromarray(rng.integers(60, 200, (12, 16, 3), dtype=np.uint8)).resize((SIDE, SIDE))
        fine = rng.normal(0, 8, (SIDE, SIDE, 3))
        pixels = np.clip(np.asarray(coarse) + fine, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:04}.jpg", quality=90)
    return sorted(folder.iterdir())


def timed(detector: vlmad_core.Pipeline, paths: list[Path], out: Path | None, batch: int) -> tuple[float, float]:
    """Images a second, and processor seconds an image."""
    clock, processor = time.perf_counter(), time.process_time()
    if out is None:
        for prediction in detector.stream(paths, batch_size=batch):
            assert np.isfinite(prediction.anomaly_map).all()  # the map at the size of the file, as a user takes it
    else:
        run(detector, paths, out, batch_size=batch, resume=False)
    clock, processor = time.perf_counter() - clock, time.process_time() - processor
    return len(paths) / clock, processor / len(paths)


def first(path: Path, times: int) -> None:
    """The first result of a new process, until that process has ended."""
    command = [sys.executable, "-m", "vlmad_core.cli", "predict", str(path), "--class-name", "plate", "--json"]
    for _ in range(times):
        clock, before = time.perf_counter(), _children()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert process.stdout is not None
        assert '"score"' in process.stdout.readline()
        seconds = time.perf_counter() - clock
        process.communicate()
        used = _children() - before
        say(f"first result of `vlmad predict`: {seconds:.1f} s, {used:.1f} s processor time to its end")


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def say(text: str) -> None:
    """A line for the person who watches."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
