"""Floating-point operations of whatever runs on tensors, those included that torch's own counter does not know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch

__all__ = ["count_flops"]


def count_flops(run: Callable[[], object]) -> int:
    """Call it once and count: two for each multiply-add of matrix products, convolutions and attention.

    What works on single elements (norms, activations, softmax, resizing) is not counted, as papers do not count it.

    Args:
        run: Called without arguments, in this thread; its result is dropped.

    >>> count_flops(lambda: torch.ones(2, 3) @ torch.ones(3, 5))
    60
    """
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False, custom_mapping=_formulas()) as counter:
        run()
    return int(counter.get_total_flops())


def _formulas() -> dict[Any, Callable[..., int]]:
    """For operations of the CPU, which torch 2.13 counts as nothing: oneDNN's linear, fused attention, vectors."""
    formulas: dict[tuple[str, str], Callable[..., int]] = {
        ("mkldnn", "_linear_pointwise"): _linear,  # what vlmad_core.contracts.kernels.linear calls
        ("aten", "_scaled_dot_product_flash_attention_for_cpu"): _attention,
        ("aten", "mv"): _vector,
        ("aten", "dot"): _vector,
        ("aten", "_cdist_forward"): _distances,
        ("aten", "_euclidean_dist"): _distances,  # the same of more than 25 rows
    }
    spaces = {(space, name): getattr(getattr(torch.ops, space), name, None) for space, name in formulas}
    return {spaces[key]: formula for key, formula in formulas.items() if spaces[key] is not None}


def _linear(x: Sequence[int], weight: Sequence[int], *_: Any, **__: Any) -> int:
    return 2 * prod(x) * weight[0]


def _attention(q: Sequence[int], k: Sequence[int], v: Sequence[int], *_: Any, **__: Any) -> int:
    return 2 * prod(q[:-1]) * k[-2] * (q[-1] + v[-1])  # q k', then its softmax times v


def _vector(left: Sequence[int], *_: Any, **__: Any) -> int:
    return 2 * prod(left)


def _distances(left: Sequence[int], right: Sequence[int], *_: Any, **__: Any) -> int:
    return 2 * prod(left) * right[-2]
