"""Nothing reaches for the network unless weights were named by a tag."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

BLOCK = Path(__file__).with_name("offline")
START = """
import numpy as np
import vlmad_core
picture = np.zeros((40, 40, 3), dtype=np.uint8)
"""

CASES = {
    "pocket": "vlmad_core.build('pocket').predict(picture)",
    "pocket-few-shot": "vlmad_core.build('pocket-few-shot').fit([picture]).predict(picture)",
    "patch-memory": "vlmad_core.build('patch-memory').fit([picture]).predict(picture)",
    "windows on pocket": (
        "vlmad_core.build('winclip-few-shot', backbone='pocket', prompts=None, scorers='memory')"
        ".fit([picture]).predict(picture)"
    ),
    "weights not named": """
try:
    vlmad_core.build('winclip')
except vlmad_core.errors.ConfigError as error:
    assert 'no weights named' in str(error)
else:
    raise AssertionError('built without weights')
""",
    "the command line": "from vlmad_core.cli.__main__ import main\nmain(['list'])",
}


def alone(code: str) -> subprocess.CompletedProcess[str]:
    """Python with the network blocked."""
    paths = os.pathsep.join([str(BLOCK), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths, "VLMAD_TESTS_OFFLINE": "1"}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)


@pytest.mark.parametrize("name", CASES)
def test_without_a_network(name):
    done = alone(START + CASES[name])
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "call",
    [
        "socket.create_connection(('example.org', 80))",
        "socket.getaddrinfo('example.org', 80)",
        "socket.gethostbyname('example.org')",
        "socket.socket().connect(('192.0.2.1', 80))",
        "socket.socket().connect_ex(('192.0.2.1', 80))",
        "socket.socket(type=socket.SOCK_DGRAM).sendto(b'', ('192.0.2.1', 53))",
        "socket.socket(socket.AF_INET6).connect(('2001:db8::1', 80))",
        "urllib.request.urlopen('http://example.org')",
    ],
)
def test_the_block_holds(call):
    done = alone(f"import socket, urllib.request; {call}")
    assert done.returncode == 1
    assert "somebody wanted the network" in done.stderr


def test_the_block_lets_processes_of_this_machine_speak():
    code = """
import socket
with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as one:
    other, _ = server.accept()
    one.sendall(b"here")
    assert other.recv(4) == b"here"
    other.close()
with socket.socket(type=socket.SOCK_DGRAM) as one:
    one.sendto(b"", ("localhost", 9))
"""
    done = alone(code)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(
    os.environ.get("VLMAD_TESTS_OFFLINE") != "1", reason="`make unit` blocks the network; this does not"
)
def test_these_tests_run_without_a_network():
    with socket.socket() as one, pytest.raises(AssertionError, match="somebody wanted the network"):
        one.connect(("192.0.2.1", 80))
