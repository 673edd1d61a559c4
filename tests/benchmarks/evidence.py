"""What reasons cost: the time of a batch with them over the time without them, both in one run.

    python tests/benchmarks/evidence.py --normal good/ --images parts/ [--recipe pocket-few-shot]

Batches with and without reasons take turns, so that a busy machine slows both; the median of each is compared. Reading
files, the sentences (once a class name) and pictures are not in it; `--pictures` times whole runs into a folder.
On a machine that does other work too, the processor time is the one to read.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch

import vlmad_core
from vlmad_core.contracts.images import find_images, read
from vlmad_core.run import run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--normal", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--recipe", default="pocket-few-shot")
    parser.add_argument("--class-name", default="object")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--pictures", action="store_true", help="Also time whole runs into a folder.")
    given = parser.parse_args()
    torch.set_num_threads(1)
    detector = vlmad_core.build(given.recipe)
    detector.class_name = given.class_name
    normals = find_images([given.normal])
    if detector.memory_scorers:
        detector.fit(normals)
    images = find_images([given.images])[: given.batch]
    ((*pictures,),) = read(images, detector.preprocess, batch_size=given.batch)
    detector.predict_batch(pictures)
    detector.explain_batch(pictures)
    times: list[list[tuple[float, float]]] = []
    for _ in range(given.rounds):
        turn = []
        for call in (detector.predict_batch, detector.explain_batch):
            started, processor = time.perf_counter(), time.process_time()
            call(pictures)
            turn.append((time.perf_counter() - started, time.process_time() - processor))
        times.append(turn)
    print(f"{given.recipe}, {len(normals)} normal images, batch of {len(pictures)}, median of {given.rounds}:")
    for i, what in enumerate(("wall", "processor")):
        plain, explained = (1e3 * statistics.median(turn[k][i] for turn in times) / len(pictures) for k in (0, 1))
        print(f"{what} time: plain {plain:.1f} ms, with reasons {explained:.1f} ms an image: {explained / plain:.3f}")
    if given.pictures:
        turns = [[_whole_run(detector, images, explain) for explain in (False, True)] for _ in range(3)]
        for i, what in enumerate(("wall", "processor")):
            plain, explained = (statistics.median(turn[k][i] for turn in turns) for k in (0, 1))
            print(f"runs into a folder, {what} time: {plain:.2f} s and {explained:.2f} s: {explained / plain:.3f}")


def _whole_run(detector: vlmad_core.Pipeline, images: list[Path], explain: bool) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as folder:
        started, processor = time.perf_counter(), time.process_time()
        run(detector, images, Path(folder) / "out", explain=explain)
        return time.perf_counter() - started, time.process_time() - processor


if __name__ == "__main__":
    main()
