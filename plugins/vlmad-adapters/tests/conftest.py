"""The command line, called in this process."""

import warnings
from types import SimpleNamespace

import pytest


@pytest.fixture
def vlmad(capsys, monkeypatch):
    """Calls `vlmad` with words; gives exit code, stdout and stderr."""
    from vlmad_core.cli.__main__ import main

    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # the program shows them its own way

    def call(*words):
        try:
            code = main([str(word) for word in words])
        except SystemExit as stop:
            code = stop.code
        captured = capsys.readouterr()
        return SimpleNamespace(code=code or 0, out=captured.out, err=captured.err)

    return call
