"""``vlmad batch`` over many images while workers and drivers are killed: each image has one row, and memory is flat.

python benchmarks/exactly_once.py --crops DATA --work FOLDER --images 20000

All kills fall into the first two fifths of the images; the rest runs undisturbed and shows the memory. The same call
after a stop goes on with the kills that are left. One JSON line a sample in ``memory.jsonl``, the result on stdout.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.dataset as pads
import pyarrow.parquet as pq
from crops import make_crops, make_detector
from processes import descendants

WORKER_KILLS, DRIVER_KILLS = (0.03, 0.08, 0.18, 0.25, 0.4), (0.12, 0.3)
"""Shares of the images with a row at which one is killed."""


class Run:
    """The run, its kills and its samples."""

    def __init__(self, command: list[str], out: Path, work: Path, images: int) -> None:
        self.command, self.out, self.images = command, out, images
        self.state_file, self.samples_file = work / "state.json", work / "memory.jsonl"
        fresh = {"workers": 0, "drivers": 0, "seconds": 0.0}
        self.state: dict[str, Any] = json.loads(self.state_file.read_text()) if self.state_file.exists() else fresh

    def until_done(self) -> None:
        """Start the command again as long as it is killed."""
        while self._once():
            pass

    def _once(self) -> bool:
        """One driver from its start to its end; whether it was killed here."""
        driver = subprocess.Popen(self.command, start_new_session=True)
        started = time.monotonic()
        try:
            while driver.poll() is None:
                time.sleep(2)
                rows, processes = self.rows(), descendants(driver.pid)
                actors = [process for process in processes if process.holds_detector]
                self._sample(driver.pid, rows, processes)
                share = rows / self.images
                drivers, workers = self.state["drivers"], self.state["workers"]
                if drivers < len(DRIVER_KILLS) and share >= DRIVER_KILLS[drivers]:
                    os.killpg(driver.pid, signal.SIGKILL)  # with every process of its cluster
                    driver.wait()
                    self.state["drivers"] += 1
                    return True
                if workers < len(WORKER_KILLS) and share >= WORKER_KILLS[workers] and actors:
                    os.kill(actors[0].pid, signal.SIGKILL)
                    self.state["workers"] += 1
            if driver.returncode:
                raise SystemExit(f"vlmad batch ended with {driver.returncode}")
            return False
        finally:
            if driver.poll() is None:
                os.killpg(driver.pid, signal.SIGKILL)
            self.state["seconds"] += time.monotonic() - started
            self.state_file.write_text(json.dumps(self.state))

    def _sample(self, driver: int, rows: int, processes: list[Any]) -> None:
        actors = {process.pid: round(process.megabytes) for process in processes if process.holds_detector}
        own = [round(process.megabytes) for process in processes if process.pid == driver]
        others = sum(process.megabytes for process in processes if not process.holds_detector) - sum(own)
        sample = {"driver_pid": driver, "rows": rows, "driver": sum(own), "workers": actors, "others": round(others)}
        with self.samples_file.open("a") as file:
            file.write(json.dumps({**sample, "load": os.getloadavg()[0]}) + "\n")

    def rows(self) -> int:
        """Rows in whole files; one that Ray is writing does not count yet."""
        count = 0
        for path in (self.out / "results").glob("*.parquet"):
            try:
                count += pq.read_metadata(path).num_rows
            except (OSError, ValueError):
                continue
        return count


def main() -> None:
    """Run, kill, count."""
    given = _arguments()
    images = make_crops(given.crops, given.work / f"images-{given.images}", given.images)
    detector = make_detector(
        images, given.work / f"{given.recipe}-{given.image_size}.vlmad", given.recipe, given.image_size
    )
    out = given.work / "exactly-once"
    command = [sys.executable, "-m", "vlmad_core.cli", "batch", str(images), "-d", str(detector), "--quiet"]
    command += ["--out", str(out), "--workers", str(given.workers)]
    run = Run(command, out, given.work, given.images)
    run.until_done()
    table = pads.dataset(out / "results", format="parquet").to_table(columns=["path", "error"])
    counts = Counter(table["path"].to_pylist())
    result = {
        "images": given.images,
        "rows": table.num_rows,
        "paths": len(counts),
        "twice": sum(count > 1 for count in counts.values()),
        "errors": table.num_rows - table["error"].null_count,
        **run.state,
        **_memory(run.samples_file),
    }
    print(json.dumps(result))
    if counts.keys() != {str(path) for path in images.rglob("*.jpg")} or table.num_rows != given.images:
        raise SystemExit("an image has no row, or more than one")


def _memory(path: Path) -> dict[str, Any]:
    """MB in the second and the last quarter of what the last processes did; of the larger worker."""
    samples = [json.loads(line) for line in path.read_text().splitlines()]
    last = [sample for sample in samples if sample["driver_pid"] == samples[-1]["driver_pid"]]
    pids = next((sample["workers"] for sample in reversed(last) if sample["workers"]), {})
    whole = [sample for sample in last if pids and pids.keys() <= sample["workers"].keys()]
    if len(whole) < 8:
        return {"memory_samples": len(whole)}
    quarter = len(whole) // 4

    def mean(part: list[Any], name: str) -> int:
        values = [sample[name] if name != "workers" else max(sample[name][pid] for pid in pids) for sample in part]
        return round(sum(values) / len(values))

    kinds = ("driver", "workers", "others")
    return {
        "memory_samples": len(whole),
        "memory_rows": [whole[0]["rows"], whole[-1]["rows"]],
        "memory_second_quarter_mb": {kind: mean(whole[quarter : 2 * quarter], kind) for kind in kinds},
        "memory_last_quarter_mb": {kind: mean(whole[-quarter:], kind) for kind in kinds},
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crops", type=Path, required=True, help="folder with images to cut from")
    parser.add_argument("--work", type=Path, required=True, help="folder for what is made")
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--recipe", default="patch-memory")
    parser.add_argument("--image-size", type=int, default=56)
    return parser.parse_args()


if __name__ == "__main__":
    main()
