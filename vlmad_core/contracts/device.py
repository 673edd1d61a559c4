"""Finds the device that a backbone runs on, and makes certain that it works."""

from __future__ import annotations

import torch

from vlmad_core.errors import ConfigError

__all__ = ["AUTO", "find_device"]

AUTO = "auto"
"""The first of cuda, mps and cpu that works."""


def find_device(name: str) -> torch.device:
    """The device of that name; for a backbone's constructor.

    Args:
        name: As torch names devices: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``. ``"auto"`` is the first of cuda,
            mps and cpu that works.

    Raises:
        ConfigError: This machine has no device of that name, or it does not work.
    """
    if name == AUTO:
        return next(torch.device(kind) for kind in ("cuda", "mps", "cpu") if kind == "cpu" or _failure(kind) is None)
    failure = _failure(name)
    if failure is not None:
        reason = str(failure).partition("\n")[0]
        raise ConfigError(
            f"device '{name}' is not there ({reason}). Take 'cpu', which every machine has, or 'auto'."
        ) from failure
    return torch.device(name)


def _failure(name: str) -> Exception | None:
    """What went wrong when a number was put there and read back; None where it works."""
    try:
        torch.empty(1, device=torch.device(name)).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        return error
    return None
