"""Where a model runs: the fastest device of this machine, unless one is named."""

from __future__ import annotations

import torch

from vlmad_core.contracts.towers import find_device

__all__ = ["AUTO", "choose_device"]

AUTO = "auto"


def choose_device(name: str = AUTO) -> str:
    """The device of this name; ``auto``: the first of cuda, mps and cpu that this machine has.

    Raises:
        ConfigError: This machine has none of that name.
    """
    if name != AUTO:
        return str(find_device(name))
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
