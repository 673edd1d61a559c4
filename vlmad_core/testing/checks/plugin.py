"""Rules of a distribution: what its metadata says, and what importing its ``plugin.py`` costs."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from importlib import import_module, metadata, util
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from vlmad_core.registry.project_plugins import PROJECT_PLUGINS
from vlmad_core.registry.registry import CORE, GROUP
from vlmad_core.testing.guard import SECONDS
from vlmad_core.testing.rules import CheckFailed, CheckSkipped, check, require
from vlmad_core.version import __version__

if TYPE_CHECKING:
    from vlmad_core.testing.plugin_case import PluginCase

HEAVY = {"torch", "torchvision", "open_clip", "timm", "sklearn", "scipy", "PIL", "numpy", "safetensors"}
_MOST_SECONDS = 2.0
_ROOMS = (
    "vlmad_core",
    "vlmad_core.benchmark",
    "vlmad_core.contracts",
    "vlmad_core.datasets",
    "vlmad_core.errors",
    "vlmad_core.metrics",
    "vlmad_core.pipeline",
    "vlmad_core.registry",
    "vlmad_core.run",
    "vlmad_core.training",
)
_PROBE = """
import json, sys, time, pydantic, pluggy, yaml, vlmad_core.registry.component, vlmad_core.registry.hookspecs
import vlmad_core.pipeline.spec
started = time.perf_counter()
__import__(sys.argv[1])
seconds = time.perf_counter() - started
with open(sys.argv[2], "w") as file:
    json.dump({"seconds": seconds, "modules": sorted({name.partition(".")[0] for name in sys.modules})}, file)
"""


@check("plugin")
def registers(case: PluginCase) -> None:
    """Every stage of loading passes: version, import, register."""
    found = [problem for problem in case.registry.problems if problem.plugin == case.name]
    message = " ".join(str(problem) + "." for problem in found)
    require(not found, f"{message} Correct what is named; `vlmad plugins` shows it too.")


@check("plugin", needs="distribution")
def has_a_core_range(case: PluginCase) -> None:
    """The metadata ask for a range of vlmad-core versions, such as ``vlmad-core>=0.1,<0.2``."""
    if case.name == CORE:
        raise CheckSkipped("it is vlmad-core itself.")
    ranges = [r.specifier for r in _requirements(case.distribution) if canonicalize_name(r.name) == CORE]
    require(ranges, f'write "vlmad-core>={_least()},<{_next()}" under dependencies in pyproject.toml.')
    bounded = any(s.operator in ("<", "<=", "~=", "==") for specifier in ranges for s in specifier)
    require(
        bounded,
        f"'vlmad-core{ranges[0]}' has no upper bound, so a version with other contracts would be accepted; "
        f'write "vlmad-core>={_least()},<{_next()}".',
    )


@check("plugin", needs="distribution")
def imports_no_torch(case: PluginCase) -> None:
    """Importing ``plugin.py`` imports nothing heavy: no torch, open_clip, timm, sklearn, scipy, PIL or numpy."""
    for module in case.modules:
        heavy = ", ".join(sorted(HEAVY & set(_probe(module)["modules"])))
        require(
            not heavy,
            f"importing {module} imports {heavy}, so `vlmad list` would wait for it; import that in the file that "
            "`target` names, and give the class as 'package.module:Class'.",
        )


@check("plugin", needs="distribution")
def imports_quickly(case: PluginCase) -> str:
    """Importing ``plugin.py`` takes less than two seconds."""
    seconds = {module: _probe(module)["seconds"] for module in case.modules}
    for module, taken in seconds.items():
        require(
            taken < _MOST_SECONDS,
            f"importing {module} takes {taken:.1f} s, and every `vlmad` command waits for it; move the work into the "
            "constructor of the part.",
        )
    return f"{max(seconds.values(), default=0) * 1000:.0f} ms"


@check("plugin", needs="distribution")
def imports_quietly(case: PluginCase) -> None:
    """Importing ``plugin.py`` prints nothing and warns of nothing."""
    for module in case.modules:
        said = _probe(module)["said"]
        require(not said, f"importing {module} says {said[:200]!r}; remove the print, or the cause of the warning.")


@check("plugin", needs="distribution")
def imports_public_names(case: PluginCase) -> None:
    """It imports public names of vlmad_core and vlmad_core.testing, and no other plugin's code.

    A distribution of this project moves together with the core, so it may also import what a module lists in
    ``__all__``.
    """
    if case.name == CORE:
        raise CheckSkipped("it is vlmad-core itself.")
    others = {
        _top(point.value): point.dist.name
        for point in metadata.entry_points(group=GROUP)
        if point.dist is not None and canonicalize_name(point.dist.name) not in (CORE, case.name)
    }
    for top in {_top(module) for module in case.modules}:
        for file in _sources(top):
            for module, name, line in _imports(file):
                where, package = f"{file.name}, line {line}", _top(module)
                require(
                    package not in others or package == top,
                    f"{where} imports {module} of {others.get(package)}; name its part in a recipe instead, and list "
                    "the distribution under dependencies.",
                )
                if package == "vlmad_core" and not module.startswith("vlmad_core.testing"):
                    known = module in _ROOMS or case.name in PROJECT_PLUGINS.values()
                    public = known and (name is None or _lists(module, name))
                    statement = f"from {module} import {name}" if name else f"import {module}"
                    require(
                        public,
                        f"{where} says `{statement}`, which may change at any time; take public names alone: "
                        f"those that {', '.join(_ROOMS)} list.",
                    )


def _lists(module: str, name: str) -> bool:
    """Whether a name is public in a module: in its ``__all__``, or a module of it."""
    found = import_module(module)
    return name in getattr(found, "__all__", ()) or isinstance(getattr(found, name, None), ModuleType)


def _top(module: str) -> str:
    """The package that a module, or an entry point's value, is in."""
    return module.partition(":")[0].partition(".")[0]


