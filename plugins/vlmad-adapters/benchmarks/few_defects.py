"""A few defects beside normal images, against twice as many normal images: ``python few_defects.py --help``.

Recipe `probe` from 8 normal and 8 defective images, recipes without training from 16 normal ones, on solar cells and on
textile. Draws of images differ; the judged images are the same in all draws and never among those. Rows are appended as
they come, with the score of every judged image, so a run that was stopped goes on; ``--table`` prints the table.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "vlmad-pocket" / "benchmarks"))
from sets import RealSet, real_sets
from stored_tower import StoredTower

import vlmad_core
from vlmad_adapters.methods import Setting, fit_probe, learn, methods_of
from vlmad_core import Pipeline, Sample
from vlmad_core.metrics import auroc

NORMALS, POOL = 16, 64
PLAN = (
    ("probe", 8, 8),
    ("patch-memory", 8, 0),
    ("patch-memory", 16, 0),
    ("pocket-few-shot", 16, 0),
    ("prompts", 8, 8),
)
"""Recipe, or what `vlmad adapt` trains; normal images; defective ones."""
_LAYERS = {"probe": (7, 8), "patch-memory": (7, 8), "pocket-few-shot": (7, 8, 9), "prompts": (7, 8, 9)}
_DRAWS = 2000


def main() -> None:
    """Measure what is not measured yet."""
    parser = argparse.ArgumentParser(description="A few defects beside normal images.")
    parser.add_argument("--draws", type=int, default=5, help="of images to learn from")
    parser.add_argument("--max-images", type=int, default=60, help="judged images of each label")
    parser.add_argument("--sets", nargs="*", default=["elpv/mono", "elpv/poly", "textile"])
    parser.add_argument("--recipes", nargs="*", default=[key[0] for key in PLAN])
    parser.add_argument("--out", type=Path, default=Path("few-defects.jsonl"))
    parser.add_argument("--features", type=Path, default=Path(".few-defects"), help="folder for features")
    parser.add_argument(
        "--table", action="store_true", help="print the table, write it beside as JSON lines, and measure nothing"
    )
    given = parser.parse_args()
    rows = [json.loads(line) for line in given.out.read_text().splitlines()] if given.out.exists() else []
    if given.table:
        sys.stdout.write(table(rows))
        given.out.with_suffix(".summary.jsonl").write_text("".join(json.dumps(row) + "\n" for row in summary(rows)))
        return
    have = {(row["recipe"], row["normals"], row["set"], row["draw"]) for row in rows}
    empty = Path(__file__).parent / "no-folder"
    sets = {one.name: one for one in real_sets(empty, given.max_images)}
    more = {one.name: one for one in real_sets(empty, 10_000)}  # the same order: the rest is not judged
    for draw in range(given.draws):
        for name in given.sets:
            judged = {*sets[name].test}
            defects = [path for path, label in more[name].test.items() if label and path not in judged][:POOL]
            for recipe, normals, bad in PLAN:
                if recipe not in given.recipes or (recipe, normals, name, draw) in have:
                    continue
                row = measure(sets[name], defects, recipe, normals, bad, draw, given.features)
                with given.out.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                sys.stdout.write(f"{name}, draw {draw}, {recipe}, {normals} + {bad}: {row['auroc']:.3f}\n")
                sys.stdout.flush()


def measure(
    real: RealSet, defects: list[Path], recipe: str, normals: int, bad: int, draw: int, features: Path
) -> dict[str, Any]:
    """One row. The first normal images of a draw are the same for all recipes."""
    detector = make(recipe, features)
    detector.class_name = real.thing
    detector.rotations = "off"  # the same for all: a rotated copy would go through the tower again
    rng = random.Random(draw)
    good = rng.sample(list(real.normals), NORMALS)[:normals]
    wrong = rng.sample(defects, 8)[:bad]
    defective = [Sample(path, True, real.thing, "train") for path in wrong]
    if recipe == "prompts":
        normal = [Sample(path, False, real.thing, "train") for path in good]
        with TemporaryDirectory() as folder:
            learn(detector, normal, defective, Setting(real.thing, seed=draw), Path(folder) / "training")
        detector.eval()
    detector.fit(good)
    if recipe == "probe":
        fit_probe(detector, defective, Setting())
    paths = list(real.test)
    scores = [prediction.score for prediction in detector.stream(paths)]
    labels = [real.test[path] for path in paths]
    return {
        "set": real.name,
        "recipe": recipe,
        "normals": normals,
        "defects": bad,
        "draw": draw,
        "auroc": round(auroc(np.array(scores), np.array(labels)), 6),
        "labels": labels,
        "scores": [round(score, 6) for score in scores],
    }


_made: dict[str, Pipeline] = {}


def make(recipe: str, features: Path) -> Pipeline:
    """The detector, on a tower that keeps its features."""
    if recipe not in _made or recipe == "prompts":  # what was trained for another draw must not stay
        torch.manual_seed(0)
        trained = recipe == "prompts"
        spec = methods_of([recipe], has_defects=True)[-1].spec if trained else recipe
        detector = vlmad_core.build(spec if isinstance(spec, str) else dict(spec))
        detector.backbone.vision = StoredTower(detector.backbone.vision, features, _LAYERS[recipe])
        _made[recipe] = detector
    return _made[recipe]


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean image AUROC over the draws, and the probe less each of the others."""
    found = []
    for name in dict.fromkeys(row["set"] for row in rows):
        own = [row for row in rows if row["set"] == name]
        by_key = {key: [row for row in own if (row["recipe"], row["normals"]) == key[:2]] for key in PLAN}
        for key in (key for key in PLAN if by_key[key]):
            draws = {row["draw"] for row in by_key[key]} & {row["draw"] for row in by_key[PLAN[0]]}
            of = [row for row in by_key[key] if row["draw"] in draws]
            values = [row["auroc"] for row in of]
            line = {"set": name, "recipe": key[0], "normals": key[1], "defects": key[2], "draws": len(of)}
            line |= {"good": of[0]["labels"].count(0), "bad": of[0]["labels"].count(1)}
            line |= {
                "auroc": round(float(np.mean(values)), 6),
                "auroc_lowest": min(values),
                "auroc_highest": max(values),
            }
            if key is not PLAN[0]:
                line |= difference([row for row in by_key[PLAN[0]] if row["draw"] in draws], of)
            found.append(line)
    return found


