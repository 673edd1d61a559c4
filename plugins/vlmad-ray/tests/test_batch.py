"""Each image has exactly one row, whatever is killed meanwhile; a broken file is a row with its error."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow.dataset as pads
import pytest

# In a process of its own: Ray leaves files and processes to the garbage collector, which are errors here. One cluster
# for both runs, since its start is what takes long.
RUNS = """
import json, pathlib, sys
from vlmad_core.errors import ConfigError
from vlmad_ray.batch import BatchOptions, connect, run_batch
folder, more, detector, out = map(pathlib.Path, sys.argv[1:])
connect(BatchOptions())
found, messages = [], []
found.append(run_batch(str(folder), detector, out, BatchOptions(batch_size=4)))
for path in more.iterdir():
    path.rename(folder / path.name)
found.append(run_batch(str(folder), detector, out, BatchOptions(batch_size=4), tell=messages.append))
try:
    run_batch(str(folder), detector, out, BatchOptions(maps="png16"))
except ConfigError as error:
    messages.append(str(error))
print(json.dumps([[each.images, each.judged, each.failed, each.done_now] for each in found] + messages))
"""

Write = Callable[[Path, int], Path]


def _rows(out: Path) -> dict[str, str | None]:
    table = pads.dataset(out / "results", format="parquet").to_table(columns=["path", "error"])
    counts = Counter(table["path"].to_pylist())
    assert set(counts.values()) <= {1}
    return dict(zip(table["path"].to_pylist(), table["error"].to_pylist(), strict=True))


@pytest.fixture(autouse=True)
def _no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # a busy machine would starve them otherwise
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    # Ray's processes find out their own address by opening a datagram socket, over which nothing is sent.
    monkeypatch.delenv("VLMAD_TESTS_OFFLINE", raising=False)


@pytest.mark.slow  # Ray itself: a cluster is started, which takes up to a minute on two busy cores
def test_a_run_goes_on_with_images_that_came_since(tmp_path: Path, detector: Path, write_images: Write) -> None:
    folder, more, out = write_images(tmp_path / "images", 12), write_images(tmp_path / "more", 15), tmp_path / "out"
    (folder / "00003.png").write_bytes(b"broken")
    for i in range(12):
        (more / f"{i:05}.png").unlink()
    words = [sys.executable, "-c", RUNS, *map(str, (folder, more, detector, out))]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if "timed out during startup" in done.stderr:
        pytest.skip("Ray could not start within its 30 seconds, three times; the machine is too busy")
    assert done.returncode == 0, done.stderr[-2000:]
    first, second, message, refused = json.loads(done.stdout.splitlines()[-1])
    assert first == [12, 11, 1, 12]
    assert second == [15, 14, 1, 3]
    assert message == "12 images have their rows already"
    assert "was made with other settings" in refused
    rows = _rows(out)
    assert len(rows) == 15
    assert [Path(path).name for path, error in rows.items() if error] == ["00003.png"]
    assert json.loads((out / "summary.json").read_text())["judged"] == 14


@pytest.mark.slow
def test_killed_workers_and_drivers_lose_and_double_nothing(
    tmp_path: Path, detector: Path, write_images: Write
) -> None:
    count = int(os.environ.get("VLMAD_BATCH_IMAGES", "2000"))
    folder = write_images(tmp_path / "images", count)
    command = [sys.executable, "-m", "vlmad_core.cli", "batch", str(folder), "--detector", str(detector)]
    command += ["--out", str(tmp_path / "out"), "--batch-size", "16", "--quiet"]
    drivers = workers = 0
    while True:
        driver = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE)
        deadline = time.monotonic() + (25 if drivers < 2 else 600)
        while driver.poll() is None and time.monotonic() < deadline:
            time.sleep(3)
            pids = _actors(driver.pid)
            if pids and workers < 5 and any((tmp_path / "out" / "results").glob("*.parquet")):
                os.kill(pids[0], signal.SIGKILL)
                workers += 1
        if driver.poll() is None and drivers < 2:
            os.killpg(driver.pid, signal.SIGKILL)  # it and every process of its cluster
            driver.wait()
            drivers += 1
            continue
        _, error = driver.communicate(timeout=60)
        assert driver.returncode == 0, error.decode()[-2000:]
        break
    assert drivers == 2
    assert workers > 0
    assert len(_rows(tmp_path / "out")) == count


def _actors(driver: int) -> list[int]:
    """Processes that hold a detector and descend from the driver."""
    listed = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()[1:]]
    parents = {int(pid): int(parent) for pid, parent, _ in rows}
    found = []
    for pid in (int(row[0]) for row in rows if "MapWorker" in row[2]):
        above = pid
        while above in parents and above != driver:
            above = parents[above]
        if above == driver:
            found.append(pid)
    return found