def _probe(module: str) -> dict[str, Any]:
    """What importing a module in a fresh Python brings: ``modules``, ``seconds``, ``said``.

    Raises:
        CheckFailed: It cannot be imported, or does not end.
    """
    found = _probed(module)
    if isinstance(found, str):
        raise CheckFailed(found)
    return found


@lru_cache(maxsize=64)
def _probed(module: str) -> dict[str, Any] | str:
    """As :func:`_probe`, or what is wrong: a module that hangs is waited for once."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    for name in ("COV_CORE_SOURCE", "COVERAGE_PROCESS_START"):
        environment.pop(name, None)
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "found.json"
        try:
            done = subprocess.run(
                [sys.executable, "-W", "default", "-c", _PROBE, module, str(found)],
                capture_output=True,
                text=True,
                env=environment,
                check=False,
                timeout=SECONDS,
            )
        except subprocess.TimeoutExpired:
            return (
                f"importing {module} takes more than {SECONDS:g} s, so `vlmad list` hangs; do nothing there but name "
                "the parts."
            )
        if not found.is_file():
            last = (done.stderr.strip().splitlines() or [f"it ended Python with {done.returncode}"])[-1]
            return f"{module} cannot be imported: {last}. Correct it; `vlmad plugins` shows it too."
        return {**json.loads(found.read_text(encoding="utf-8")), "said": (done.stdout + done.stderr).strip()}


def _requirements(distribution: metadata.Distribution | None) -> Iterator[Requirement]:
    for line in (distribution.requires if distribution else None) or ():
        try:
            yield Requirement(line)
        except InvalidRequirement:
            continue


def _sources(top: str) -> Iterator[Path]:
    """The Python files of an installed package."""
    spec = util.find_spec(top)
    for folder in (spec.submodule_search_locations if spec else None) or ():
        yield from sorted(Path(folder).rglob("*.py"))
    if spec is not None and spec.origin and not spec.submodule_search_locations:
        yield Path(spec.origin)


def _imports(file: Path) -> Iterator[tuple[str, str | None, int]]:
    """Module, name (None: the module itself) and line of each import."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from ((node.module, alias.name, node.lineno) for alias in node.names)


def _least() -> str:
    return ".".join(__version__.split(".")[:2])


def _next() -> str:
    """The first version that may have other contracts: the next minor one before 1.0, the next major one after."""
    major, minor = (int(part) for part in __version__.split(".")[:2])
    return f"0.{minor + 1}" if major == 0 else str(major + 1)
