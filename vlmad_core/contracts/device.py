"""Finds the device that a backbone runs on, makes certain that it works, and moves images to it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from vlmad_core.errors import ConfigError

__all__ = ["AUTO", "find_device", "slow_precision", "synchronize", "to_device"]

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
    if "," in name:
        raise ConfigError(f"device '{name}' names several devices, which `vlmad predict` alone divides images among.")
    failure = _failure(name)
    if failure is not None:
        reason = str(failure).partition("\n")[0]
        raise ConfigError(
            f"device '{name}' is not there ({reason}). Take 'cpu', which every machine has, or 'auto'."
        ) from failure
    return torch.device(name)


def to_device(images: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    """A batch of images where the backbone is, in the type of its weights.

    To a GPU it is copied from pinned memory while the program goes on, and converted there.

    Args:
        images: ``[B, 3, H, W]``.
        device: Of the backbone.
        dtype: Of the backbone.
    """
    if device.type == "cuda" and images.device.type == "cpu" and not images.requires_grad:
        images = images.pin_memory().to(device, non_blocking=True)
    return images.to(device, dtype)


def synchronize(device: torch.device) -> None:
    """Wait until a device has done what it was given; for a clock. A CPU is never behind."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def slow_precision(device: torch.device, dtype: torch.dtype) -> str:
    """Why weights of this type make a detector slower than float32 on a device; empty where they do not."""
    if device.type == "cpu":
        known: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
        if not known:  # an older torch, which does not know
            return ""
        if dtype == torch.float16 and not any(map(known.get, ("avx512_fp16", "amx_fp16", "fp16_arith"))):
            return "this processor computes nothing in float16, so fp16 is slower here than fp32; try bf16."
        if dtype == torch.bfloat16 and not any(map(known.get, ("avx512_bf16", "amx_bf16", "bf16"))):
            return "this processor computes nothing in bfloat16, so bf16 is slower here than fp32."
    if device.type == "cuda" and dtype == torch.bfloat16 and torch.cuda.get_device_capability(device) < (8, 0):
        return "this GPU computes nothing in bfloat16, so bf16 is slower here than fp32; try fp16."
    return ""


def _failure(name: str) -> Exception | None:
    """What went wrong when a number was put there and read back; None where it works."""
    try:
        torch.empty(1, device=torch.device(name)).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        return error
    return None
