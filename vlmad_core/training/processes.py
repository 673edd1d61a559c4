"""One process, or several that share the work, and the signals that ask them to stop.

With several processes each computes its part of a step, and gradients are summed over all. Hugging Face accelerate
connects them; nothing of it is imported where there is one process.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any, Self

import torch
from torch import Tensor

from vlmad_core.errors import ConfigError

__all__ = ["Processes", "StopSignal", "find_processes"]


@dataclass(frozen=True)
class Processes:
    """The processes of a training.

    Args:
        index: Number of this one, from 0.
        count: How many there are.
        device: The one that this process was given; None: that of the backbone.
    """

    index: int = 0
    count: int = 1
    device: torch.device | None = None

    @property
    def is_main(self) -> bool:
        """Whether this one writes files and messages."""
        return self.index == 0

    def all_reduce(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes, in one message."""
        if self.count == 1:
            return
        from accelerate.utils import reduce

        flat = torch.cat([tensor.flatten() for tensor in tensors])
        summed: Tensor = reduce(flat, "sum")
        for tensor, part in zip(tensors, summed.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.count > 1:
            from accelerate.utils import wait_for_everyone

            wait_for_everyone()


def find_processes(device: torch.device) -> Processes:
    """As `torchrun` or `accelerate launch` started this one; alone without them.

    Args:
        device: Of the backbone: on a CPU the processes stay on CPUs.

    Raises:
        ConfigError: There are several, and accelerate is not installed.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Processes()
    try:
        from accelerate import PartialState
    except ImportError as error:
        raise ConfigError(
            "training in several processes needs accelerate: pip install 'vlmad-core[distributed]'."
        ) from error
    state = PartialState(cpu=device.type == "cpu")
    return Processes(state.process_index, state.num_processes, None if device.type == "cpu" else state.device)


class StopSignal:
    """Ctrl-C, or a request to end, between two steps and never within one.

    While it is entered, a first signal sets :attr:`received` and a second one stops at once. Only the main thread of a
    program receives signals; in any other, nothing is changed.
    """

    def __init__(self) -> None:
        self.received = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received:
            raise KeyboardInterrupt
        self.received = True
