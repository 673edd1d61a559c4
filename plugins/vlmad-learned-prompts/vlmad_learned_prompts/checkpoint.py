"""The checkpoints that AnomalyCLIP's authors published, as tensors of a detector with prompts 'learned'.

Such a file holds ``{"prompt_learner": {...}}``: the vectors that count, and others that its code stores and never uses.
Crane's files have the same names. Nothing in a file is run: it holds tensors or is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from vlmad_core.errors import ConfigError
from vlmad_core.training import read_published

__all__ = ["convert"]

_CONTEXTS = {"ctx_pos": "ctx_normal", "ctx_neg": "ctx_abnormal"}  # their "positive" is normal
_DEEP = re.compile(r"compound_prompts_text\.(\d{1,3})")
_UNUSED = re.compile(
    r"compound_prompt_projections\.\d+\.(weight|bias)|(token_prefix|token_suffix|tokenized_prompts)_(pos|neg)"
)
_LAYOUT = (
    "A checkpoint of AnomalyCLIP is a dictionary with 'prompt_learner', which holds 'ctx_pos', 'ctx_neg' and "
    "'compound_prompts_text.0' and so on."
)


def convert(path: Path) -> dict[str, Tensor]:
    """Read a ``.pth`` file.

    Args:
        path: Such as ``epoch_15.pth``.

    Returns:
        As the detector names them: ``prompts.ctx_normal`` and ``prompts.ctx_abnormal`` ``[length, W]``, and
        ``prompts.deep`` ``[depth - 1, deep_length, W]`` where there are deep prompts; float32, finite.

    Raises:
        ConfigError: Not there, not only tensors, or not such a checkpoint; the text names the tensor and its shape.
    """
    state = _read(path)
    deep = sorted((int(found[1]), name) for name in state if (found := _DEEP.fullmatch(name)))
    known = {*_CONTEXTS, *(name for _, name in deep)}
    strange = sorted(name for name in state if name not in known and not _UNUSED.fullmatch(name))
    missing = [name for name in _CONTEXTS if name not in state]
    missing += [f"compound_prompts_text.{i}" for i, (number, _) in enumerate(deep) if i != number][:1]
    for what, names in (("lacks", missing), ("holds also", strange)):
        if names:
            raise ConfigError(f"{path}: {what} {', '.join(names)}. {_LAYOUT}")
    converted = {ours: _context(path, theirs, state[theirs]) for theirs, ours in _CONTEXTS.items()}
    normal = converted["ctx_normal"]
    _expect(path, "ctx_neg", state["ctx_neg"], tuple(state["ctx_pos"].shape))
    if deep:
        first = state[deep[0][1]]
        positions = len(first) if first.ndim else 1
        for _, name in deep:
            _expect(path, name, state[name], (positions, normal.shape[1]))
        if positions > len(normal):
            raise ConfigError(
                f"{path}: its deep prompts have {positions} positions and its contexts only {len(normal)}; damaged."
            )
        converted["deep"] = torch.stack([state[name] for _, name in deep])
    _check_unused(path, state, normal, len(deep))
    for name, tensor in converted.items():
        if not tensor.is_floating_point() or not tensor.isfinite().all():
            raise ConfigError(f"{path}: {name} holds values that are no finite numbers; the file is damaged.")
    return {f"prompts.{name}": tensor.detach().float().contiguous() for name, tensor in converted.items()}


def _read(path: Path) -> Mapping[str, Tensor]:
    held = read_published(path)
    state = held.get("prompt_learner") if isinstance(held, Mapping) else None
    if not isinstance(state, Mapping):
        raise ConfigError(f"{path}: has no 'prompt_learner'. {_LAYOUT}")
    plain = [isinstance(value, Tensor) and value.layout is torch.strided for value in state.values()]
    if not all(plain) or not all(isinstance(name, str) for name in state):
        raise ConfigError(f"{path}: 'prompt_learner' holds something that is not a plain tensor. {_LAYOUT}")
    return state


def _context(path: Path, name: str, tensor: Tensor) -> Tensor:
    if tensor.ndim != 4 or tensor.shape[:2] != (1, 1) or 0 in tensor.shape:
        raise ConfigError(
            f"{path}: {name} has shape {_said(tensor)}, and 1 x 1 x length x width is needed: prompts for one kind of "
            "object, with one sentence for each state."
        )
    return tensor[0, 0]


def _check_unused(path: Path, state: Mapping[str, Tensor], normal: Tensor, deep: int) -> None:
    """What is dropped must fit what is kept, or the file is not what it seems."""
    length, width = normal.shape
    projections = {name.split(".")[1] for name in state if name.startswith("compound_prompt_projections.")}
    if projections and projections != {str(i) for i in range(deep)}:
        raise ConfigError(f"{path}: has {deep} deep prompts and {len(projections)} projections of them; damaged.")
    for i in projections:
        name = f"compound_prompt_projections.{i}"
        weight, bias = state.get(f"{name}.weight"), state.get(f"{name}.bias")
        if weight is None or bias is None or weight.shape != (*bias.shape, width):
            raise ConfigError(f"{path}: {name} does not read vectors of length {width}; damaged.")
    for side in ("pos", "neg"):
        if (prefix := state.get(f"token_prefix_{side}")) is not None:
            _expect(path, f"token_prefix_{side}", prefix, (1, 1, 1, width))
        ids, suffix = state.get(f"tokenized_prompts_{side}"), state.get(f"token_suffix_{side}")
        if ids is not None and suffix is not None:
            context = ids.shape[-1] if ids.ndim else 1
            _expect(path, f"token_suffix_{side}", suffix, (1, 1, context - 1 - length, width))


def _expect(path: Path, name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != shape:
        wanted = " x ".join(map(str, shape))
        raise ConfigError(f"{path}: {name} has shape {_said(tensor)}, and {wanted} goes with the rest of the file.")


def _said(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "of a single number"
