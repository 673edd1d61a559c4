"""A server in a process of its own that is ended under load, gently and not."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

SERVER = Path(__file__).with_name("tiny_server.py")


@pytest.fixture
def start(tmp_path) -> Iterator[Callable[[], tuple[subprocess.Popen[str], str]]]:
    running: list[subprocess.Popen[str]] = []

    def begin() -> tuple[subprocess.Popen[str], str]:
        command = [sys.executable, str(SERVER), str(tmp_path / "data")]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        running.append(process)
        assert process.stdout is not None
        return process, process.stdout.readline().strip()

    yield begin
    for process in running:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


class Load:
    """Clients that send one image after the other until they are stopped or the server is gone."""

    def __init__(self, base: str, images: list[bytes], clients: int) -> None:
        self.answered: list[str] = []
        self.broken = 0  # requests that were sent whole and never answered
        self.stop = threading.Event()
        self._base, self._images = base, images
        self._threads = [threading.Thread(target=self._run, args=(i,)) for i in range(clients)]
        for thread in self._threads:
            thread.start()

    def _run(self, number: int) -> None:
        i = number
        with httpx.Client(base_url=self._base, timeout=60) as client:
            while not self.stop.is_set():
                i += 1
                content = self._images[i % len(self._images)]
                try:
                    answer = client.post(
                        "/v1/detectors/nut/images", content=content, headers={"Content-Type": "image/png"}
                    )
                except httpx.ConnectError:  # it listens no more
                    return
                except httpx.TransportError:
                    self.broken += 1
                    return
                assert answer.status_code in (200, 429), answer.text
                if answer.status_code == 200:
                    self.answered.append(answer.json()["results"][0]["id"])

    def wait_for(self, count: int) -> None:
        done = threading.Event()
        for _ in range(3000):
            if len(self.answered) >= count:
                return
            done.wait(0.02)
        raise AssertionError(f"{len(self.answered)} answers")

    def join(self) -> None:
        for thread in self._threads:
            thread.join(60)


def kept(folder: Path) -> set[str]:
    with closing(sqlite3.connect(folder / "data" / "vlmad-serve.sqlite")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return {row[0] for row in database.execute("SELECT id FROM results")}


def test_no_answer_is_lost_when_the_server_is_ended_or_killed_under_load(start, enrol, picture, tmp_path):
    images = [picture(i) for i in range(16)]
    process, base = start()
    with httpx.Client(base_url=base, timeout=60) as client:
        enrol(client, 6)
    load = Load(base, images, 6)
    load.wait_for(20)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) in (0, -signal.SIGTERM)  # uvicorn raises the signal again when all is done
    load.stop.set()
    load.join()
    # A request on a connection that is kept alive can cross with its closing; none that was accepted is lost.
    results = kept(tmp_path)
    assert set(load.answered) == results and not (tmp_path / "data" / "vlmad-serve.sqlite-wal").exists()

    process, base = start()
    load = Load(base, images, 6)
    load.wait_for(20)
    process.kill()
    process.wait()
    load.stop.set()
    load.join()
    assert set(load.answered) <= kept(tmp_path) - results  # and the database opens again, whole
    for number in load.answered:
        assert (tmp_path / "data" / "maps" / number[:8] / f"{number}.png").stat().st_size > 0
