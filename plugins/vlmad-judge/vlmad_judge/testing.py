"""A fake endpoint on loopback that answers as it is told to: for tests, and to try a set-up without a model."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["GOOD", "FakeEndpoint", "reply", "send"]

GOOD: dict[str, Any] = {
    "defect": True,
    "where": "top left",
    "kind": "scratch",
    "why": "A bright scratch at the top left.",
}


def reply(content: object, **more: object) -> bytes:
    """A chat completion with this content."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop", **more}
    return json.dumps({"choices": [choice], "usage": {"total_tokens": 321}}).encode()


class FakeEndpoint:
    """What was asked, and how to answer.

    Attributes:
        answer: Writes to a handler; replaced by each test.
        requests: Bodies, as they came.
        headers: Likewise.
        paths: Likewise.
    """

    def __init__(self) -> None:
        self.answer: Callable[[BaseHTTPRequestHandler], None] = lambda handler: send(
            handler, 200, reply(json.dumps(GOOD))
        )
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, Any]] = []
        self.paths: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                outer.paths.append(self.path)
                outer.headers.append(dict(self.headers))
                outer.requests.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                with suppress(BrokenPipeError, ConnectionResetError):
                    outer.answer(self)
                self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:  # a client that hangs up is what these tests are about
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The ``base_url``."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


def send(handler: BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
    """Answer with a status, a body and headers, whose names have ``_`` in place of ``-``."""
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)
