"""Run the comparisons with recorded numbers, and keep what was measured in docs/results/parity.json: ``make parity``.

For each array of each file: the largest difference of all tests that compare with it, and the tolerance it was held
to. Sums are added up in an order that depends on where arrays lie in memory, so two runs differ in the last digits:
differences are rounded up to two, and what an earlier run saw is kept where it was larger. Delete the file to begin
afresh.
"""

import json
import math
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

ROOT = Path(__file__).parents[2]
OUT = ROOT / "docs" / "results" / "parity.json"


def main():
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "differences.jsonl"
        tests = [ROOT / "tests" / "parity", *sorted(ROOT.glob("plugins/*/tests/test_*_parity.py"))]
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *map(str, tests)]
        environment = os.environ | {"VLMAD_PARITY_LOG": str(log), "OMP_NUM_THREADS": "1"}
        subprocess.run(command, check=True, cwd=ROOT, env=environment)
        found = [json.loads(line) for line in log.read_text().splitlines()]
    before = json.loads(OUT.read_text(encoding="utf-8")) if OUT.exists() else {}
    runs = before.get("about", {"runs": 0})["runs"] + 1
    arrays = {}
    for file, name, difference, atol in sorted(found):
        seen = [entries[file][name] for entries in (before, arrays) if name in entries.setdefault(file, {})]
        largest = max([rounded_up(difference), *(entry["difference"] for entry in seen)])
        arrays[file][name] = {"difference": largest, "atol": atol}
    about = {"torch": torch.__version__, "machine": platform.machine(), "threads": 1, "runs": runs}
    files = [f'"{file}": {{\n{lines(names)}\n}}' for file, names in arrays.items()]
    OUT.write_text(f'{{\n"about": {json.dumps(about)},\n' + ",\n".join(files) + "\n}\n", encoding="utf-8")


def lines(names):
    return ",\n".join(f"  {json.dumps(name)}: {json.dumps(entry)}" for name, entry in names.items())


def rounded_up(value):
    """To two digits; 0 stays 0."""
    if value == 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.ceil(value / step) * step:.1e}")


if __name__ == "__main__":
    main()
