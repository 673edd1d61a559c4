"""What verdicts, regions and the test for drift add to a prediction: both sides in one run, on the same images.

``python plugins/vlmad-pocket/benchmarks/verdict_cost.py --data FOLDER``
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

import vlmad_core
from vlmad_core.run import judge
from vlmad_core.run.drift import DriftMonitor
from vlmad_core.run.verdicts import make_decision


def main() -> None:
    """Print the median over repeats of the share that decisions add, and its range."""
    parser = argparse.ArgumentParser(description="Cost of verdicts.")
    parser.add_argument("--data", type=Path, required=True, help="a set in the MVTec layout, with train and test")
    parser.add_argument("--recipe", default="pocket-few-shot")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    detector = vlmad_core.build(arguments.recipe).fit(arguments.data / "train/good", calibrate=True)
    paths = sorted((arguments.data / "test").rglob("*.png"))[:48]
    height, width = detector.preprocess.size
    make_decision(detector).decide(*next(judge(detector, paths[:1]))[0])  # type: ignore[arg-type]  # imports, once
    shares = []
    for _ in range(arguments.repeats):
        decision = make_decision(detector)
        monitor = DriftMonitor(detector)
        spent, started = 0.0, time.perf_counter()
        for batch in judge(detector, paths):
            begun = time.perf_counter()
            for result, prediction in batch:
                if prediction is not None:
                    monitor.add(decision.decide(result, prediction))
            spent += time.perf_counter() - begun
        predicting = time.perf_counter() - started - spent
        shares.append(spent / predicting)
        each = 1000 / len(paths)
        print(f"predict {predicting * each:.1f} ms, verdict {spent * each:.2f} ms an image: {spent / predicting:.2%}")
    middle, span = np.median(shares), f"{min(shares):.2%} to {max(shares):.2%}"
    print(f"{arguments.recipe} at {height} x {width}: median {middle:.2%}, {span}")


if __name__ == "__main__":
    main()
