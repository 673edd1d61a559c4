"""What needs no torch imports no torch: listing must answer before a big library has even been found on the disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {"torch", "torchvision", "open_clip", "timm", "sklearn", "scipy", "PIL", "numpy", "safetensors"}
MIDDLING = {"pydantic", "pluggy", "yaml", "typer", "rich", "packaging"}


def imported_by(code: str) -> set[str]:
    """Top-level modules that a fresh Python holds after running ``code``."""
    script = f"{code}\nimport sys, json; print(json.dumps(sorted(m.partition('.')[0] for m in sys.modules)))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    for name in ("VLMAD_PLUGINS", "VLMAD_DISABLE_PLUGINS", "COV_CORE_SOURCE", "COVERAGE_PROCESS_START"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_the_package_imports_nothing_big():
    assert imported_by("import vlmad_core") & (HEAVY | MIDDLING) == set()


def test_dir_of_the_package_imports_nothing_big():
    assert imported_by("import vlmad_core; dir(vlmad_core)") & HEAVY == set()


@pytest.mark.parametrize(
    "code",
    [
        "vlmad_core.registry.default_registry()",
        "[(e.full_name, e.item.summary) for e in vlmad_core.registry.default_registry().entries()]",
        "[e.component.config.model_json_schema() for e in vlmad_core.registry.default_registry().entries()"
        " if e.kind not in ('recipe', 'command')]",
        "from vlmad_core.registry import Component, Config, Recipe, hookimpl; vlmad_core.pipeline.PipelineSpec",
        "vlmad_core.errors.ConfigError, vlmad_core.VlmadError",
        "from vlmad_core.registry.card import read_card; "
        "[read_card(e.item.card) for e in vlmad_core.registry.default_registry().entries()"
        " if getattr(e.item, 'card', '')]",
        "from vlmad_core.cli.__main__ import main\ntry: main(['show', 'pocket'])\nexcept SystemExit: pass",
        "from vlmad_core.pipeline.spec import PipelineSpec; from vlmad_core.registry.validate import validate; "
        "validate(PipelineSpec, "
        "{'backbone': 'a', 'extractor': 'b', 'scorers': ['c']})",
    ],
)
def test_listing_and_checking_import_no_torch(code):
    assert (
        imported_by(f"import vlmad_core, vlmad_core.registry, vlmad_core.errors, vlmad_core.pipeline; {code}") & HEAVY
        == set()
    )


def test_parts_import_torch_only_when_they_are_used():
    assert "torch" in imported_by(
        "import vlmad_core.registry; vlmad_core.registry.default_registry().get('scorer', 'memory').load()"
    )


def test_every_public_name_resolves():
    code = "import vlmad_core; [getattr(vlmad_core, name) for name in vlmad_core.__all__]"
    assert "torch" in imported_by(code)


def test_unknown_attribute_is_an_attribute_error():
    import vlmad_core

    with pytest.raises(AttributeError, match="No vlmad_core attribute nothing"):
        vlmad_core.nothing  # noqa: B018


def test_import_is_fast(capsys):
    """Printed, and never a gate: a busy machine would make it fail."""
    script = "import time; t = time.perf_counter(); import vlmad_core; print(time.perf_counter() - t)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    with capsys.disabled():
        print(f"\nimport vlmad_core took {float(done.stdout):.3f} s (aim: under 0.15 s)")
    assert float(done.stdout) > 0
