"""How fast every recipe is on a device, how near to its limit, and what lower precision changes. Under eight minutes.

`python tests/benchmarks/gpu.py --out gpu.jsonl` adds a line to the file for each recipe, precision and mode of
torch.compile, and prints all of them as a table; what is there already is not run again, so that a stop costs nothing.
`--device cpu --quick` shows on any machine that it works. Images are generated; with `--data SET/CATEGORY`, a folder
with train/good, test/good and test/defect, they are real ones. Weights that would be downloaded are random, which
changes no speed; agreement with float32 means something for recipes on 'pocket' alone.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import vlmad_core
from vlmad_core.benchmark.flops import count_flops
from vlmad_core.contracts.device import find_device, synchronize
from vlmad_core.contracts.images import read, stack
from vlmad_core.contracts.kernels import linear

POCKET = {"backbone": "pocket"}
RANDOM = {"weights": "random"}
RECIPES: dict[str, dict[str, Any]] = {
    "pocket-few-shot": {},
    "pocket": {},
    "patch-memory": POCKET,
    "subspace": POCKET,
    "musc": POCKET,
    "foreground-memory": POCKET,
    "winclip-few-shot": RANDOM,
    "winclip": RANDOM,
    "april-gan": RANDOM,
    "anomalyclip": RANDOM,
    "clip": RANDOM,
}
QUICK = ("pocket-few-shot", "patch-memory")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
KEY = ("machine", "recipe", "precision", "compile")
Row = dict[str, Any]


def main() -> None:
    """Measure what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("gpu.jsonl"))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--data", type=Path, help="a category of real images")
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=RECIPES)
    parser.add_argument("--precisions", nargs="+", default=list(DTYPES), choices=DTYPES)
    parser.add_argument("--modes", nargs="+", default=["none", "default", "reduce-overhead"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8, 32, 128])
    parser.add_argument("--minutes", type=float, default=7.5, help="nothing new is begun after that")
    parser.add_argument("--quick", action="store_true", help="two recipes, no compiler, small batches")
    given = parser.parse_args()
    if given.quick:
        given.recipes, given.modes, given.batches = list(QUICK), ["none"], [1, 4]
        given.precisions = [name for name in given.precisions if name != "fp16"]
    end = time.monotonic() + 60 * given.minutes
    device = find_device(given.device)
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type}, {_processor()}"
    done = [json.loads(line) for line in given.out.read_text().splitlines()] if given.out.exists() else []
    known = {tuple(row[name] for name in KEY) for row in done}
    with tempfile.TemporaryDirectory() as folder:
        normal, held_out, tested = images_of(given.data, Path(folder))
        for recipe, wanted in planned(given, machine, known):
            if time.monotonic() > end:
                print("the time is over; the same command goes on")
                break
            try:
                rows = measure(recipe, wanted, device, (normal, held_out, tested), given.batches, end)
                for row in rows:
                    with given.out.open("a") as file:
                        file.write(json.dumps({"machine": machine, "torch": torch.__version__, **row}) + "\n")
            except vlmad_core.errors.VlmadError as error:
                print(f"{recipe}: {error}")
    print(table([json.loads(line) for line in given.out.read_text().splitlines()] if given.out.exists() else []))


