"""The edge runtime reads pixels, searches folders and draws with copies of the core's files, never with older ones."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

SCRIPT = runpy.run_path(str(Path(__file__).parents[1] / "build" / "shared.py"))


@pytest.mark.parametrize("source", SCRIPT["FILES"])
def test_a_copy_is_what_the_core_has_now(source: str) -> None:
    copy = (SCRIPT["TARGET"] / SCRIPT["FILES"][source]).read_text(encoding="utf-8")
    assert copy == SCRIPT["copy_of"](source), "run `python plugins/vlmad-edge/build/shared.py`"
