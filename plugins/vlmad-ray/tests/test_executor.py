"""Ray as an executor: a benchmark has the same rows as without it, and a cluster of one's own is offered to nobody."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from vlmad_core.registry import default_registry
from vlmad_ray.executor import RayExecutor
from vlmad_ray.plugin import RayExecutorConfig

BENCHMARK = """
import json, os, pathlib, subprocess, sys
from concurrent.futures import Executor
from vlmad_core import run_benchmark
from vlmad_ray.executor import RayExecutor
from vlmad_ray.plugin import RayExecutorConfig
import torch
torch.set_num_threads(1)
data, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
plan = {"data": str(data), "methods": ["patch-memory"], "image_sizes": 56, "shots": [2], "seeds": 2, "resolution": 32}
here = run_benchmark(plan, out / "here", tables=False)
with RayExecutor(RayExecutorConfig(workers=2)) as executor:
    there = run_benchmark(plan, out / "there", tables=False, executor=executor)
    open_to_all = []
    for table in ("tcp", "tcp6"):
        for line in pathlib.Path("/proc/net", table).read_text().splitlines()[1:]:
            address, state, inode = line.split()[1].split(":")[0], line.split()[3], line.split()[9]
            if state == "0A" and set(address) == {"0"}:
                open_to_all.append("socket:[" + inode + "]")
    listed = subprocess.run(["ps", "-eo", "pid,ppid"], capture_output=True, text=True, check=True).stdout
    parents = {int(pid): int(parent) for pid, parent in (line.split() for line in listed.splitlines()[1:])}
    offered = 0
    for pid in parents:
        above = pid
        while above in parents and above != os.getpid():
            above = parents[above]
        if above != os.getpid():
            continue
        try:
            offered += sum(os.readlink(link) in open_to_all for link in pathlib.Path(f"/proc/{pid}/fd").iterdir())
        except OSError:
            continue
def lines_of(results):
    rows = [{k: v for k, v in row.items() if k not in ("seconds", "images_per_second")} for row in results.rows]
    return [rows, [(results.folder / "scores" / f"{row['cell']}.jsonl").read_text() for row in results.rows]]
print(json.dumps({"same": lines_of(here) == lines_of(there), "done": len(there.done), "offered": offered}))
"""


def test_it_is_offered_as_an_executor() -> None:
    entry = default_registry().get("executor", "ray")
    assert entry.load() is RayExecutor


@pytest.mark.parametrize("options", [{"cpus": 0}, {"gpus": -1}, {"workers": 0}, {"retries": -1}])
def test_impossible_shares_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        RayExecutorConfig(**options)


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Ray's names in place of Ray: a task runs at once."""
    found: dict[str, Any] = {"shut": 0, "ready": False}

    def remote(function: Callable[..., Any]) -> Any:
        def run(*given: Any) -> Any:
            future: Future[Any] = Future()
            try:
                future.set_result(function(*given))
            except ValueError as error:
                future.set_exception(error)
            return SimpleNamespace(future=lambda: future)

        def options(**named: Any) -> Any:
            found["options"] = named
            return SimpleNamespace(remote=run)

        return SimpleNamespace(options=options)

    def init(**named: Any) -> None:
        found["init"] = named

    def shutdown() -> None:
        found["shut"] += 1

    fake = SimpleNamespace(is_initialized=lambda: found["ready"], remote=remote, init=init, shutdown=shutdown)
    monkeypatch.setitem(sys.modules, "ray", fake)
    monkeypatch.setattr("vlmad_ray.cluster._stay_on_this_machine", lambda: None)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return found


def test_a_call_is_a_task_with_its_share_and_its_error_is_the_futures(ray: dict[str, Any]) -> None:
    with RayExecutor(RayExecutorConfig(cpus=1, workers=3, retries=2)) as executor:
        assert executor.submit(pow, 2, 5).result() == 32
        with pytest.raises(ValueError, match="invalid literal"):
            executor.submit(int, "x").result()
    assert ray["options"] == {"num_cpus": 1.0, "max_retries": 2, "num_gpus": None}
    assert ray["init"]["num_cpus"] == 3
    assert ray["init"]["address"] == "local"
    assert ray["shut"] == 1
    with pytest.raises(RuntimeError, match="was shut down"):
        executor.submit(pow, 2, 5)


def test_a_cluster_that_is_joined_already_stays(ray: dict[str, Any]) -> None:
    ray["ready"] = True
    RayExecutor(RayExecutorConfig()).shutdown()
    assert ray["shut"] == 0
    assert "init" not in ray


@pytest.mark.slow  # Ray itself
def test_a_benchmark_has_the_same_rows_and_nothing_listens_to_a_network(
    tmp_path: Path, write_images: Callable[[Path, int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("VLMAD_TESTS_OFFLINE", raising=False)  # Ray's processes open sockets, over which nothing is sent
    for category in ("a", "b"):
        for folder in ("train/good", "test/good", "test/bad"):
            write_images(tmp_path / "data" / category / folder, 4)
    words = [sys.executable, "-c", BENCHMARK, str(tmp_path / "data"), str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if "timed out during startup" in done.stderr:
        pytest.skip("Ray could not start within its 30 seconds, three times; the machine is too busy")
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {"same": True, "done": 4, "offered": 0}
