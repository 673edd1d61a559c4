"""Find damaged solar cells, first by words alone, then with four good cells: the demo that ``make demo`` runs.

The pictures are real: electroluminescence photographs of the ELPV data set (Deitsch et al., Solar Energy 2021), from
the wheel ``elpv-dataset``. Sixty cells, half of them defective, are judged twice: zero-shot, where the detector is told
"solar cell" and nothing else, and with four functional cells to compare with. Nothing is downloaded, nothing is
trained, and no number below was tuned on these cells.
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
from vlmad_core import Pipeline
from vlmad_core.run import comparison, read_results, run

SHOWN = 6
"""Cells of each label on the contact sheet: the first that were drawn, not the best that were found."""


def main() -> None:
    """Choose cells, judge them twice, compare with the labels, draw."""
    parser = argparse.ArgumentParser(description="Find damaged solar cells by words, then with a few good ones.")
    parser.add_argument("--normals", type=int, default=4, help="functional cells to remember")
    parser.add_argument("--cells", type=int, default=60, help="other cells to judge, half of them defective")
    parser.add_argument("--kind", choices=["mono", "poly"], default="mono", help="kind of crystal")
    parser.add_argument("--seed", type=int, default=0, help="which cells are drawn")
    parser.add_argument("--out", type=Path, default=Path("solar-cells"))
    arguments = parser.parse_args()

    started = time.perf_counter()
    normals, labels = choose(arguments.kind, arguments.normals, arguments.cells, arguments.seed)
    say(f"{len(labels)} solar cells, half of them defective; the detector is told 'solar cell' and nothing else")

    by_words = vlmad_core.build("pocket")
    by_words.name = "solar cell"
    zero = arguments.out / "no-normals"
    alone = judge(by_words, labels, zero, "by words alone")

    compared = vlmad_core.build("pocket-few-shot", backbone=by_words.backbone).fit(normals, class_name="solar cell")
    few = arguments.out / f"{len(normals)}-normals"
    helped = judge(compared, labels, few, f"with {len(normals)} normals")

    sheet = comparison(
        {"by words alone": zero, f"with {len(normals)} normals": few},
        {
            kind: [path for path, label in labels.items() if label == kind][:SHOWN]
            for kind in ("defective", "functional")
        },
        arguments.out / "contact-sheet.png",
        title=f"Solar cells by words alone (AUROC {alone:.3f}) and with {len(normals)} normal ones ({helped:.3f}): "
        "the first of each kind, as drawn",
    )
    say(f"{time.perf_counter() - started:.0f} s in all; look at {sheet}")
    say(f"every cell: {zero / 'overlays'} and {few / 'overlays'}; numbers: results.csv beside them")


def judge(detector: Pipeline, labels: dict[str, str], out: Path, how: str) -> float:
    """Judge all cells into a folder; say, and give back, how well the scores fit the labels."""
    summary = run(detector, list(labels), out, resume=False)
    scores = {result.path: result.score for result in read_results(out)}
    good = np.array([scores[path] for path, label in labels.items() if label == "functional"])
    bad = np.array([scores[path] for path, label in labels.items() if label == "defective"])
    rate = f"{summary.images_per_second:.1f} images a second with maps and overlays"
    area = auroc(good, bad)
    say(f"{how + ':':16} AUROC {area:.3f} (1 is perfect, 0.5 is chance); {rate}")
    return area


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