def planned(
    given: argparse.Namespace, machine: str, known: set[tuple[str, ...]]
) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Recipes with precisions and modes that are missing: first all of them as they are, then compiled ones."""
    for modes in ([mode for mode in given.modes if mode == "none"], [mode for mode in given.modes if mode != "none"]):
        for recipe in given.recipes:
            pairs = [(precision, mode) for mode in modes for precision in given.precisions]
            wanted = [pair for pair in pairs if (machine, recipe, *pair) not in known]
            if wanted:
                yield recipe, wanted


def measure(
    recipe: str,
    wanted: Sequence[tuple[str, str]],
    device: torch.device,
    images: tuple[list[Path], list[Path], list[Path]],
    batches: Sequence[int],
    end: float,
) -> Iterator[Row]:
    """A row for each precision and mode of a recipe, beside float32 as it is."""
    reference = judged(ready(recipe, "fp32", device, images[0]), images[1], images[2])
    for precision, mode in wanted:
        if time.monotonic() > end:
            print("the time is over; the same command goes on")
            return
        detector = ready(recipe, precision, device, images[0])
        message: list[str] = []
        if mode != "none":
            detector.compile_extractor(mode, message.append)  # type: ignore[arg-type]
        (pictures,) = islice(read(images[2][:1], detector.preprocess, batch_size=1), 1)
        one = stack(pictures)
        with torch.no_grad():
            flops = count_flops(lambda detector=detector, one=one: detector(one))  # type: ignore[misc]
            times = latencies(detector, one)
            rates = dict(throughputs(detector, one, batches))
            peak = max(gemm_peak(device, DTYPES[precision]) for _ in range(2))
        best = max(rates, key=lambda batch: rates[batch])
        row: Row = {"recipe": recipe, "precision": precision, "compile": mode, "device": str(device)}
        row |= {"p50_ms": float(np.percentile(times, 50)), "p95_ms": float(np.percentile(times, 95))}
        row |= {"images_per_second": rates[best], "batch": best, "rates": rates}
        row |= {"gflop": flops / 1e9, "gemm_tflops": peak}
        row["share_of_gemm"] = flops * rates[best] / peak / 1e12
        workers = os.cpu_count() or 2
        row |= {"files_per_second": from_files(detector, images[2], best, workers), "workers": workers}
        row |= agreement(reference, judged(detector, images[1], images[2]))
        print(f"{recipe}, {precision}, {mode}: {row['p50_ms']:.1f} ms, {rates[best]:.1f} images/s", *message, sep="; ")
        yield row | {"message": message}


def ready(recipe: str, precision: str, device: torch.device, normal: Sequence[Path]) -> vlmad_core.Pipeline:
    """A detector that predicts; parts that would have to be trained stay as they were drawn."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of random weights, and of precisions that are slow here
        torch.manual_seed(0)
        made = vlmad_core.build(recipe, device=str(device), precision=precision, **RECIPES[recipe])
        made.class_name = "part"
        made.trained = made.trained or {"data": {"name": "nothing, for speed alone"}}
        return made.fit(normal) if made.memory_scorers else made


def judged(
    detector: vlmad_core.Pipeline, held_out: Sequence[Path], tested: Sequence[Path]
) -> tuple[list[vlmad_core.Prediction], float]:
    """Predictions, and the threshold in this precision: the highest score of held-out normal images."""
    limit = max(one.score for one in detector.predict(held_out))
    return detector.predict(tested), limit


def agreement(
    reference: tuple[list[vlmad_core.Prediction], float], other: tuple[list[vlmad_core.Prediction], float]
) -> Row:
    """Largest differences of scores and maps, and decisions that are others."""
    pairs = list(zip(reference[0], other[0], strict=True))
    return {
        "images": len(pairs),
        "score_difference": max(abs(a.score - b.score) for a, b in pairs),
        "map_difference": max(float(np.abs(a.raw_map - b.raw_map).max()) for a, b in pairs),
        "changed": sum((a.score > reference[1]) != (b.score > other[1]) for a, b in pairs),
    }


def latencies(
    detector: vlmad_core.Pipeline, image: torch.Tensor, *, seconds: float = 2.0, most: int = 200
) -> list[float]:
    """Milliseconds from pixels in memory to score and map in memory, one image at a time."""
    for _ in range(3):
        _result(detector, image)
    found: list[float] = []
    end = time.perf_counter() + seconds
    while len(found) < most and (time.perf_counter() < end or len(found) < 5):
        found.append(1000 * _timed(lambda: _result(detector, image)))
    return found