def table(rows: list[dict[str, Any]]) -> str:
    """The summary as Markdown."""
    lines = [
        "| set | method | normal + defective | draws | image AUROC | lowest to highest draw | probe less this, 95 % |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in summary(rows):
        message = ""
        if "difference" in row:
            message = f"{row['difference']:+.3f} ({row['difference_low']:+.3f} to {row['difference_high']:+.3f})"
        lines.append(
            f"| {row['set']} | `{row['recipe']}` | {row['normals']} + {row['defects']} | {row['draws']} | "
            f"{row['auroc']:.3f} | {row['auroc_lowest']:.3f} to {row['auroc_highest']:.3f} | {message} |"
        )
    return "\n".join(lines) + "\n"


def difference(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> dict[str, float]:
    """Of the mean AUROC over draws, with 95 % over judged images that are drawn with replacement."""
    labels = np.array(first[0]["labels"], bool)
    wins = sum(_wins(row["scores"], labels) for row in first) / len(first)
    wins = wins - sum(_wins(row["scores"], labels) for row in second) / len(second)
    rng, (bad, good) = np.random.default_rng(0), wins.shape
    found = [wins[rng.integers(bad, size=bad)][:, rng.integers(good, size=good)].mean() for _ in range(_DRAWS)]
    low, high = np.percentile(found, [2.5, 97.5])
    names = ("difference", "difference_low", "difference_high")
    return {name: round(float(value), 6) for name, value in zip(names, (wins.mean(), low, high), strict=True)}


def _wins(scores: list[float], labels: np.ndarray) -> np.ndarray:
    values = np.array(scores)
    bad, good = values[labels][:, None], values[~labels][None]
    return (bad > good) + (bad == good) / 2


if __name__ == "__main__":
    main()
