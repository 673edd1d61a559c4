"""The processes of a run, their resident memory and the time that they computed, as ``ps`` shows them."""

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
        cpu_seconds: That it has computed so far.
        name: Its command line.
    """

    pid: int
    megabytes: float
    cpu_seconds: int
    name: str

    @property
    def holds_detector(self) -> bool:
        """Whether it is an actor of ``vlmad batch``."""
        return "MapWorker" in self.name


def descendants(root: int) -> list[Process]:
    """A process and all below it."""
    listed = subprocess.run(
        ["ps", "-eo", "pid,ppid,rss,cputimes,args"], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split(None, 4) for line in listed.splitlines()[1:]]
    parents = {int(row[0]): int(row[1]) for row in rows}
    found = []
    for pid, _, rss, seconds, *name in rows:
        above = int(pid)
        while above != root and above in parents:
            above = parents[above]
        if above == root:
            found.append(Process(int(pid), int(rss) / 1024, int(seconds), "".join(name)))
    return found
