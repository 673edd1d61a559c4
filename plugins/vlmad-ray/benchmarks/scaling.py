"""A table that is computed, not measured: how long ``vlmad batch`` would take for so many files of results and workers.

python benchmarks/scaling.py --image-seconds 0.031 --piece-seconds 0.2 --start-seconds 30

A piece of work is one file of results. Each waits for a worker, which judges its images; reading, filtering and writing
it take ``piece_seconds`` of one of the ``writers``, before the piece counts. The cluster starts once. What is not in
it: a network that is too slow, machines that die, and Ray's scheduling above a thousand actors.
"""

from __future__ import annotations

import argparse
import heapq
from dataclasses import dataclass


@dataclass(frozen=True)
class Costs:
    """Seconds, measured with ``throughput.py``.

    Args:
        image: Of one worker for an image.
        piece: Beside it for a piece.
        start: Until the first worker has its detector.
        writers: Pieces that are read and written at a time; each asks for one core.
    """

    image: float
    piece: float
    start: float
    writers: int = 2


def simulated_seconds(images: int, pieces: int, workers: int, costs: Costs) -> float:
    """When the last piece is written.

    >>> simulated_seconds(100, 10, 1, Costs(image=1.0, piece=0.0, start=5.0))
    105.0
    """
    free, writing = [costs.start] * workers, [costs.start] * max(costs.writers, workers // 32)
    small, larger = divmod(images, pieces)
    for piece in range(pieces):
        judged = heapq.heappop(free) + (small + (piece < larger)) * costs.image
        heapq.heappush(free, judged)
        heapq.heappush(writing, max(judged, heapq.heappop(writing)) + costs.piece)
    return max(*free, *writing)


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image-seconds", type=float, required=True)
    parser.add_argument("--piece-seconds", type=float, required=True)
    parser.add_argument("--start-seconds", type=float, required=True)
    parser.add_argument("--images", type=int, nargs="+", default=[20_000, 1_000_000, 100_000_000])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 16, 128, 1024])
    parser.add_argument("--batch-size", type=int, default=32)
    given = parser.parse_args()
    costs = Costs(given.image_seconds, given.piece_seconds, given.start_seconds)
    print("| images | files | " + " | ".join(f"{workers} workers" for workers in given.workers) + " |")
    print("|---:|---:|" + "---:|" * len(given.workers))
    for images in given.images:
        rows = max(given.batch_size * 8, images // 10_000)  # as vlmad_ray.batch cuts them
        pieces = -(-images // rows)
        cells = []
        for workers in given.workers:
            seconds = simulated_seconds(images, pieces, workers, costs)
            efficiency = images * costs.image / (seconds * workers)
            cells.append(f"{_time(seconds)} ({efficiency:.0%})")
        print(f"| {images:,} | {pieces:,} | " + " | ".join(cells) + " |")


def _time(seconds: float) -> str:
    for unit, size in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


if __name__ == "__main__":
    main()
