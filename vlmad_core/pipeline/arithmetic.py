"""How a backbone computes: the type of its weights, and whether `torch.compile` is tried. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

__all__ = ["PRECISIONS", "CompileMode", "Precision"]

Precision = Literal["fp32", "bf16", "fp16"]

PRECISIONS: Final[Mapping[str, str]] = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
"""Precisions to the option ``dtype`` of backbones."""

CompileMode = Literal["default", "reduce-overhead", "max-autotune"]
"""Of `torch.compile`; the last two replay CUDA graphs on a GPU."""
