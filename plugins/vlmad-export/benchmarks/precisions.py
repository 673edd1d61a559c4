"""What an export changes on real images: AUROC, decisions, scores and maps, for each data set and precision.

`python plugins/vlmad-export/benchmarks/precisions.py DATA OUT.jsonl --recipes pocket-few-shot --precisions fp32 int8`

DATA holds folders ``*/CATEGORY/{train/good,test/good,test/defect}``. A line a data set, recipe, runtime and precision
is added to OUT; what is there already is not run again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx

import vlmad_core
import vlmad_edge
from vlmad_core.metrics.image import auroc
from vlmad_export import export_detector, writers
from vlmad_export.graph import DetectorGraph
from vlmad_export.onnx_file import to_onnx


def main() -> None:
    """Run what is not in OUT yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--recipes", nargs="+", default=["pocket-few-shot"])
    parser.add_argument("--precisions", nargs="+", default=["fp32", "fp16", "int8"])
    parser.add_argument("--to", nargs="+", default=["onnx"])
    parser.add_argument("--sets", nargs="+", help="names of categories; all by default")
    given = parser.parse_args()
    done = [json.loads(line) for line in given.out.read_text().splitlines()] if given.out.exists() else []
    known = {(row["set"], row["recipe"], row["to"], row["precision"]) for row in done}
    for folder in sorted(path.parent.parent for path in given.data.glob("*/*/train/good")):
        if given.sets and folder.name not in given.sets:
            continue
        for recipe in given.recipes:
            wanted = [(folder.name, recipe, to, precision) for to in given.to for precision in given.precisions]
            if wanted := [each for each in wanted if each not in known]:
                measure(folder, recipe, [(to, precision) for _, _, to, precision in wanted], given.out)


def measure(folder: Path, recipe: str, wanted: list[tuple[str, str]], out: Path) -> None:
    """One detector of one data set, in every wanted file."""
    good = folder / "train" / "good"
    detector = vlmad_core.build(recipe, device="cpu")
    if detector.memory_scorers:
        detector.fit(good, folder.name.lower(), calibrate=True)
    else:
        detector.class_name = folder.name.lower()
        detector.calibrate(good)
    normal, defect = (sorted((folder / "test" / kind).iterdir()) for kind in ("good", "defect"))
    labels = np.array([0] * len(normal) + [1] * len(defect))
    images = [*normal, *defect]
    started = time.process_time()
    before = detector.predict(images, batch_size=1)
    torch_ms = (time.process_time() - started) * 1000 / len(images)
    decisions = [detector.verdict(each).label for each in before]
    scores = np.array([each.score for each in before])
    found = to_onnx(DetectorGraph(detector))

    def traced(graph: DetectorGraph) -> onnx.ModelProto:
        copy = onnx.ModelProto()
        copy.CopyFrom(found)
        return copy

    writers.to_onnx = traced
    for to, precision in wanted:
        row = {"set": folder.name, "recipe": recipe, "to": to, "precision": precision}
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / ("d.onnx" if to == "onnx" else "d.xml")
            try:
                report = export_detector(detector, path, to=to, precision=precision, images=good, max_images=24)
            except vlmad_core.errors.VlmadError as error:
                row["refused"] = str(error)
            else:
                edge = vlmad_edge.load(path, threads=1)
                started = time.process_time()
                after = [edge.predict(image) for image in images]
                new = np.array([each.score for each in after])
                maps = [float(np.abs(a.raw_map - b.raw_map).max()) for a, b in zip(before, after, strict=True)]
                row |= {
                    "normal": len(normal),
                    "defect": len(defect),
                    "auroc_torch": float(auroc(scores, labels)),
                    "auroc": float(auroc(new, labels)),
                    "score_difference": float(np.abs(scores - new).max()),
                    "map_difference": max(maps),
                    "changed": sum(a != b.verdict.label for a, b in zip(decisions, after, strict=True)),
                    "cpu_ms": (time.process_time() - started) * 1000 / len(images),
                    "torch_cpu_ms": torch_ms,
                    "megabytes": report.size / 1e6,
                }
        with out.open("a") as file:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
