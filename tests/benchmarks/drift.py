"""What bfloat16 and float16 change beside float32, on real images: scores, maps, AUROC and verdicts of each method.

`python tests/benchmarks/drift.py DATA OUT.jsonl` with DATA/*/CATEGORY/{train/good,test/good,test/defect}. A line for
each category, recipe and precision is added to OUT; what is there is not run again. Each detector is fitted and
calibrated in its own precision, as a user would. Recipes run on 'pocket', which has the only weights that need no
download; what a precision changes depends on the weights.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

import vlmad_core
from vlmad_core.metrics.image import auroc

RECIPES = ("pocket", "pocket-few-shot", "patch-memory", "subspace", "foreground-memory", "musc")
PRECISIONS = ("fp32", "bf16", "fp16")


def main() -> None:
    """Run what is not in OUT yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--recipes", nargs="+", default=RECIPES)
    parser.add_argument("--sets", nargs="+", help="names of categories; all by default")
    parser.add_argument("--normals", type=int, default=12, help="images to fit and calibrate on")
    parser.add_argument("--most", type=int, default=20, help="test images of each label")
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    done = [json.loads(line) for line in given.out.read_text().splitlines()] if given.out.exists() else []
    known = {(row["set"], row["recipe"]) for row in done}
    for recipe in given.recipes:
        for folder in sorted(path.parent.parent for path in given.data.glob("*/*/train/good")):
            if (given.sets is None or folder.name in given.sets) and (folder.name, recipe) not in known:
                rows = measure(folder, recipe, given.normals, given.most, given.device)
                with given.out.open("a") as file:
                    file.write("".join(json.dumps(row) + "\n" for row in rows))


def measure(folder: Path, recipe: str, normals: int, most: int, device: str) -> list[dict[str, object]]:
    """A row for each precision."""
    good = sorted((folder / "train" / "good").iterdir())[:normals]
    groups = [sorted((folder / "test" / kind).iterdir())[:most] for kind in ("good", "defect")]
    images, labels = [*groups[0], *groups[1]], np.repeat([0, 1], list(map(len, groups)))
    found = {precision: judged(recipe, precision, device, folder.name, good, images) for precision in PRECISIONS}
    before, decisions = found["fp32"]
    scores = np.array([one.score for one in before])
    rows: list[dict[str, object]] = []
    for precision, (after, verdicts) in found.items():
        new = np.array([one.score for one in after])
        rows.append(
            {
                "set": folder.name,
                "recipe": recipe,
                "precision": precision,
                "normals": len(good),
                "good": len(groups[0]),
                "bad": len(groups[1]),
                "auroc": round(float(auroc(new, labels)), 6),
                "score_range": float(np.ptp(scores)),
                "score_difference": float(np.abs(new - scores).max()),
                "score_difference_mean": float(np.abs(new - scores).mean()),
                "map_difference": max(
                    float(np.abs(a.raw_map - b.raw_map).max()) for a, b in zip(before, after, strict=True)
                ),
                "changed": sum(a != b for a, b in zip(decisions, verdicts, strict=True)),
            }
        )
    return rows


def judged(
    recipe: str, precision: str, device: str, name: str, good: list[Path], images: list[Path]
) -> tuple[list[vlmad_core.Prediction], list[str]]:
    """Predictions and the labels of verdicts, by a detector that never was in another precision."""
    detector = vlmad_core.build(recipe, device=device, precision=precision, backbone="pocket")
    if detector.memory_scorers:
        detector.fit(good, name.lower(), calibrate=True)
    else:
        detector.class_name = name.lower()
        detector.calibrate(good)
    predictions = detector.predict(images, batch_size=4)
    return predictions, [detector.verdict(one).label for one in predictions]


if __name__ == "__main__":
    main()
