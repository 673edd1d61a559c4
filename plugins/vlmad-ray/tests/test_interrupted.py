"""A full disk, a file cut short and a store without access: clear errors, and nothing half-written counts as done."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest

from vlmad_core.errors import ConfigError, VlmadError
from vlmad_ray import batch
from vlmad_ray.batch import run_batch
from vlmad_ray.sources import find_addresses

Write = Callable[[Path, int], Path]


@pytest.fixture
def stops(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], None]:
    """Ray Data's names in place of it; its write ends with an error."""

    def use(error: Exception) -> None:
        def write(folder: str) -> None:
            Path(folder, "half.parquet").write_bytes(b"PAR1 and no end")
            raise error

        data = SimpleNamespace(map_batches=lambda *_, **__: SimpleNamespace(write_parquet=write))
        context = SimpleNamespace(get_current=SimpleNamespace)
        given: dict[str, Any] = {
            "ray.data": SimpleNamespace(
                read_parquet=lambda *_, **__: data, ActorPoolStrategy=dict, DataContext=context
            ),
            "ray.data.checkpoint": SimpleNamespace(CheckpointConfig=dict),
            "ray.exceptions": SimpleNamespace(RayError=RuntimeError),
        }
        ray = SimpleNamespace(is_initialized=lambda: True, data=given["ray.data"], shutdown=lambda: None)
        for name, module in {"ray": ray, **given}.items():
            monkeypatch.setitem(sys.modules, name, module)

    return use


def test_a_full_disk_says_that_what_is_done_stays(
    tmp_path: Path, detector: Path, write_images: Write, stops: Callable[[Exception], None]
) -> None:
    stops(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    folder = write_images(tmp_path / "images", 3)
    for _ in range(2):  # the file that was cut short stops no later run
        with pytest.raises(VlmadError, match=r"stopped .*No space left.*What is done stays; the same command goes on"):
            run_batch(str(folder), detector, tmp_path / "out")
    assert not (tmp_path / "out" / "summary.json").exists()


def test_a_file_that_was_cut_short_counts_no_image(tmp_path: Path) -> None:
    results = tmp_path / "results"
    results.mkdir()
    pq.write_table(
        pa.table({"path": ["a", "b"], "verdict": ["pass", None], "error": [None, "x"]}), results / "1.parquet"
    )
    whole = (results / "1.parquet").read_bytes()
    (results / "2.parquet").write_bytes(whole[: len(whole) // 2])
    assert batch._rows(tmp_path) == 2
    with pytest.raises(VlmadError, match=r"a file of results cannot be read .*Run the same command again"):
        batch._summary(tmp_path, {"a", "b"}, 0, 1.0)


def test_a_row_too_many_and_a_missing_one_are_named(tmp_path: Path) -> None:
    results = tmp_path / "results"
    results.mkdir()
    for name in ("1.parquet", "2.parquet"):
        pq.write_table(pa.table({"path": ["a"], "verdict": ["pass"], "error": [None]}), results / name)
    with pytest.raises(VlmadError, match="1 images have more than one row and 1 have none, such as a"):
        batch._summary(tmp_path, {"a", "b"}, 0, 1.0)


def test_a_store_whose_package_is_missing_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(ConfigError, match=r"s3://bucket/x: cannot be opened: Install s3fs"):
        find_addresses("s3://bucket/x")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 KiB, where one may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(folder)]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.slow  # Ray itself, twice
def test_a_disk_that_fills_up_in_the_middle_loses_and_doubles_nothing(
    small_disk: Path, tmp_path: Path, detector: Path, write_images: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("VLMAD_TESTS_OFFLINE", raising=False)  # Ray's processes open sockets, over which nothing is sent
    folder = write_images(tmp_path / "images", 200)
    command = [sys.executable, "-m", "vlmad_core.cli", "batch", str(folder), "--detector", str(detector)]
    command += ["--out", str(small_disk / "out"), "--batch-size", "4", "--maps", "png16"]
    first = subprocess.run(command, capture_output=True, text=True, check=False)
    if "timed out during startup" in first.stderr:
        pytest.skip("Ray could not start within its 30 seconds, three times; the machine is too busy")
    assert first.returncode == 1, first.stderr[-2000:]
    assert "Traceback" not in first.stderr.splitlines()[-1]
    assert "No space left on device" in first.stderr
    assert "the same command goes on" in first.stderr
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stderr[-2000:]
    paths = pads.dataset(small_disk / "out" / "results", format="parquet").to_table(columns=["path"])["path"]
    counts = Counter(paths.to_pylist())
    assert len(counts) == 200
    assert set(counts.values()) == {1}
