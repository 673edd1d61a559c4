"""Import a library that imports torchvision, also where torchvision was built for other hardware than torch.

pip gives a CUDA build of torchvision beside a CPU build of torch where no other exists; importing it then stops at
operators that its compiled part would have brought. This file declares them, and does nothing where the plain import
works.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from types import ModuleType

from vlmad_core.errors import ConfigError

__all__ = ["import_with_torchvision"]

_BOXES = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_declared: list[object] = []  # a Library takes its operators along when it is collected


def import_with_torchvision(name: str, *, extra: str = "") -> ModuleType:
    """Import module ``name``, which imports torchvision.

    Args:
        name: Such as ``"open_clip"``.
        extra: What to install where it is missing, such as ``"vlmad-core[open-clip]"``.

    Raises:
        ConfigError: It is not installed.
    """
    before = set(sys.modules)
    try:
        return _import(name, extra)
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    for module in set(sys.modules) - before:  # half-imported modules would be found again
        if module.partition(".")[0] in {"torchvision", name}:
            del sys.modules[module]
    _declare()
    return _import(name, extra)


def _import(name: str, extra: str) -> ModuleType:
    try:
        with warnings.catch_warnings():  # older releases import each other by names that have moved
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in {name, "torchvision"}:
            raise
        raise ConfigError(f"'{error.name}' is not installed; run: pip install '{extra or error.name}'.") from error


def _declare() -> None:
    from torch.library import Library

    if not _declared:
        library = Library("torchvision", "DEF")
        library.define(f"nms{_BOXES}")
        library.define(f"qnms{_BOXES}")
        _declared.append(library)
