"""Nothing reaches for the network unless weights were named by a tag."""

import subprocess
import sys

import pytest

BLOCK = """
import socket
def refuse(*args, **options):
    raise AssertionError("somebody wanted the network")
socket.socket.connect = socket.socket.connect_ex = socket.create_connection = socket.getaddrinfo = refuse
import numpy as np
import vlmad_core
picture = np.zeros((40, 40, 3), dtype=np.uint8)
"""

CASES = {
    "patch-memory": "vlmad_core.build('patch-memory').fit([picture]).predict(picture)",
    "windows on pocket": (
        "vlmad_core.build('winclip-few-shot', backbone='pocket', prompts=None, scorers='memory')"
        ".fit([picture]).predict(picture)"
    ),
    "weights not named": """
try:
    vlmad_core.build('winclip')
except vlmad_core.ConfigError as error:
    assert 'no weights named' in str(error)
else:
    raise AssertionError('built without weights')
""",
    "the command line": "from vlmad_core.cli.__main__ import main\nmain(['list'])",
}


@pytest.mark.parametrize("name", CASES)
def test_without_a_network(name):
    done = subprocess.run([sys.executable, "-c", BLOCK + CASES[name]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
