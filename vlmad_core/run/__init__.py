"""Judge any number of images into a folder: results, maps and pictures that a person can read.

It uses a pipeline from outside; no part, and nothing else in the core, knows of it. For most callers :func:`run` is
the whole of it, and ``vlmad predict`` is a thin face of it.
"""

from __future__ import annotations

from vlmad_core.run.compare import comparison
from vlmad_core.run.maps import read_map
from vlmad_core.run.overlay import Scale, draw
from vlmad_core.run.predict import Summary, judge, run
from vlmad_core.run.predictor import Predictor
from vlmad_core.run.results import Result, read_results
from vlmad_core.run.sheet import contact_sheet

__all__ = [
    "Predictor",
    "Result",
    "Scale",
    "Summary",
    "comparison",
    "contact_sheet",
    "draw",
    "judge",
    "read_map",
    "read_results",
    "run",
]
