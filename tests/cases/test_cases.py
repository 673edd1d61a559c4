"""Situations known from public reports about other tools, each rebuilt from nothing.

A case exits with 0 where vlmad does what a user expects. ``python tests/cases/01_linked_subfolder.py`` runs one.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CASES = sorted(path.stem for path in HERE.glob("[0-9]*.py"))
QUICK = {"33_aupro", "29_scores_beyond_one"}


@pytest.mark.parametrize("case", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in CASES])
def test_case(case: str) -> None:
    pytest.importorskip("vlmad_pocket")
    needs_clip = any(word in case for word in ("gelu", "checkpoint", "lfs", "number"))
    if needs_clip and importlib.util.find_spec("open_clip") is None:  # torchvision may be of another build
        pytest.skip("open_clip is not installed")
    done = subprocess.run(
        [sys.executable, str(HERE / f"{case}.py")],
        capture_output=True,
        text=True,
        errors="replace",
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def test_every_case_is_there() -> None:
    assert len(CASES) == 38
