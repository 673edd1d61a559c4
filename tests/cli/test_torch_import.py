"""Torch is imported without the collector, which then goes on as it was."""

from __future__ import annotations

import subprocess
import sys

import pytest

_CODE = """
import gc
{before}
from vlmad_core.cli.torch_import import import_torch
collections = []
gc.callbacks.append(lambda phase, info: collections.append(phase))
import_torch(threads=1)
during = len(collections)
import sys, torch
print("torch" in sys.modules, during, gc.isenabled(), gc.get_freeze_count() > 100_000, torch.get_num_threads())
"""


@pytest.mark.parametrize(("before", "enabled"), [("", "True"), ("gc.disable()", "False")])
def test_torch_is_imported_without_a_collection_and_the_collector_goes_on_as_before(before, enabled):
    done = subprocess.run(
        [sys.executable, "-c", _CODE.format(before=before)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["True", "0", enabled, "True", "1"]
