"""Find damaged solar cells with a handful of good ones: the demo that ``make demo`` runs.

The pictures are real: electroluminescence photographs of the ELPV data set (Deitsch et al., Solar Energy 2021), from
the wheel ``elpv-dataset``. A few functional cells are remembered; sixty others, half of them defective, are judged.
Nothing is trained, and no number below was tuned on these cells.
"""

from __future__ import annotations

import argparse
import csv
import random
import sys
import time
from importlib.resources import files
from pathlib import Path

import numpy as np

import vlmad_core
from vlmad_core.run import contact_sheet, read_results, run


def main() -> None:
    """Choose cells, fit, judge, compare with the labels, draw."""
    parser = argparse.ArgumentParser(description="Find damaged solar cells with a handful of good ones.")
    parser.add_argument("--normals", type=int, default=8, help="functional cells to remember")
    parser.add_argument("--cells", type=int, default=60, help="other cells to judge, half of them defective")
    parser.add_argument("--kind", choices=["mono", "poly"], default="mono", help="kind of crystal")
    parser.add_argument("--seed", type=int, default=0, help="which cells are drawn")
    parser.add_argument("--out", type=Path, default=Path("solar-cells"))
    arguments = parser.parse_args()

    started = time.perf_counter()
    normals, labels = choose(arguments.kind, arguments.normals, arguments.cells, arguments.seed)
    detector = vlmad_core.build("patch-memory").fit(normals, name="solar cell")
    say(f"remembered {len(normals)} functional cells; judging {len(labels)} others")

    summary = run(detector, list(labels), arguments.out, resume=False)
    scores = {result.path: result.score for result in read_results(arguments.out)}
    good = np.array([scores[path] for path, label in labels.items() if label == "functional"])
    bad = np.array([scores[path] for path, label in labels.items() if label == "defective"])
    sheet = contact_sheet(arguments.out, arguments.out / "contact-sheet.png", count=12, labels=labels)

    say(
        f"AUROC {auroc(good, bad):.3f} (1 is perfect, 0.5 is chance) on {len(good)} good and {len(bad)} defective cells"
    )
    seconds = time.perf_counter() - started
    say(f"{summary.images_per_second:.1f} images a second with maps and overlays; {seconds:.0f} s in all")
    say(f"look at {sheet} and {arguments.out / 'overlays'}; numbers are in {arguments.out / 'results.csv'}")


def choose(kind: str, normals: int, cells: int, seed: int) -> tuple[list[Path], dict[str, str]]:
    """Functional cells to remember, and others to judge with their labels; drawn by seed, none in both."""
    data = Path(str(files("elpv_dataset"))) / "data"
    found: dict[str, list[Path]] = {"0.0": [], "1.0": []}
    for line in csv.reader((data / "labels.csv").read_text().splitlines(), delimiter=" ", skipinitialspace=True):
        name, probability, *_, crystal = line
        if crystal == kind and probability in found:  # cells that the experts were sure of
            found[probability].append(data / name)
    draw = random.Random(seed)
    good, bad = (draw.sample(sorted(paths), len(paths)) for paths in found.values())
    half = cells // 2
    labels = {str(path): "functional" for path in good[normals : normals + half]}
    labels |= {str(path): "defective" for path in bad[: cells - half]}
    return good[:normals], labels


def auroc(good: np.ndarray, bad: np.ndarray) -> float:
    """The chance that a defective cell scores above a good one; ties count half."""
    above = (bad[:, None] > good).mean()
    return float(above + (bad[:, None] == good).mean() / 2)


def say(text: str) -> None:
    """A line for the person who watches."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
