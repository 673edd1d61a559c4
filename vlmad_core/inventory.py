"""What installed plugins offer, without importing them here.

A plugin that is new, or has changed, is imported in a child process, where it may hang, print or end Python without
harm. What it told is kept in the user's cache folder, and the failures too, so that the next look takes a few
milliseconds. Where no child can be started, nothing is told, and whoever asks must import the plugin.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
import queue
import signal
import site
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Thread
from typing import IO, Any

from vlmad_core import __version__
from vlmad_core.files import write_whole
from vlmad_core.installed import Point

__all__ = ["LIMIT", "can_remember", "look", "stamp_of"]

Told = dict[str, Any]
"""What a plugin offers and what is wrong with it, as :func:`vlmad_core.probe.answer` writes it."""

LIMIT = 3.0
"""Seconds for each stage of a plugin; ``VLMAD_PLUGIN_SECONDS`` in the environment allows more."""

_SHARED_LIMIT = 1.0  # while all share a child; who is slower gets a child of its own, and LIMIT
_START_LIMIT = 60.0  # until the child speaks: that is Python's doing, and no plugin's
_FORMAT = 1
_CHILD = (
    "import json, sys; asked = json.loads(sys.argv[1]); sys.path[:] = asked['path']; sys.dont_write_bytecode = True; "
    "from vlmad_core.probe import answer; answer(asked['points'])"
)


class _NoChildError(Exception):
    """No process can be started here, or it is no Python."""


def look(points: Sequence[Point], *, refresh: bool = False) -> dict[Point, Told]:
    """What each entry point offers, from memory where nothing has changed since it was last seen.

    Args:
        points: Where to look.
        refresh: Look again at all of them.

    Returns:
        An answer for each, or none at all where no child process can be started.
    """
    importlib.invalidate_caches()  # a file may be a moment old, and is still to be found
    place = _place()
    known = _read(place)
    told = {} if refresh else {p: known[p.key] for p in points if _holds(known.get(p.key), p)}
    new = [point for point in points if point not in told]
    if not new:
        return told
    try:
        seen = _ask_all(new)
    except _NoChildError:
        return told
    for point, answer in seen.items():
        files = [*answer.get("files", ()), point.file]
        if answer["problems"]:  # perhaps it lacks a package: whatever is installed here next may mend it
            files += site.getsitepackages()
        answer["stamps"] = {file: stamp_of(file) for file in files if file}
        answer["version"] = point.version
    _write(place, {**known, **{point.key: answer for point, answer in seen.items()}})
    return told | seen


def can_remember() -> bool:
    """Whether there is a folder to keep answers in; without one, each look is as slow as the first."""
    place = _place()
    if place is None:
        return False
    with contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
    return os.access(place.parent, os.W_OK)


def stamp_of(file: str) -> list[int]:
    """Time and size of a file; what decides whether it is the one that was seen."""
    try:
        found = Path(file).stat()
    except OSError:
        return []
    return [found.st_mtime_ns, found.st_size]


def _holds(told: Told | None, point: Point) -> bool:
    if told is None or told["version"] != point.version:
        return False
    stamps = told["stamps"]
    return point.file in ("", *stamps) and all(stamp_of(file) == stamp for file, stamp in stamps.items())


# -- the child


def _ask_all(points: Sequence[Point]) -> dict[Point, Told]:
    """All in one child, for its start costs the most; those that it got no answer from, each in its own at once."""
    told = _ask(points, _SHARED_LIMIT) if len(points) > 1 else {}
    left = [point for point in points if point not in told]
    if left:
        seconds = _limit()
        with ThreadPoolExecutor(min(len(left), 16)) as pool:
            for answer in pool.map(lambda point: _ask([point], seconds), left):
                told |= answer
    return told


def _limit() -> float:
    try:
        return max(float(os.environ["VLMAD_PLUGIN_SECONDS"]), LIMIT)
    except (KeyError, ValueError):
        return LIMIT


def _ask(points: Sequence[Point], seconds: float) -> dict[Point, Told]:
    """Answers up to the first plugin that hangs or ends the child; of a single one, that is its answer."""
    told: dict[Point, Told] = {}
    with _child(points) as (process, lines):
        stage, wait, error = "", _START_LIMIT, ""
        while len(told) < len(points):
            try:
                line = lines.get(timeout=wait)
            except queue.Empty:
                error = (
                    f"took longer than {seconds:g} s; is it waiting for something, or importing too much? Allow it "
                    "more with VLMAD_PLUGIN_SECONDS=30 vlmad plugins --refresh"
                )
                break
            if line is None:
                error = _ended(process)
                break
            wait = seconds
            if "stage" in line:
                stage = line["stage"]
            else:
                told[points[len(told)]] = line
    if error and not stage:
        raise _NoChildError
    if error and len(points) == 1:
        told[points[0]] = {"entries": [], "problems": [[stage, error]], "seconds": wait}
    return told


@contextlib.contextmanager
def _child(points: Sequence[Point]) -> Iterator[tuple[subprocess.Popen[str], queue.Queue[Told | None]]]:
    if getattr(sys, "frozen", False) or not sys.executable:
        raise _NoChildError
    asked = json.dumps({"path": sys.path, "points": [[point.plugin, point.value] for point in points]})
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", _CHILD, asked],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            start_new_session=True,  # so that what a plugin starts can be stopped with it
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except OSError as error:
        raise _NoChildError from error
    lines: queue.Queue[Told | None] = queue.Queue()
    assert process.stdout is not None
    reader = Thread(target=_pump, args=(process.stdout, lines), daemon=True)
    reader.start()
    try:
        yield process, lines
    finally:
        with contextlib.suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
        process.wait()
        reader.join(1)


def _pump(stream: IO[str], lines: queue.Queue[Told | None]) -> None:
    with stream, contextlib.suppress(ValueError):  # half a line, of a child that was ended while it wrote
        for line in stream:
            lines.put(json.loads(line))
    lines.put(None)


def _ended(process: subprocess.Popen[str]) -> str:
    try:
        code = process.wait(1)
    except subprocess.TimeoutExpired:
        return "closed every file of its process"
    if code < 0:
        return f"ended Python by {signal.Signals(-code).name}"
    return f"ended Python with exit code {code}"


# -- the memory


def _place() -> Path | None:
    """A file in the user's cache folder for this Python and this core; None where there is no home."""
    usual = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME")
    usual = usual or ("~/Library/Caches" if sys.platform == "darwin" else "~/.cache")
    try:
        cache = Path(os.environ.get("VLMAD_CACHE") or f"{usual}/vlmad").expanduser()
    except RuntimeError:
        return None
    about = "\n".join([str(_FORMAT), __version__, str(Path(__file__).parent), sys.executable, sys.version])
    return cache / f"plugins-{hashlib.sha256(about.encode()).hexdigest()[:16]}.json"


def _read(place: Path | None) -> dict[str, Told]:
    try:
        known = json.loads(place.read_text("utf-8")) if place else {}
        needed = {"entries": list, "problems": list, "seconds": float, "version": str, "stamps": dict}
        return {
            key: told
            for key, told in known.items()
            if all(isinstance(told[name], kind) for name, kind in needed.items())
        }
    except (OSError, ValueError, AttributeError, KeyError, TypeError):  # not there, or no longer what was written
        return {}


def _write(place: Path | None, known: Mapping[str, Told]) -> None:
    if place is None:
        return
    there = {key: told for key, told in known.items() if all(stamp_of(file) for file in told["stamps"])}
    with contextlib.suppress(OSError):  # a home that is full or read-only: then every look is the first
        place.parent.mkdir(parents=True, exist_ok=True)
        write_whole(place, json.dumps(there).encode())
