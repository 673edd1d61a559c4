"""The page on training is held to the code."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from vlmad_core.training.options import RUN_ONLY, TrainingOptions

DOCS = Path(__file__).parents[2] / "docs"


def test_the_table_of_options_is_up_to_date():
    spec = importlib.util.spec_from_file_location("build_training", DOCS / "build_training.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text(encoding="utf-8") == module.page(), "run: python docs/build_training.py"
    assert all(f"| `{name}`" in module.page() for name in TrainingOptions.model_fields)


def test_options_that_may_change_exist():
    assert TrainingOptions.model_fields.keys() >= RUN_ONLY
