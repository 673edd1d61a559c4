"""One process, or several that share the work: each sees its part of a step, and gradients are summed over all.

Hugging Face accelerate finds out who is who and talks between them; nothing is imported where there is one process.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vlmad_core.errors import ConfigError

__all__ = ["Processes", "find_processes"]


@dataclass(frozen=True)
class Processes:
    """Where this process stands.

    Args:
        index: Number of this one, from 0.
        count: How many there are.
        device: That this one was given; None: whichever the backbone is on.
    """

    index: int = 0
    count: int = 1
    device: torch.device | None = None

    @property
    def is_main(self) -> bool:
        """Whether this one writes files and speaks."""
        return self.index == 0

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes, in one message."""
        if self.count == 1:
            return
        from accelerate.utils import reduce

        flat = torch.cat([tensor.flatten() for tensor in tensors])
        summed: Tensor = reduce(flat, "sum")
        for tensor, part in zip(tensors, summed.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def wait(self) -> None:
        """Until all are here."""
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
