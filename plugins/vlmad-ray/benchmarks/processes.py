"""The processes of a run and their resident memory, as ``ps`` shows them."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

__all__ = ["Process", "descendants"]


@dataclass(frozen=True)
class Process:
    """One process.

    Args:
        pid: Its number.
        megabytes: Resident memory, shared pages included.
        name: Its command line.
    """

    pid: int
    megabytes: float
    name: str

    @property
    def holds_detector(self) -> bool:
        """Whether it is an actor of ``vlmad batch``."""
        return "MapWorker" in self.name


def descendants(root: int) -> list[Process]:
    """A process and all below it."""
    listed = subprocess.run(["ps", "-eo", "pid,ppid,rss,args"], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 3) for line in listed.splitlines()[1:]]
    parents = {int(row[0]): int(row[1]) for row in rows}
    found = []
    for pid, _, rss, *name in rows:
        above = int(pid)
        while above != root and above in parents:
            above = parents[above]
        if above == root:
            found.append(Process(int(pid), int(rss) / 1024, "".join(name)))
    return found
