"""What takes minutes: generated requests against the OpenAPI document, thousands of wrong keys, slow clients."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

pytestmark = pytest.mark.slow
N_KEYS, N_SLOW = 10_000, 50


def resident() -> float:
    """Megabytes of this process, in which the server runs."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no memory is stated")


def test_generated_requests_meet_the_openapi_document(live, vlmad_registry, enrol, inspect, picture, tmp_path):
    pytest.importorskip("vlmad_report", reason="without vlmad-report its page is answered with 501")
    vlmad_registry.add("vlmad_report.plugin", "vlmad-report")
    schemathesis = pytest.importorskip("schemathesis", reason="no schemathesis here: `pip install schemathesis`")
    from hypothesis import HealthCheck, given, settings
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    base = live()
    with httpx.Client(base_url=base, timeout=60) as client:
        enrol(client, 6)
        known = {"name": "nut", "number": inspect(client, picture(1, spot=True))["id"], "sha256": "0" * 64}
    before = {path for path in tmp_path.rglob("*") if "data" not in path.parts}
    schema = schemathesis.openapi.from_url(f"{base}/openapi.json")
    count = 0
    for found in schema.get_all_operations():
        operation = found.ok()

        @settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def check(case):
            nonlocal count
            count += 1
            if count % 2 and "/jobs/" not in case.path:  # deeper: of a product and a result that are there
                for name in case.path_parameters or {}:
                    case.path_parameters[name] = known.get(name, 1)
            # Not every body that the document allows is an image, so a refusal of one is right.
            case.call_and_validate(excluded_checks=[positive_data_acceptance])

        check()
    assert count > 1000
    assert httpx.get(f"{base}/healthz").status_code == 200
    assert {path for path in tmp_path.rglob("*") if "data" not in path.parts} == before


def test_ten_thousand_wrong_keys_cost_no_memory(live):
    base = live(api_key="correct horse battery")
    memory, statuses = [], set()
    connection = http.client.HTTPConnection(urlsplit(base).netloc, timeout=60)
    for i in range(N_KEYS):
        connection.request("POST", "/v1/detectors/nut/images", b"x" * 100, {"X-API-Key": f"wrong {i}"})
        answer = connection.getresponse()
        answer.read()
        statuses.add(answer.status)
        if i % 1000 == 999:
            memory.append(resident())
    connection.close()
    assert statuses == {401}
    assert memory[-1] - memory[1] < 5
    right = httpx.get(f"{base}/v1/detectors", headers={"X-API-Key": "correct horse battery"})
    assert right.status_code == 200


def test_slow_clients_hold_up_nobody(live, enrol, inspect, picture):
    base = live(body_timeout=3)
    host, port = base.removeprefix("http://").split(":")
    with httpx.Client(base_url=base, timeout=60) as client:
        enrol(client, 6)
        replies: list[bytes] = []

        def send() -> None:
            with socket.create_connection((host, int(port)), timeout=60) as connection:
                lines = ["POST /v1/detectors/nut/images HTTP/1.1", "Host: 127.0.0.1", "Content-Type: image/png"]
                connection.sendall("\r\n".join([*lines, "Content-Length: 100000", "", ""]).encode())
                try:
                    for _ in range(10):  # a byte a second
                        connection.sendall(b"x")
                        time.sleep(1)
                except OSError:
                    pass
                replies.append(connection.recv(4096))

        threads = [threading.Thread(target=send) for _ in range(N_SLOW)]
        for thread in threads:
            thread.start()
        times = []
        while any(thread.is_alive() for thread in threads):
            started = time.perf_counter()
            inspect(client, picture(3))
            times.append(time.perf_counter() - started)
        for thread in threads:
            thread.join()
    assert len(times) > 3
    assert all(reply.startswith(b"HTTP/1.1 408") or not reply for reply in replies)
