"""Plugins that hang, crash or end Python when they are imported: found in a child process, and named. No torch."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace

from vlmad_core.registry.registry import Problem, Registry, default_registry

__all__ = ["find_unsafe", "guarded_registry"]

SECONDS = 20.0
"""That all plugins together may take to be imported."""

_ALL_DONE = "all plugins were imported"
_CHILD = f"""
import sys
from vlmad_core.registry.registry import Registry
Registry.discover()
sys.stderr.write("vlmad: {_ALL_DONE}\\n")
"""
_STAGE = re.compile(r"^vlmad: (\S+) .*: (version|import|register)$", re.MULTILINE)


def guarded_registry() -> Registry:
    """The registry of this process, without plugins that would hang or end it; each of those is a problem in it."""
    unsafe = find_unsafe()
    if unsafe:
        disabled = [os.environ.get("VLMAD_DISABLE_PLUGINS", ""), *(problem.plugin for problem in unsafe)]
        os.environ["VLMAD_DISABLE_PLUGINS"] = " ".join(disabled)
    registry = default_registry()
    names = {problem.plugin for problem in unsafe}
    registry.plugins[:] = [
        replace(plugin, status="failed") if plugin.name in names else plugin for plugin in registry.plugins
    ]
    registry.problems.extend(problem for problem in unsafe if problem not in registry.problems)
    return registry


def find_unsafe() -> list[Problem]:
    """Import all plugins in a child process, and again without the one that ended it, until the child ends well."""
    found: list[Problem] = []
    while True:
        problem = _first_unsafe([one.plugin for one in found])
        if problem is None or problem.plugin in {one.plugin for one in found}:
            return found
        found.append(problem)


def _first_unsafe(without: Sequence[str]) -> Problem | None:
    environment = {
        **os.environ,
        "VLMAD_TRACE": "1",
        "VLMAD_DISABLE_PLUGINS": " ".join([os.environ.get("VLMAD_DISABLE_PLUGINS", ""), *without]),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    with tempfile.TemporaryFile() as said:  # no pipe: what a plugin started may hold it open
        child = subprocess.Popen(
            [sys.executable, "-P", "-c", _CHILD],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            env=environment,
            start_new_session=True,
        )
        try:
            ended = _how(child.wait(SECONDS))
        except subprocess.TimeoutExpired:
            ended = f"it did not end within {SECONDS:g} s"
            _kill(child)
        said.seek(0)
        text = said.read().decode("utf-8", "replace")
    stages = _STAGE.findall(text)
    if _ALL_DONE in text or not stages:
        return None
    plugin, stage = stages[-1]
    return Problem(plugin, stage, ended)


def _how(code: int) -> str:
    if code >= 0:
        return f"it ended Python with exit code {code}"
    names = {one.value: one.name for one in signal.Signals}
    return f"it crashed Python with {names.get(-code, f'signal {-code}')}"


def _kill(child: subprocess.Popen[bytes]) -> None:
    """The child, and what it started."""
    if hasattr(os, "killpg"):
        os.killpg(child.pid, signal.SIGKILL)
    else:
        child.kill()
    child.wait()
