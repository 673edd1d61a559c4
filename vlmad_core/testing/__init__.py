"""For authors of plugins: a backbone of random weights that is ready in milliseconds, and a registry in memory."""

from __future__ import annotations

from vlmad_core.testing.registry import TINY, TinyConfig, memory_registry
from vlmad_core.testing.tiny import tiny_backbone

__all__ = ["TINY", "TinyConfig", "memory_registry", "tiny_backbone"]
