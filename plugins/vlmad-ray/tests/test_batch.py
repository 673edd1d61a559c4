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

from vlmad_core.errors import ConfigError
from vlmad_ray.batch import BatchOptions, run_batch

# Ray's own warnings about its future, and files that its processes leave to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore")

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


def test_a_run_goes_on_with_images_that_came_since(tmp_path: Path, detector: Path, write_images: Write) -> None:
    folder = write_images(tmp_path / "images", 12)
    (folder / "00003.png").write_bytes(b"broken")
    first = run_batch(str(folder), detector, tmp_path / "out", BatchOptions(batch_size=4))
    assert (first.images, first.judged, first.failed, first.done_now) == (12, 11, 1, 12)
    write_images(tmp_path / "more", 15)
    for i in range(12, 15):
        (tmp_path / "more" / f"{i:05}.png").rename(folder / f"{i:05}.png")
    told: list[str] = []
    second = run_batch(str(folder), detector, tmp_path / "out", BatchOptions(batch_size=4), tell=told.append)
    assert told == ["12 images have their rows already"]
    assert (second.images, second.judged, second.failed, second.done_now) == (15, 14, 1, 3)
    rows = _rows(tmp_path / "out")
    assert len(rows) == 15
    assert [Path(path).name for path, error in rows.items() if error] == ["00003.png"]
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["judged"] == 14
    with pytest.raises(ConfigError, match="was made with other settings"):
        run_batch(str(folder), detector, tmp_path / "out", BatchOptions(maps="png16"))


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
    """Processes of the driver's cluster that hold a detector."""
    listed = subprocess.run(["ps", "-eo", "pid,sid,args"], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()[1:]]
    session = str(os.getsid(driver)) if Path(f"/proc/{driver}").exists() else ""
    return [int(pid) for pid, sid, args in rows if sid == session and "MapWorker" in args]
