"""``vlmad doctor``: what is here, what is missing, and whether it works."""

from __future__ import annotations

import platform
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Annotated, Literal

import typer

from vlmad_core.cli import terminal
from vlmad_core.registry.registry import default_registry
from vlmad_core.version import __version__


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    state: Literal["ok", "note", "broken"]
    text: str


def doctor_command(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Look at the installation and try a detector; exit with 1 if something is broken."""
    found = [*_surroundings(), *_torch(), *_libraries(), *_plugins(), _self_test()]
    if as_json:
        terminal.print_json([asdict(finding) for finding in found])
    else:
        terminal.table(["", "what", "found"], [(finding.state, finding.what, finding.text) for finding in found])
    if any(finding.state == "broken" for finding in found):
        raise typer.Exit(1)


def _surroundings() -> Iterator[Finding]:
    yield Finding("vlmad-core", "ok", __version__)
    yield Finding("Python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    free = shutil.disk_usage(Path.cwd()).free
    yield Finding("disk here", "ok" if free > 1e9 else "note", f"{free / 1e9:.1f} GB free")
    yield Finding("network", "ok", "none is used, unless you name weights by a tag that open_clip or timm downloads")


def _torch() -> Iterator[Finding]:
    try:
        import torch
    except Exception as error:
        yield Finding("torch", "broken", f"cannot be imported: {error}")
        return
    yield Finding("torch", "ok", f"{torch.__version__}, {torch.get_num_threads()} threads")
    devices = [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    devices += ["mps"] if torch.backends.mps.is_available() else []
    yield Finding("devices", "ok", ", ".join(["cpu", *devices]))


def _libraries() -> Iterator[Finding]:
    for module, name, gives in (("open_clip", "open_clip_torch", "open-clip"), ("timm", "timm", "timm")):
        version = _version(name)
        text = version or f"not installed; only backbone '{gives}' needs it: pip install {name}"
        yield Finding(module, "ok" if version else "note", text)
    version = _version("torchvision")
    if version is None:
        return
    try:
        import torchvision  # noqa: F401
    except RuntimeError as error:
        fits = "torchvision::nms" in str(error)
        text = "was built for another torch; vlmad declares what is missing where open_clip or timm import it"
        yield Finding("torchvision", "note" if fits else "broken", f"{version} {text if fits else error}")
    except Exception as error:
        yield Finding("torchvision", "broken", f"{version} cannot be imported: {error}")
    else:
        yield Finding("torchvision", "ok", version)


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _plugins() -> Iterator[Finding]:
    registry = default_registry()
    for plugin in registry.plugins:
        if plugin.status != "failed":
            offers = terminal.counted(len(plugin.entries), "part")
            yield Finding(plugin.name, "ok", f"{plugin.version} {plugin.status}, {offers}")
    for problem in registry.problems:
        yield Finding(problem.plugin, "broken", f"{problem.stage}: {problem.error}")


def _self_test() -> Finding:
    """Fit on noise, judge noise: says that the parts run, and how fast."""
    what = "self-test"
    if not any(entry.name == "pocket" for entry in default_registry().entries("backbone")):
        return Finding(what, "note", "needs a backbone that brings its weights: pip install vlmad-pocket")
    try:
        import numpy as np

        from vlmad_core.pipeline.build import build

        started = time.perf_counter()
        detector = build("pocket-few-shot")
        built = time.perf_counter()
        noise = np.random.default_rng(0).integers(0, 255, (3, 224, 224, 3), np.uint8)
        score = detector.fit(list(noise[:2])).predict(noise[2]).score
        ended = time.perf_counter()
    except Exception as error:
        return Finding(what, "broken", f"pocket-few-shot: {type(error).__name__}: {error}")
    took = f"built in {built - started:.1f} s, 2 normal images and 1 other in {ended - built:.1f} s"
    return Finding(what, "ok", f"pocket-few-shot: {took}, score {score:.3f}")
