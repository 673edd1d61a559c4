"""Whether promised false-alarm rates are kept on real normal images: ``make verdicts DATA=FOLDER``.

Each image is scored once and the scores are kept. Then the good images are split 200 times at random into normals that
set a threshold and images that it is tried on, and beside the calibrated thresholds four usual rules are tried on the
same splits. If scores do not tie, the number of false alarms of one split is beta-binomial, so about 95 % of the splits
lie in its central 95 % interval. A few-shot detector is tried likewise: it remembers 20 good images of each split and
is calibrated with their leave-one-out scores.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from few_shot_splits import few_shot_scores
from scipy.stats import betabinom
from sets import RealSet, real_sets

import vlmad_core
from vlmad_core.inspection.conformal import split_rank, upper_threshold

RATES = (0.2, 0.1, 0.05, 0.01)
SPLITS = 200
REFERENCES = 20
"""Images that the few-shot detector remembers: each is scored without itself, for the promise of CV+."""


def main() -> None:
    """Score what is not scored yet, then write the lines and the table."""
    parser = argparse.ArgumentParser(description="Promised and realised false-alarm rates.")
    parser.add_argument("--data", type=Path, required=True, help="sets in the MVTec layout")
    parser.add_argument("--recipe", default="pocket", help="one that needs no normal images")
    parser.add_argument("--few-shot", default="pocket-few-shot", help="one that remembers; '' leaves these rows out")
    parser.add_argument("--max-images", type=int, default=240, help="scored images of each label and set")
    parser.add_argument("--few-shot-images", type=int, default=80, help="good ones of each set; half as many defects")
    parser.add_argument("--sets", nargs="*", default=[], help="only these; all by default")
    parser.add_argument("--cache", type=Path, default=Path(".verdicts"), help="folder for the scores")
    parser.add_argument("--out", type=Path, default=Path("docs/results/verdicts.jsonl"))
    arguments = parser.parse_args()
    detector = vlmad_core.build(arguments.recipe)
    rows: list[dict[str, Any]] = []
    for real in real_sets(arguments.data, arguments.max_images):
        if not arguments.sets or real.name in arguments.sets:
            good, bad = scored(detector, real, arguments.recipe, arguments.cache)
            about = {"recipe": arguments.recipe, "set": real.name, "auroc": _auroc(good, bad)}
            rows += [{**about, **row} for row in measure(good, bad)]
            if arguments.few_shot:
                rows += few_shot_rows(arguments.few_shot, real, arguments.few_shot_images, arguments.cache)
    arguments.out.write_text("".join(json.dumps(rounded(row)) + "\n" for row in rows))
    print(table(rows))


def scored(detector: vlmad_core.Pipeline, real: RealSet, recipe: str, cache: Path) -> tuple[np.ndarray, np.ndarray]:
    """``[n]`` scores of the good and of the defective images, from the cache where they are there."""
    cache.mkdir(parents=True, exist_ok=True)
    labels = {**dict.fromkeys(real.normals, 0), **real.test}
    file = cache / f"{recipe}-{real.name.replace('/', '-')}-{len(labels)}.json"
    if not file.exists():
        found = detector.stream(list(labels), real.thing)
        pairs = [(label, one.score) for label, one in zip(labels.values(), found, strict=True)]
        file.write_text(json.dumps(pairs))
    values = np.array(json.loads(file.read_text()))
    return values[values[:, 0] == 0, 1], values[values[:, 0] == 1, 1]


def measure(good: np.ndarray, bad: np.ndarray) -> Iterator[dict[str, Any]]:
    """A line for each rate and each rule."""
    n = len(good) // 2
    draws = np.random.default_rng(0)
    splits = [draws.permutation(len(good)) for _ in range(SPLITS)]
    halves = [(good[order[:n]], good[order[n:]]) for order in splits]
    for alpha in RATES:
        rank = split_rank(n, alpha)
        if rank:
            row = summary("conformal", alpha, halves, bad, lambda normals, alpha=alpha: upper_threshold(normals, alpha))
            low, high = betabinom(len(good) - n, rank, n + 1 - rank).interval(0.95)
            counts = [int((test > upper_threshold(normals, alpha)).sum()) for normals, test in halves]
            inside = float(np.mean([low <= count <= high for count in counts]))
            yield {**row, "normals": n, "expected": rank / (n + 1), "inside_interval": inside}
    for name, rule in usual_rules(bad).items():
        yield {**summary(name, None, halves, bad, rule), "normals": n}


def few_shot_rows(recipe: str, real: RealSet, most: int, cache: Path) -> Iterator[dict[str, Any]]:
    """A line for each rate that 20 remembered images carry."""
    labels = {**dict.fromkeys(real.normals, 0), **real.test}
    good = [path for path, label in labels.items() if label == 0][:most]
    bad = [path for path, label in labels.items() if label == 1][: most // 2]
    detector = vlmad_core.build(recipe)
    file = cache / f"{recipe}-{real.name.replace('/', '-')}-{len(good)}-{len(bad)}.pt"
    scores = few_shot_scores(detector, real, good, bad, file, REFERENCES)
    draws = np.random.default_rng(0)
    splits = [scores.split(draws.permutation(len(good)), REFERENCES) for _ in range(SPLITS)]
    auroc = float(np.mean([_auroc(split.good, split.bad) for split in splits]))
    for alpha in RATES:
        if split_rank(REFERENCES, alpha):
            limits = [upper_threshold(split.references, alpha) for split in splits]
            rates = np.array([(split.good > t).mean() for t, split in zip(limits, splits, strict=True)])
            found = float(np.mean([(split.bad > t).mean() for t, split in zip(limits, splits, strict=True)]))
            low, high = np.quantile(rates, [0.025, 0.975]).tolist()
            row = {"recipe": recipe, "set": real.name, "auroc": auroc, "rule": "leave-one-out", "alpha": alpha}
            row |= {"rate": float(rates.mean()), "low": low, "high": high, "found": found, "normals": REFERENCES}
            yield {**row, "expected": split_rank(REFERENCES, alpha) / (REFERENCES + 1), "proved": 2 * alpha}


def _auroc(good: np.ndarray, bad: np.ndarray) -> float:
    labels = np.r_[np.zeros(len(good), int), np.ones(len(bad), int)]
    return float(vlmad_core.metrics.auroc(np.r_[good, bad], labels))


def usual_rules(bad: np.ndarray) -> dict[str, Callable[[np.ndarray], float]]:
    """What others do; the F1 threshold is tuned on the labels of the very images that it is reported on."""
    return {
        "mean + 3 sigma": lambda normals: float(normals.mean() + 3 * normals.std()),
        "maximum": lambda normals: float(normals.max()),
        "P95 x 1.421": lambda normals: float(1.421 * np.quantile(normals, 0.95)),
        "F1-adaptive": lambda normals: best_f1(normals, bad),
    }


def best_f1(good: np.ndarray, bad: np.ndarray) -> float:
    """The score above which F1 is highest."""
    candidates = np.unique(np.concatenate([good, bad]))
    hits = (bad[None] > candidates[:, None]).sum(1)
    alarms = (good[None] > candidates[:, None]).sum(1)
    return float(candidates[np.argmax(2 * hits / (hits + alarms + len(bad)))])


def summary(
    name: str,
    alpha: float | None,
    halves: list[tuple[np.ndarray, np.ndarray]],
    bad: np.ndarray,
    rule: Callable[[np.ndarray], float],
) -> dict[str, Any]:
    """Mean and central 95 % of the splits' false-alarm rates, and the mean share of defects found."""
    thresholds = [rule(normals) for normals, _ in halves]
    rates = np.array([(test > t).mean() for t, (_, test) in zip(thresholds, halves, strict=True)])
    found = float(np.mean([(bad > t).mean() for t in thresholds]))
    low, high = np.quantile(rates, [0.025, 0.975]).tolist()
    return {"rule": name, "alpha": alpha, "rate": float(rates.mean()), "low": low, "high": high, "found": found}


def rounded(row: dict[str, Any]) -> dict[str, Any]:
    """Nine digits, as in the other result files."""
    return {name: round(value, 9) if isinstance(value, float) else value for name, value in row.items()}


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        "| set | rule | promised | realised | 95 % of splits | in the interval | defects found |",
        "|---|" * 1 + "---|" * 6,
    ]
    for row in rows:
        promised = "-" if row["alpha"] is None else f"{row['alpha']:.0%}"
        inside = f"{row['inside_interval']:.0%}" if "inside_interval" in row else "-"
        spread = f"{row['low']:.1%} to {row['high']:.1%}"
        cells = [row["set"], row["rule"], promised, f"{row['rate']:.1%}", spread, inside, f"{row['found']:.0%}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
