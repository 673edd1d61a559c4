"""Blocks the network for every Python that starts with this folder on its path: ``make unit`` puts it there.

Addresses of this machine itself stay open, since processes that work together speak over them.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from typing import Any

_OWN_NAMES = {None, "", b"", "localhost", socket.gethostname()}


def _is_local(host: Any) -> bool:
    if host in _OWN_NAMES:
        return True
    try:
        return ipaddress.ip_address(host.decode() if isinstance(host, bytes) else host).is_loopback
    except ValueError:
        return False


def _refuse(host: Any) -> None:
    if not _is_local(host):
        raise AssertionError(f"somebody wanted the network: {host!r}")


def _guard_address(name: str, place: int) -> None:
    """A method of sockets whose argument at this place is an address: ``(host, port, ...)``, or a path of this disk."""
    real = getattr(socket.socket, name)

    def guarded(self: socket.socket, *arguments: Any) -> Any:
        address = arguments[place]
        if isinstance(address, tuple):
            _refuse(address[0])
        return real(self, *arguments)

    setattr(socket.socket, name, guarded)


def _guard_name(name: str) -> None:
    """A function that asks for the address of a host."""
    real = getattr(socket, name)

    def guarded(host: Any, *arguments: Any, **options: Any) -> Any:
        _refuse(host)
        return real(host, *arguments, **options)

    setattr(socket, name, guarded)


if os.environ.get("VLMAD_TESTS_OFFLINE") == "1":
    for method, where in (("connect", 0), ("connect_ex", 0), ("sendto", -1)):
        _guard_address(method, where)
    for function in ("getaddrinfo", "gethostbyname", "gethostbyname_ex"):
        _guard_name(function)
