"""The rules of every contract, one named function each; importing this package collects them in order."""

from __future__ import annotations

from vlmad_core.testing.checks import plugin as plugin  # isort: skip
from vlmad_core.testing.checks import component as component  # isort: skip
from vlmad_core.testing.checks import recipe as recipe  # isort: skip
from vlmad_core.testing.checks import vision as vision  # isort: skip
from vlmad_core.testing.checks import text as text  # isort: skip
from vlmad_core.testing.checks import extractor as extractor  # isort: skip
from vlmad_core.testing.checks import prompts as prompts  # isort: skip
from vlmad_core.testing.checks import scorer as scorer  # isort: skip
from vlmad_core.testing.checks import part as part  # isort: skip
from vlmad_core.testing.checks import cost as cost  # isort: skip
from vlmad_core.testing.checks import dataset as dataset  # isort: skip
from vlmad_core.testing.rules import CHECKS, TAGS, Check, CheckFailed, CheckSkipped, checks_of

__all__ = ["CHECKS", "TAGS", "Check", "CheckFailed", "CheckSkipped", "checks_of"]
