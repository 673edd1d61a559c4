"""Exact AUPRO here against anomalib's metric and against a loop over 200 thresholds, all in one run on the same maps.

    python tests/benchmarks/aupro.py [--maps 1725] [--rounds 2] [--stream 10000] [--report FILE.json]

1,725 maps of 256x256 are as many as the test set of MVTec AD has. Each measurement is a process of its own, so that its
peak memory is its own; sides alternate and the best round counts; the loop, which takes minutes, runs once. The loop is
written from the definition of the 200-step variant (docs/metrics.md), with the cost of the papers' code: at each
threshold all maps are binarised and the regions of each mask are found again. At the end, maps are streamed through
the sketch, which must hold memory where it is.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve()
SIZE, CELLS, LIMIT, STEPS = 256, 16, 0.3, 200
FILES = "maps.npy", "masks.npy"


def main() -> None:
    """Make the maps, measure the sides in turn, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--maps", type=int, default=1725)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--stream", type=int, default=10_000, help="maps through the sketch")
    parser.add_argument("--folder", type=Path, default=Path(".benchmark"))
    parser.add_argument(
        "--anomalib", type=Path, help="a Python that has anomalib 2.7.0; made in FOLDER where not given"
    )
    parser.add_argument("--report", type=Path, help="write the figures here too, as JSON")
    parser.add_argument("--side", choices=sorted(SIDES), help="one measurement, as this script starts them itself")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    if arguments.side:
        print(json.dumps(SIDES[arguments.side](folder, arguments.stream)))
        return
    folder.mkdir(exist_ok=True)
    peer = arguments.anomalib or environment(folder / "anomalib")
    pairs = list(pictures(arguments.maps))
    for name, arrays in zip(FILES, zip(*pairs, strict=True), strict=True):
        np.save(folder / name, np.stack(arrays))
    covered = np.mean([mask.mean() for _, mask in pairs])
    del pairs
    print(f"{arguments.maps} maps of {SIZE}x{SIZE}, {covered:.1%} of the pixels defective, {os.cpu_count()} cores\n")
    best: dict[str, dict[str, float]] = {}
    for turn in range(arguments.rounds):
        for side in ("exact", "all", "anomalib", "loop", "stepped"):
            if side == "loop" and turn:
                continue
            result = measure(peer if side == "anomalib" else Path(sys.executable), side, folder, 0)
            print(
                f"round {turn + 1}: {side:9} {result['seconds']:8.2f} s, {result['cpu_seconds']:.2f} CPU s", flush=True
            )
            if side not in best or result["seconds"] < best[side]["seconds"]:
                best[side] = result
    table(best)
    best["sketch"] = measure(Path(sys.executable), "sketch", folder, 0)
    best["stream"] = measure(Path(sys.executable), "stream", folder, arguments.stream)
    tell_sketch(best, arguments.stream)
    if arguments.report:
        arguments.report.write_text(json.dumps(best, indent=2) + "\n")


def environment(folder: Path) -> Path:
    """A Python with anomalib in it, the one that WinCLIP's benchmark makes."""
    sys.path.insert(0, str(HERE.parents[2] / "plugins" / "vlmad-winclip" / "benchmarks"))
    import winclip_vs_anomalib

    return Path(winclip_vs_anomalib.environment(folder))


