"""What only a process of its own shows: kills, signals, limits, pipes, and what is imported."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

RUN = [sys.executable, "-m", "vlmad_core.cli"]
COUNT = 240


@pytest.fixture
def command(pictures: Path, normals: Path, tmp_path: Path) -> list[str]:
    for i in range(6, COUNT):
        (pictures / f"{i:03}.png").write_bytes((pictures / "000.png").read_bytes())
    what = ["predict", str(pictures), "-r", "remember", "-n", str(normals), "-o", str(tmp_path / "out")]
    return [*RUN, *what, "--json", "--batch-size", "4", "--threads", "1"]


def stop_after(lines: int, how: signal.Signals, command: list[str], environment: dict[str, str]) -> tuple[int, str]:
    """Start, read so many lines, send a signal; gives exit code and stderr."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=pipe,
        stderr=pipe,
        text=True,
        pipesize=4096,  # short: on a busy machine it must wait for its reader, and cannot be done before the signal
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a gate run in the background ignores it
    )
    assert process.stdout is not None
    for _ in range(lines):
        assert process.stdout.readline()
    process.send_signal(how)
    _, said = process.communicate(timeout=60)
    return process.returncode, said


def assert_each_once(out: Path, pictures: Path) -> None:
    lines = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert Counter(line["path"] for line in lines) == Counter(map(str, pictures.iterdir()))
    assert all((out / line[kind]).stat().st_size for line in lines for kind in ("anomaly_map", "overlay"))
    with (out / "results.csv").open(newline="") as file:
        assert [row["path"] for row in csv.DictReader(file)] == [line["path"] for line in lines]


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_each_image_once_after_two_kills(
    command: list[str], environment: dict[str, str], pictures: Path, tmp_path: Path
) -> None:
    results, counts = tmp_path / "out" / "results.jsonl", []
    for lines in (5, 25):
        assert stop_after(lines, signal.SIGKILL, command, environment)[0] == -signal.SIGKILL
        counts.append(results.read_bytes().count(b"\n"))
        with results.open("ab") as file:
            file.write(b'{"path": "cut in the mid')
    assert 5 <= counts[0] < counts[1] < COUNT
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == COUNT
    assert_each_once(tmp_path / "out", pictures)


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ")
def test_interrupt_leaves_order(
    command: list[str], environment: dict[str, str], pictures: Path, tmp_path: Path
) -> None:
    code, said = stop_after(6, signal.SIGINT, command, environment)
    assert code == 130
    lines = (tmp_path / "out" / "results.jsonl").read_text().splitlines()
    assert f"{len(lines)} of {COUNT} images are safe" in said
    assert "Traceback" not in said
    assert 6 <= len(lines) < COUNT
    with (tmp_path / "out" / "results.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == len(lines)


def test_no_room_left(command: list[str], environment: dict[str, str], pictures: Path, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    limit = 9000  # bytes a file: the results outgrow it
    small = [*command, "--maps", "none", "--no-overlays"]
    done = subprocess.run(
        small,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY)),
    )
    lines = (tmp_path / "out" / "results.jsonl").read_text().splitlines(keepends=True)
    assert done.returncode == 1
    assert f"the disk is full. Free some space: {len(lines)} of {COUNT} images are safe" in done.stderr
    assert 0 < len(lines) < COUNT
    assert all(json.loads(line) and line.endswith("\n") for line in lines)


@pytest.mark.parametrize("arguments", [["list"], ["plugins"], ["show", "memory"], ["--help"]])
def test_inventory_imports_nothing_heavy(arguments: list[str], environment: dict[str, str]) -> None:
    environment["VLMAD_PLUGINS"] = ""
    heavy = ["torch", "PIL", "numpy", "open_clip", "timm", "torchvision", "safetensors"]
    code = (
        "import sys\nfrom vlmad_core.cli.__main__ import main\n"
        f"try:\n    main({arguments})\nfinally:\n"
        f"    sys.stderr.write(' '.join(m for m in {heavy} if m in sys.modules))"
    )
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    sys.stdout.write(f"vlmad {' '.join(arguments)}: {time.perf_counter() - started:.2f} s\n")
    assert done.stderr == ""


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes of this kind")
def test_a_closed_pipe_is_silent(environment: dict[str, str]) -> None:
    environment["VLMAD_PLUGINS"] = ""
    for arguments in (["list"], ["list", "--json"]):
        process = subprocess.Popen(
            [*RUN, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        process.stderr.close()
        process.wait(timeout=30)


def test_shell_completion_offers_names(environment: dict[str, str]) -> None:
    environment |= {"_VLMAD_COMPLETE": "complete_bash", "COMP_WORDS": "vlmad show mem", "COMP_CWORD": "2"}
    environment["VLMAD_PLUGINS"] = ""
    done = subprocess.run(RUN, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["memory"]
