"""Seconds from the start of Python to the first verdict of vlmad-edge: `edge_start.py PYTHON nut.onnx IMAGE`.

PYTHON is that of an environment with vlmad-edge. Each of several processes starts afresh; printed are the median and
the fastest of the time on the clock and of the time that processors worked, which other programs disturb less, and the
steps inside the fastest one.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time

_STEPS = """
import json, sys, time
begin = time.perf_counter()
import vlmad_edge
imported = time.perf_counter()
detector = vlmad_edge.load(sys.argv[1], threads=1)
opened = time.perf_counter()
label = detector.predict(sys.argv[2]).verdict.label
print(json.dumps([imported - begin, opened - imported, time.perf_counter() - opened, label]))
"""


def main(python: str, model: str, image: str, rounds: int = 7) -> None:
    """Start it several times."""
    found = []
    for _ in range(rounds):
        wall, before = time.perf_counter(), os.times()
        run = subprocess.run([python, "-c", _STEPS, model, image], check=True, capture_output=True, text=True)
        after = os.times()
        worked = after.children_user + after.children_system - before.children_user - before.children_system
        found.append((time.perf_counter() - wall, worked, json.loads(run.stdout)))
    wall_s, worked_s = ([each[i] for each in found] for i in (0, 1))
    steps = dict(zip(("import", "open", "image"), min(found)[2], strict=False))
    row = {"wall_s": [statistics.median(wall_s), min(wall_s)], "worked_s": [statistics.median(worked_s), min(worked_s)]}
    print(json.dumps({**row, "steps_s": steps, "load": os.getloadavg()[0]}))


if __name__ == "__main__":
    main(*sys.argv[1:4])
