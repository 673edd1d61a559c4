"""What must not change while a part runs: the backbone it was lent, and the state of the process."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["differences", "process_state", "snapshot"]

Snapshot = dict[str, Any]


def snapshot(model: nn.Module) -> Snapshot:
    """Weights, buffers, modules, hooks, modes, attributes and methods of a model, for :func:`differences`."""
    return {**_structure(model), **{f"tensor {name}": value.detach().clone() for name, value in _tensors(model)}}


def differences(before: Snapshot, model: nn.Module, *, attributes: bool = True) -> list[str]:
    """Names of what is no longer as it was.

    Args:
        before: As :func:`snapshot` gave it.
        model: The same model, later.
        attributes: Also attributes of modules, which a backbone itself may fill when it is first used.
    """
    structure, tensors = _structure(model), dict(_tensors(model))
    found = [name for name, value in structure.items() if before.get(name, _GONE) != value]
    found += [name for name in before if name not in structure and not name.startswith("tensor ")]
    found += [
        name.removeprefix("tensor ")
        for name, value in before.items()
        if name.startswith("tensor ") and not _same(tensors.get(name.removeprefix("tensor ")), value)
    ]
    found += [name for name in tensors if f"tensor {name}" not in before]
    return [name for name in found if attributes or not name.startswith(("attribute ", "method "))]


def process_state() -> dict[str, Any]:
    """Global settings of torch, numpy and Python that a part must leave as they are."""
    return {
        "torch's random state": torch.get_rng_state().numpy().tobytes(),
        "numpy's random state": repr(np.random.get_state()),  # noqa: NPY002 — the global one is what is watched
        "Python's random state": random.getstate(),
        "torch's default type": torch.get_default_dtype(),
        "torch's number of threads": torch.get_num_threads(),
        "torch's gradient mode": torch.is_grad_enabled(),
        "torch's deterministic mode": torch.are_deterministic_algorithms_enabled(),
        "the environment": dict(os.environ),
        "the working folder": Path.cwd(),
    }


_GONE = object()


def _structure(model: nn.Module) -> Snapshot:
    found: Snapshot = {}
    for path, module in model.named_modules():
        where = path or "the backbone"
        found[f"module {where}"] = (id(module), module.training)
        for name, value in vars(module).items():
            if "hooks" in name and isinstance(value, dict):
                found[f"hooks of {where}"] = found.get(f"hooks of {where}", 0) + len(value)
            elif not name.startswith("_") and name != "training":
                found[f"attribute {name} of {where}"] = id(value)
        for name, value in vars(type(module)).items():
            if callable(value):
                found[f"method {type(module).__name__}.{name}"] = id(value)
    found.update({f"requires_grad of {name}": p.requires_grad for name, p in model.named_parameters()})
    return found


def _tensors(model: nn.Module) -> list[tuple[str, Tensor]]:
    return [*model.named_parameters(), *model.named_buffers()]


def _same(now: Tensor | None, before: Tensor) -> bool:
    return now is not None and now.shape == before.shape and now.dtype == before.dtype and torch.equal(now, before)
