"""Requests to the one address that the user named: no redirects, no proxies of the environment, and limits."""

from __future__ import annotations

import os
import random
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from vlmad_core.errors import ConfigError
from vlmad_judge.plugin import OpenAICompatibleConfig

__all__ = ["Client", "Unreachable", "is_loopback"]

_MOST_BYTES = 2_000_000
_LONGEST_WAIT = 20.0
_AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504})


class Unreachable(Exception):
    """No reply; the text says why."""


@dataclass(frozen=True)
class Client:
    """Sends requests.

    Args:
        config: Address, time limits.
        sleep: Waits between tries; replaced in tests.

    Raises:
        ConfigError: The key is missing, or would go unencrypted to another machine.
    """

    config: OpenAICompatibleConfig
    sleep: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        name = self.config.api_key_env
        if name and not os.environ.get(name):
            raise ConfigError(
                f"api_key_env names the environment variable {name}, which is not set. Set it, or leave api_key_env "
                "out where the endpoint needs no key."
            )
        if name and self.config.base_url.startswith("http://") and not is_loopback(self.config.base_url):
            raise ConfigError(
                f"{self.config.base_url}: the key would be sent unencrypted to another machine; use https://, or leave "
                "api_key_env out."
            )

    def post(self, body: Mapping[str, Any]) -> bytes:
        """The reply to a chat request.

        Raises:
            Unreachable: Nothing that could be a reply came, also not after the retries.
        """
        reason = ""
        for attempt in range(self.config.retries + 1):
            try:
                return self._once(body)
            except _Retry as error:
                reason = str(error)
                if attempt < self.config.retries:
                    self.sleep(min(_LONGEST_WAIT, max(error.wait, 0.5 * 2**attempt * (0.75 + random.random() / 2))))
        raise Unreachable(reason)

    def _once(self, body: Mapping[str, Any]) -> bytes:
        headers = {"User-Agent": "vlmad-judge", "Accept-Encoding": "identity"}
        if self.config.api_key_env:
            headers["Authorization"] = f"Bearer {os.environ[self.config.api_key_env]}"
        received = bytearray()
        url, watch = f"{self.config.base_url}/chat/completions", _Watch(self.config.timeout)
        try:
            with (
                watch,
                httpx.Client(follow_redirects=False, trust_env=False, timeout=self.config.timeout) as client,
                client.stream("POST", url, json=body, headers=headers, extensions={"trace": watch.trace}) as reply,
            ):
                if reply.is_redirect:
                    raise Unreachable(f"HTTP {reply.status_code}: a redirect to another address is not followed")
                for chunk in reply.iter_raw():
                    received += chunk
                    if len(received) > _MOST_BYTES:
                        raise Unreachable(f"the reply is longer than {_MOST_BYTES:,} bytes")
                status, after = reply.status_code, reply.headers.get("retry-after", "")
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, UnicodeError, OSError) as error:
            if watch.is_over:
                raise _Retry(f"no whole reply within {self.config.timeout:g} s") from error
            raise _Retry(f"{type(error).__name__}: {error}"[:300]) from error
        if watch.is_over:
            raise _Retry(f"no whole reply within {self.config.timeout:g} s")
        if status in _AGAIN:
            raise _Retry(f"HTTP {status}: {_start(received)}", _seconds(after))
        if status != 200:
            hint = " (if it knows no JSON schema or log-probabilities: json_schema=false, logprobs=false)"
            raise Unreachable(f"HTTP {status}: {_start(received)}{hint if status in (400, 422) else ''}")
        return bytes(received)


class _Watch:
    """Cuts the connection when the time is over, whatever drips in: limits of httpx begin anew at each byte."""

    def __init__(self, seconds: float) -> None:
        self.is_over = False
        self._stream: Any = None
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Called by httpcore; keeps the connection that was made last."""
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._stream = info.get("return_value")

    def _cut(self) -> None:
        self.is_over = True
        connection = None if self._stream is None else self._stream.get_extra_info("socket")
        if connection is not None:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Retry(Exception):
    def __init__(self, text: str, wait: float = 0.0) -> None:
        super().__init__(text)
        self.wait = wait


def is_loopback(url: str) -> bool:
    """Whether an address is this machine."""
    host = urlsplit(url).hostname or ""
    return host == "localhost" or host == "::1" or host.startswith("127.")


def _seconds(header: str) -> float:
    """What ``Retry-After`` asks for, at most the longest wait; 0 where it is no number."""
    try:
        value = float(header)
    except ValueError:
        return 0.0
    return min(_LONGEST_WAIT, max(0.0, value)) if value == value else 0.0


def _start(data: bytes | bytearray) -> str:
    text = bytes(data[:300]).decode("utf-8", "replace")
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
