"""What the operator of a server decides when it is started; no request changes any of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["ServerSettings", "is_loopback"]


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """Settings of one server.

    Attributes:
        data: The one folder that the server writes to.
        host: Address to listen on.
        port: Likewise; 0 takes a free one.
        api_key: Clients must present it; None: nobody is asked.
        allow_origins: Web pages of these origins may use the API from a browser.
        recipe: Of the detectors that are enrolled; None: ``pocket-few-shot``.
        device: Where detectors run.
        batch_size: Images through the backbone at a time, at most.
        capacity: Images that are accepted and not answered yet, at most; more are refused with 429.
        workers: Threads that decode.
        timeout: Seconds for the answer to an image, from its acceptance.
        body_timeout: Seconds for a client to send a request.
        max_bytes: Of one image.
        max_pixels: Of one image, read from its header before anything is decoded.
        max_request_bytes: Of one request.
        max_upload_bytes: Of all requests that are being received or waiting together.
        max_files: Images in one request.
        keep_bytes: Of stored images and maps; the oldest without feedback are deleted beyond it.
        shadow_images: Recent images on which a new detector is compared with the one that it replaces.
    """

    data: Path
    host: str = "127.0.0.1"
    port: int = 8000
    api_key: str | None = None
    allow_origins: tuple[str, ...] = ()
    recipe: str | Path | Mapping[str, Any] | None = None
    device: str = "auto"
    batch_size: int = 8
    capacity: int = 64
    workers: int = 2
    timeout: float = 60.0
    body_timeout: float = 30.0
    max_bytes: int = 32_000_000
    max_pixels: int = 50_000_000
    max_request_bytes: int = 256_000_000
    max_upload_bytes: int = 768_000_000
    max_files: int = 500
    keep_bytes: int = 20_000_000_000
    shadow_images: int = 16


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    return host in ("localhost", "::1") or host.startswith("127.")