def pictures(count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Maps as detectors make them, coarse noise upsampled, higher at defects; masks of none to three ellipses."""
    draw = np.random.default_rng(0)
    centres = (np.arange(SIZE) + 0.5) / SIZE * CELLS - 0.5
    weights = np.clip(1 - np.abs(centres[:, None] - np.arange(CELLS)), 0, None)
    weights /= weights.sum(1, keepdims=True)
    y, x = np.mgrid[:SIZE, :SIZE]
    for index in range(count):
        mask = np.zeros((SIZE, SIZE), dtype=np.uint8)
        for _ in range(draw.integers(1, 4) if index % 11 > 2 else 0):  # 3 of 11 are normal, as in MVTec AD
            (up, left), (height, width) = draw.integers(0, SIZE, 2), draw.integers(4, 44, 2)
            mask |= (((y - up) / height) ** 2 + ((x - left) / width) ** 2 < 1).astype(np.uint8)
        coarse = draw.normal(size=(CELLS, CELLS)) + 2 * mask[8::16, 8::16]
        yield (1 / (1 + np.exp(1 - weights @ coarse @ weights.T))).astype(np.float32), mask


def measure(python: Path, side: str, folder: Path, stream: int) -> dict[str, float]:
    """One process: seconds, the value, and memory beside the maps."""
    command = [python, HERE, "--side", side, "--folder", folder, "--stream", str(stream)]
    environ = {**os.environ, "OMP_NUM_THREADS": str(os.cpu_count())}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environ)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def table(best: dict[str, dict[str, float]]) -> None:
    """Print time on the clock and on the processors, which a busy machine tells apart, ratios, and peak memory."""
    heads = {
        "exact": "vlmad, exact AUPRO",
        "all": "vlmad, all pixel metrics",
        "anomalib": "anomalib 2.7.0, AUPRO",
        "stepped": "vlmad, 200 steps",
        "loop": "200 steps, a loop",
    }
    print(f"\n{'':26}{'value':>9}{'seconds':>9}{'CPU s':>8}", end="")
    print(f"{'x anomalib (CPU)':>18}{'x loop (CPU)':>16}{'MiB beside the maps':>21}{'peak MiB':>10}")
    for side, head in heads.items():
        row = best[side]
        ratios = [
            f"{best[other]['seconds'] / row['seconds']:.1f} ({best[other]['cpu_seconds'] / row['cpu_seconds']:.1f})"
            for other in ("anomalib", "loop")
        ]
        print(
            f"{head:26}{row['value']:9.6f}{row['seconds']:9.2f}{row['cpu_seconds']:8.2f}"
            f"{ratios[0]:>18}{ratios[1]:>16}{row['beside_mib']:21.0f}{row['peak_mib']:10.0f}"
        )


def tell_sketch(best: dict[str, dict[str, float]], stream: int) -> None:
    """Print what binning costs in value, and what many maps cost in memory."""
    exact, sketch, many = best["exact"], best["sketch"], best["stream"]
    print(
        f"\nsketch, binned from the first map: AUPRO {sketch['value']:.9f}, off by "
        f"{abs(sketch['value'] - exact['value']):.1e}, proven bound {sketch['bound']:.1e}; {sketch['seconds']:.1f} s"
        f"\n{stream} maps through the sketch: {many['seconds']:.1f} s beside making them, peak "
        f"{many['peak_mib']:.0f} MiB ({stream * SIZE**2 * 5 / 2**20:.0f} MiB of maps and masks went by), "
        f"largest bound of any metric {many['bound']:.1e}; peak after {stream // 10} maps {many['early_mib']:.0f} MiB"
    )


def peak() -> float:
    """Largest memory of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def timed(folder: Path, work: Callable[[np.ndarray, np.ndarray], float]) -> dict[str, float]:
    """Load the maps, do the work once on a few so that imports are done, then time it on all."""
    maps, masks = (np.load(folder / name) for name in FILES)
    work(maps[:12], masks[:12])
    before, started, computed = peak(), time.perf_counter(), time.process_time()
    value = work(maps, masks)
    return {
        "value": value,
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - computed,
        "beside_mib": peak() - before,
        "peak_mib": peak(),
    }


def side_exact(folder: Path, _: int) -> dict[str, float]:
    """Exact AUPRO here."""
    from vlmad_core.metrics import aupro

    return timed(folder, lambda maps, masks: aupro(maps, masks, limit=LIMIT))


def side_all(folder: Path, _: int) -> dict[str, float]:
    """AUROC, AP, F1max and AUPRO at two limits, all exact."""
    from vlmad_core.metrics import pixel_metrics

    return timed(folder, lambda maps, masks: pixel_metrics(maps, masks, limits=(LIMIT, 0.05)).aupro[LIMIT])


def side_stepped(folder: Path, _: int) -> dict[str, float]:
    """The 200-step variant here."""
    from vlmad_core.metrics import stepped_aupro

    return timed(folder, lambda maps, masks: stepped_aupro(maps, masks, steps=STEPS, limit=LIMIT).value)


def side_anomalib(folder: Path, _: int) -> dict[str, float]:
    """anomalib's metric, fed in batches as its evaluation does."""
    import torch

    # A CPU torch beside a CUDA torchvision lacks these two operators, and anomalib imports torchvision.
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    from anomalib.metrics.aupro import _AUPRO

    def work(maps: np.ndarray, masks: np.ndarray) -> float:
        metric = _AUPRO(fpr_limit=LIMIT)
        for start in range(0, len(maps), 32):
            batch = slice(start, start + 32)
            metric.update(torch.from_numpy(maps[batch]), torch.from_numpy(masks[batch]).int())
        return float(metric.compute())

    return timed(folder, work)


def side_loop(folder: Path, _: int) -> dict[str, float]:
    """The 200-step variant as a plain loop over thresholds, images and regions."""
    from scipy.ndimage import label

    def work(maps: np.ndarray, masks: np.ndarray) -> float:
        lowest, highest = float(maps.min()), float(maps.max())
        normal = masks == 0
        normals = normal.sum()
        rates, overlaps = [], []
        for threshold in np.arange(lowest, highest, (highest - lowest) / STEPS):
            found = maps > threshold
            rates.append(np.logical_and(found, normal).sum() / normals)
            shares = []
            for image, mask in zip(found, masks, strict=True):
                regions, count = label(mask, structure=np.ones((3, 3), dtype=int))
                for region in range(1, count + 1):
                    inside = regions == region
                    shares.append(image[inside].sum() / inside.sum())
            overlaps.append(np.mean(shares))
        kept = np.array(rates) < LIMIT
        rate, overlap = np.array(rates)[kept], np.array(overlaps)[kept]
        rate = (rate - rate.min()) / (rate.max() - rate.min())
        return float(-np.trapezoid(overlap, rate))

    return timed(folder, work)


def side_sketch(folder: Path, _: int) -> dict[str, float]:
    """The same maps, binned from the first on."""
    from vlmad_core.metrics import PixelSketch

    bound = 0.0

    def work(maps: np.ndarray, masks: np.ndarray) -> float:
        nonlocal bound
        sketch = PixelSketch(memory=0)
        for values, mask in zip(maps, masks, strict=True):
            sketch.update(values, mask)
        result = sketch.result()
        bound = result.bounds[f"aupro {LIMIT:g}"]
        return result.aupro[LIMIT]

    return timed(folder, work) | {"bound": bound}


def side_stream(_: Path, stream: int) -> dict[str, float]:
    """Many maps, each made, taken in and forgotten, with 256 MiB to keep scores in."""
    from vlmad_core.metrics import PixelSketch

    sketch, seconds, early = PixelSketch(memory=256 << 20), 0.0, 0.0
    for index, (values, mask) in enumerate(pictures(stream)):
        started = time.perf_counter()
        sketch.update(values, mask)
        seconds += time.perf_counter() - started
        if index + 1 == stream // 10:
            early = peak()
    started = time.perf_counter()
    result = sketch.result()
    seconds += time.perf_counter() - started
    return {
        "value": result.aupro[LIMIT],
        "seconds": seconds,
        "bound": result.bound,
        "early_mib": early,
        "peak_mib": peak(),
    }


SIDES: dict[str, Callable[[Path, int], dict[str, float]]] = {
    "exact": side_exact,
    "all": side_all,
    "anomalib": side_anomalib,
    "loop": side_loop,
    "stepped": side_stepped,
    "sketch": side_sketch,
    "stream": side_stream,
}

if __name__ == "__main__":
    main()
