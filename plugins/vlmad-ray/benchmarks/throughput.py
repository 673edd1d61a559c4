"""Images a second of ``vlmad batch`` against ``vlmad predict`` on the same cores, one after the other, in one run.

python benchmarks/throughput.py --crops DATA --work FOLDER --images 4000 --cores 2

On a busy machine compare the processor time: what others compute meanwhile changes the images a second, not this.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from crops import make_crops, make_detector
from processes import descendants

VLMAD = [sys.executable, "-m", "vlmad_core.cli"]


def main() -> None:
    """Alternate the two commands, and print one JSON line a run and one with medians."""
    given = _arguments()
    images = make_crops(given.crops, given.work / f"images-{given.images}", given.images)
    detector = make_detector(
        images, given.work / f"{given.recipe}-{given.image_size}.vlmad", given.recipe, given.image_size
    )
    cores = ",".join(map(str, sorted(os.sched_getaffinity(0))[: given.cores]))
    predict = ["predict", str(images), "-d", str(detector), "--maps", "none", "--no-overlays", "--quiet"]
    predict += ["--threads", str(given.cores), "--batch-size", str(given.predict_batch)]
    batch = ["batch", str(images), "-d", str(detector), "--quiet", "--workers", str(given.workers or given.cores)]
    batch += ["--batch-size", str(given.batch_size)]
    found: dict[str, list[dict[str, float]]] = {"predict": [], "batch": []}
    for repeat in range(given.repeats):
        for name, words in (("predict", predict), ("batch", batch)):
            if name == given.skip:
                continue
            out = given.work / f"throughput-{name}"
            shutil.rmtree(out, ignore_errors=True)
            started = time.perf_counter()
            computed = _cpu_seconds(["taskset", "-c", cores, *VLMAD, *words, "--out", str(out)])
            whole = time.perf_counter() - started
            row = {"images_per_second": given.images / whole, "seconds": whole}
            row |= {"cpu_seconds": sum(computed.values()), **{f"cpu_{kind}": spent for kind, spent in computed.items()}}
            if name == "batch":
                inner = json.loads((out / "summary.json").read_text())
                row["run_seconds"] = inner["seconds"]
            found[name].append(row)
            print(json.dumps({"command": name, "repeat": repeat, "load": os.getloadavg()[0], **row}), flush=True)
    if given.skip is None:
        for measure, best in (("images_per_second", "batch / predict"), ("cpu_seconds", "predict / batch")):
            medians = {name: statistics.median(row[measure] for row in rows) for name, rows in found.items()}
            above, below = best.split(" / ")
            print(json.dumps({"median": measure, **medians, best: medians[above] / medians[below]}))


def _cpu_seconds(command: list[str]) -> dict[str, int]:
    """Run a command; seconds of processor time, sampled: of itself, of actors, of all else below it."""
    process, seen = subprocess.Popen(command), dict[int, tuple[str, int]]()
    while process.poll() is None:
        for one in descendants(process.pid):
            kind = "itself" if one.pid == process.pid else "actors" if one.holds_detector else "ray"
            seen[one.pid] = (kind, one.cpu_seconds)
        time.sleep(0.5)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    kinds = ("itself", "actors", "ray")
    return {kind: sum(seconds for of, seconds in seen.values() if of == kind) for kind in kinds}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crops", type=Path, required=True, help="folder with images to cut from")
    parser.add_argument("--work", type=Path, required=True, help="folder for what is made")
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--workers", type=int, help="by default one a core")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--predict-batch", type=int, default=8)
    parser.add_argument("--recipe", default="patch-memory")
    parser.add_argument("--image-size", type=int, default=112)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--skip", choices=("predict", "batch"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
