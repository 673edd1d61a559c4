from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from fastapi.testclient import TestClient
from PIL import Image

from vlmad_serve.app import create_app
from vlmad_serve.server import bind, make_server
from vlmad_serve.services import Services
from vlmad_serve.settings import ServerSettings

TINY = {"backbone": "tiny", "extractor": {"use": "patches", "config": {"space": "raw"}}, "scorers": ["memory"]}


def _picture(seed: int, *, spot: bool = False, size: tuple[int, int] = (48, 40), kind: str = "PNG") -> bytes:
    """A grey picture with a little noise, and with a white spot where ``spot``."""
    values = np.random.default_rng(seed).normal(120, 6, (size[1], size[0], 3)).clip(0, 255).astype(np.uint8)
    if spot:
        values[8:20, 10:24] = 255
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture
def picture() -> Callable[..., bytes]:
    return _picture


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., ServerSettings]:
    def make(**changes: Any) -> ServerSettings:
        return ServerSettings(**{"data": tmp_path / "data", "recipe": TINY, "device": "cpu", **changes})

    return make


@pytest.fixture
def serve(vlmad_registry, settings) -> Iterator[Callable[..., TestClient]]:
    """Start a server in this process: ``serve(api_key=...)``; its services are ``client.app.state.services``."""
    with ExitStack() as stack:

        def start(*paths: Path, **changes: Any) -> TestClient:
            app = create_app(Services(settings(**changes), paths))
            return stack.enter_context(TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False))

        yield start


def _enrol(client: TestClient, n: int = 20, name: str = "nut", **fields: Any) -> dict[str, Any]:
    files = [("files", (f"{i}.png", _picture(i), "image/png")) for i in range(n)]
    answer = client.post("/v1/detectors", data={"name": name, **fields}, files=files)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def _inspect(client: TestClient, content: bytes, name: str = "part.png", **params: Any) -> dict[str, Any]:
    answer = client.post(
        "/v1/detectors/nut/images",
        content=content,
        headers={"Content-Type": "image/png"},
        params={"name": name, **params},
    )
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["results"][0]
    return found


@pytest.fixture
def enrol() -> Callable[..., dict[str, Any]]:
    return _enrol


@pytest.fixture
def inspect() -> Callable[..., dict[str, Any]]:
    return _inspect


@pytest.fixture
def live(vlmad_registry, settings) -> Iterator[Callable[..., str]]:
    """Start a server on a port of this machine, in a thread; gives its address."""
    running: list[tuple[uvicorn.Server, threading.Thread]] = []

    def start(*paths: Path, **changes: Any) -> str:
        made = settings(port=0, **changes)
        sock = bind(made)
        server = make_server(Services(made, paths))
        thread = threading.Thread(target=lambda: server.run(sockets=[sock]), daemon=True)
        thread.start()
        running.append((server, thread))
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        return f"http://127.0.0.1:{sock.getsockname()[1]}"

    yield start
    for server, thread in running:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()
