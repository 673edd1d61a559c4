"""uvicorn with the limits of this server: slow heads of requests are cut off, and the end waits for every answer."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from vlmad_core.errors import ConfigError
from vlmad_serve.app import create_app
from vlmad_serve.services import Services
from vlmad_serve.settings import ServerSettings

__all__ = ["bind", "make_server"]

_HEAD_SECONDS = 15.0
_HEAD_BYTES = 32_768
_BACKLOG = 512


class _TimedProtocol(H11Protocol):
    """Closes a connection whose first head does not arrive in time."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._head_timer = asyncio.get_running_loop().call_later(_HEAD_SECONDS, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_timer.cancel()
        super().connection_lost(exc)

    def _give_up(self) -> None:
        is_waiting = getattr(self, "cycle", None) is None  # uvicorn declares that it never is None
        if is_waiting and not self.transport.is_closing():
            self.transport.close()


def bind(settings: ServerSettings) -> socket.socket:
    """A socket that listens.

    Raises:
        ConfigError: The address is taken or is not one of this machine.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((settings.host, settings.port))
        sock.listen(_BACKLOG)  # from now on a client waits for its answer and is not refused while detectors are loaded
    except (OSError, OverflowError) as error:
        sock.close()
        raise ConfigError(
            f"{settings.host}:{settings.port} cannot be used ({error}). Is another server running? Choose --port."
        ) from error
    return sock


def make_server(services: Services) -> uvicorn.Server:
    """The server, to be run with ``server.run(sockets=[bind(settings)])``; SIGTERM and SIGINT end it in order."""
    config = uvicorn.Config(
        create_app(services),
        http=_TimedProtocol,
        ws="none",
        loop="asyncio",
        lifespan="on",
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=None,
        backlog=_BACKLOG,
        h11_max_incomplete_event_size=_HEAD_BYTES,
    )
    return uvicorn.Server(config)
