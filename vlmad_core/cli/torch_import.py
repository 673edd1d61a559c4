"""Importing torch, for commands that compute: in two thirds of the time that it takes by itself."""

from __future__ import annotations

import gc
import sys
from importlib import import_module

__all__ = ["import_torch"]


def import_torch(threads: int | None = None) -> None:
    """Import torch once, without searching what it makes for garbage.

    Its hundreds of thousands of objects live until the process ends. The collector would go through them again and
    again meanwhile, and once more at the end; they are moved out of its sight.

    Args:
        threads: CPU threads that torch may use; None: as it decides.
    """
    if "torch" not in sys.modules:
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            import_module("vlmad_core.pipeline.pipeline")  # with torch and all else that a detector needs
        finally:
            gc.freeze()
            if was_enabled:
                gc.enable()
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
