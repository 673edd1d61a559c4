# Copied from vlmad_core/contracts/memory.py by plugins/vlmad-edge/build/shared.py; edit that file.
"""How much memory all decoders and encoders of a process may take together. Free of torch and PIL."""

from __future__ import annotations

import ctypes
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["LIMIT", "MemoryBudget", "budget"]

LIMIT = 1_700_000_000
"""Bytes. 20,000 x 20,000 pixels in colour take 1.6e9 as PIL stores them, and that is a real scan."""


_TRIMMED = 64_000_000


def _give_back() -> None:
    """Have the C library return freed memory to the system: it keeps gigabytes for each thread otherwise."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):  # another C library
        return


class MemoryBudget:
    """Bytes that threads share: who needs more than is free waits, in the order of asking.

    Args:
        limit: Bytes in all.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._used = 0
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def reserve(self, size: int) -> Iterator[None]:
        """Wait until ``size`` bytes are free, and hold them inside the ``with``. Never nest it in one thread.

        A size above the limit waits until nothing else is held; callers refuse such sizes first.
        """
        ticket, size = object(), min(size, self.limit)
        with self._changed:
            self._queue.append(ticket)
            try:
                self._changed.wait_for(lambda: self._queue[0] is ticket and self._used + size <= self.limit)
            except BaseException:
                self._queue.remove(ticket)
                self._changed.notify_all()
                raise
            self._queue.popleft()
            self._used += size
            self._changed.notify_all()
        try:
            yield
        finally:
            if size > _TRIMMED:
                _give_back()
            with self._changed:
                self._used -= size
                self._changed.notify_all()


budget = MemoryBudget(LIMIT)
"""The one budget of this process."""
