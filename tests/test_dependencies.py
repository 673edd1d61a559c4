"""Each distribution asks for what it imports and for nothing else; the core runs with what it asks for alone."""

import ast
import json
import os
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
from distributions import CORE, ROOT, closure, distributions
from packaging.utils import canonicalize_name

OURS = {ours.name: ours for ours in distributions()}
BY_HAND = {
    "pytest",  # vlmad_core.testing.fixtures is loaded by pytest, and by nobody who has none
    "torchvision",  # `vlmad doctor` looks at the one that open_clip or timm brought
}
BLOCKED = """
import json, runpy, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in refused:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

refused = set(json.loads(sys.argv.pop(1)))
sys.meta_path.insert(0, Refuse())
runpy.run_path(sys.argv[1], run_name="__main__")
"""


@cache
def owners() -> dict[str, set[str]]:
    """Module that can be imported to the distributions that bring it."""
    return {module: set(map(canonicalize_name, names)) for module, names in metadata.packages_distributions().items()}


@cache
def imported(package: Path) -> set[str]:
    """Modules of others that a package imports anywhere, also in functions and by name."""
    found = set()
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(node.module)
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "import_with_torchvision":
                found |= {argument.value for argument in node.args if isinstance(argument, ast.Constant)}
    return {name.partition(".")[0] for name in found} - sys.stdlib_module_names - {package.name}


def allowed(name: str, extras: tuple[str, ...]) -> set[str]:
    """What a distribution of ours may import: what it asks for, and what those of ours that it asks for always need."""
    asked = [requirement for extra in extras for requirement in OURS[name].extras[extra]]
    found = {canonicalize_name(requirement.name) for requirement in asked}
    for requirement in asked:
        if requirement.name in OURS and requirement.name == CORE:
            found |= allowed(CORE, ("", *requirement.extras))
    return found


@pytest.mark.parametrize("name", OURS)
def test_everything_that_is_imported_is_asked_for(name):
    ask = allowed(name, tuple(OURS[name].extras))
    used = imported(OURS[name].package) - BY_HAND
    assert {module for module in used if not owners().get(module, {canonicalize_name(module)}) & ask} == set()


@pytest.mark.parametrize("name", OURS)
def test_everything_that_is_always_asked_for_is_used(name):
    asked = {canonicalize_name(requirement.name) for requirement in OURS[name].extras[""]} - OURS.keys()
    used = {owner for module in imported(OURS[name].package) for owner in owners().get(module, ())}
    assert asked - used == set()


def test_the_core_never_needs_what_an_extra_brings():
    alone = closure([CORE])
    extras = OURS[CORE].extras
    optional = {canonicalize_name(r.name) for extra in extras if extra for r in extras[extra]}
    assert optional & alone.keys() == set()
    assert not {"torchvision", "scikit-learn", "pandas", "opencv-python", "transformers"} & alone.keys()


def test_the_core_alone_lists_builds_and_judges():
    """Every distribution that it does not ask for is refused at import, and no plugin is loaded."""
    alone = set(closure([CORE]))
    refused = sorted(module for module, names in owners().items() if not names & alone)
    assert {"open_clip", "torchvision", "timm", "matplotlib", "pytest"} <= set(refused)
    environment = {**os.environ, "VLMAD_PLUGINS": "", "OMP_NUM_THREADS": "1"}
    for name in ("COV_CORE_SOURCE", "COVERAGE_PROCESS_START"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED, json.dumps(refused), str(ROOT / "tests" / "core_alone.py")],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "it runs\n"