def throughputs(
    detector: vlmad_core.Pipeline, image: torch.Tensor, batches: Sequence[int], *, seconds: float = 1.0
) -> Iterator[tuple[int, float]]:
    """Images a second for each size of a batch that fits into memory."""
    for batch in batches:
        images = image.expand(batch, -1, -1, -1).contiguous()
        with suppress(torch.OutOfMemoryError):
            for _ in range(3):  # the second batch may be compiled
                _result(detector, images)
            rounds, started = 0, time.perf_counter()
            while rounds < 2 or time.perf_counter() - started < seconds:
                _result(detector, images)
                rounds += 1
            yield batch, rounds * batch / (time.perf_counter() - started)


def from_files(detector: vlmad_core.Pipeline, files: Sequence[Path], batch: int, workers: int) -> float:
    """Images a second from JPEG or PNG files to maps at the size of the image: what decoding leaves of the device."""
    count = max(4 * batch, len(files))
    started = time.perf_counter()
    for prediction in detector.stream(islice(cycle(files), count), batch_size=batch, workers=workers):
        _ = prediction.anomaly_map
    return count / (time.perf_counter() - started)


def gemm_peak(device: torch.device, dtype: torch.dtype) -> float:
    """TFLOP/s of one large matrix product, the best of a few sizes: what this device gives at this moment."""
    best = 0.0
    for side in (512, 1024) if device.type == "cpu" else (2048, 4096, 8192):
        a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        times = []
        for _ in range(4):
            times.append(_timed(lambda a=a, b=b: (linear(a, b), synchronize(device))))  # type: ignore[misc]
            if sum(times) > 2:
                break
        best = max(best, 2 * side**3 / min(times) / 1e12)
    return best


def images_of(data: Path | None, folder: Path) -> tuple[list[Path], list[Path], list[Path]]:
    """Normal images to fit on, held-out normal ones, and test images."""
    if data is not None:
        good, (normal, defect) = (
            data / "train/good",
            (sorted((data / "test" / k).iterdir()) for k in ("good", "defect")),
        )
        normals = sorted(good.iterdir())
        return normals[:8], normals[8:20], [*normal[:12], *defect[:12]]
    numbers = np.random.default_rng(0)
    paths = []
    for i in range(36):
        rows, columns = np.mgrid[0:480, 0:640] / 9
        plain = 128 + 40 * np.sin(rows + numbers.uniform(0, 6)) * np.cos(columns) + numbers.normal(0, 6, (480, 640))
        if i >= 24:
            top, left = numbers.integers(40, 400, 2)
            plain[top : top + 40, left : left + 40] += 12 * (i - 22)
        paths.append(folder / f"{i:02}.jpg")
        Image.fromarray(np.repeat(plain.clip(0, 255).astype(np.uint8)[..., None], 3, 2)).save(paths[-1], quality=92)
    return paths[:8], paths[8:16], paths[16:]


def table(rows: Sequence[Row]) -> str:
    """Markdown, a row for each measurement."""
    heads = ["recipe", "precision", "compile", "p50, p95 [ms]", "images/s (batch)", "from files", "share of GEMM"]
    heads += ["score, map differ by", "decisions changed"]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for row in rows:
        cells = [row["recipe"], row["precision"], row["compile"], f"{row['p50_ms']:.1f}, {row['p95_ms']:.1f}"]
        cells += [f"{row['images_per_second']:.1f} ({row['batch']})", f"{row['files_per_second']:.1f}"]
        cells += [f"{row['share_of_gemm']:.0%} of {row['gemm_tflops']:.3g} TFLOP/s"]
        cells += [f"{row['score_difference']:.1e}, {row['map_difference']:.1e}", f"{row['changed']} of {row['images']}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _result(detector: vlmad_core.Pipeline, images: torch.Tensor) -> None:
    scores = detector(images)
    scores.image.cpu(), scores.anomaly_map.float().cpu()


def _timed(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return f"{line.partition(':')[2].strip()}, {torch.get_num_threads()} threads"
    return f"{torch.get_num_threads()} threads"


if __name__ == "__main__":
    main()
