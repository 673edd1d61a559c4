"""The problems that a reader found in a data set, as few sentences: for commands that use the data. Free of torch."""

from __future__ import annotations

from vlmad_core.datasets.base import Dataset

__all__ = ["problem_messages"]


def problem_messages(data: Dataset, most: int = 3) -> list[str]:
    """What its reader found odd: the first sentences, and how many there are beside them.

    Args:
        data: As it was read.
        most: Sentences that are given in full.
    """
    shown = list(data.problems[:most])
    left = len(data.problems) - len(shown)
    if left > 0:
        shown.append(f"{data.name}: and {left} more problem{'s' * (left > 1)}; `vlmad data check` lists them all.")
    return shown
