"""16 clients for two minutes on loopback, beside the bare detector: throughput, latency, memory, errors.

``python load.py IMAGES... --seconds 120``: the first ten images are enrolled, all are sent. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from itertools import cycle
from pathlib import Path
from urllib.parse import urlsplit

BOUNDARY = "vlmad-load"


def form(name: str, images: list[Path]) -> bytes:
    """A form that enrols images."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="name"\r\n\r\n{name}\r\n'.encode()
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="{i}.jpg"\r\n\r\n'.encode()
        + path.read_bytes()
        + b"\r\n"
        for i, path in enumerate(images)
    ]
    return head + b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def bare(images: list[Path], detector: Path, seconds: float) -> float:
    """Images a second of the detector alone, read and scored as ``vlmad predict`` does."""
    import vlmad_core

    pipeline = vlmad_core.load(detector)
    pipeline.predict(images[0])
    started, count = time.perf_counter(), 0
    for _ in pipeline.stream(cycle(images)):
        count += 1
        if time.perf_counter() - started > seconds:
            break
    return count / (time.perf_counter() - started)


def resident(pid: int) -> float:
    """Megabytes in memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def client(address: str, bodies: list[bytes], until: float, found: list[tuple[int, float]]) -> None:
    """Send one image after the other until the time is over."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=120)
    for body in cycle(bodies):
        if time.time() > until:
            return
        started = time.perf_counter()
        try:
            connection.request("POST", "/v1/detectors/load/images", body, {"Content-Type": "image/jpeg"})
            answer = connection.getresponse()
            answer.read()
            status = answer.status
        except (OSError, http.client.HTTPException):
            status = 0
            connection.close()
        found.append((status, time.perf_counter() - started))
        if status == 429:
            time.sleep(float(answer.headers["Retry-After"]))


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("images", nargs="+", type=Path)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--bare-seconds", type=float, default=20)
    asked = parser.parse_args()
    bodies = [path.read_bytes() for path in asked.images]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "vlmad_core.cli", "serve", "--data", f"{folder}/data", "--port", "0"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        address = server.stdout.readline().split()[1].rstrip("/")
        connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=600)
        kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        connection.request("POST", "/v1/detectors", form("load", asked.images[:10]), kind)
        answer = connection.getresponse()
        assert answer.status == 201, answer.read()
        detector = Path(folder, "data", "detectors", "load", "v00001")
        before = bare(asked.images, detector, asked.bare_seconds)
        loads = [os.getloadavg()[0]]
        found: list[tuple[int, float]] = []
        until = time.time() + asked.seconds
        threads = [
            threading.Thread(target=client, args=(address, bodies[i:] + bodies[:i], until, found))
            for i in range(asked.clients)
        ]
        started = time.perf_counter()
        for thread in threads:
            thread.start()
        memory = []
        while any(thread.is_alive() for thread in threads):
            time.sleep(1)
            memory.append(resident(server.pid))
        seconds = time.perf_counter() - started
        loads.append(os.getloadavg()[0])
        after = bare(asked.images, detector, asked.bare_seconds)
        server.terminate()
        server.wait(60)
    good = sorted(took for status, took in found if status == 200)
    quarter = len(memory) // 4
    record = {
        "clients": asked.clients,
        "seconds": round(seconds, 1),
        "statuses": dict(Counter(status for status, _ in found)),
        "images_per_second": round(len(good) / seconds, 2),
        "bare_images_per_second": [round(before, 2), round(after, 2)],
        "ratio": round(2 * len(good) / seconds / (before + after), 3),
        **{f"p{p}_ms": round(1000 * good[min(len(good) - 1, len(good) * p // 100)]) for p in (50, 95, 99)},
        "memory_mb": {
            "second_quarter": round(max(memory[quarter : 2 * quarter])),
            "last_quarter": round(max(memory[-quarter:])),
        },
        "load_average": [round(each, 1) for each in loads],
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
