"""Draw the logs of the three training stages."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot


def read(path: Path) -> list[dict[str, float]]:
    """Rows of a log."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="the --out of train.py")
    folder = parser.parse_args().folder
    rows = read(folder / "joint.jsonl")
    heads = sorted({int(row["head"]) for row in rows})
    losses = [name for name in rows[0] if name not in ("head", "step")]
    figure, axes = pyplot.subplots(3, 4, figsize=(16, 10))
    for axis, name in zip(axes.flat, losses, strict=False):
        for head in heads:
            mine = [row for row in rows if row["head"] == head]
            axis.plot([row["step"] for row in mine], [row[name] for row in mine], linewidth=0.8, label=f"head {head}")
        axis.set_title(name)
    axes.flat[0].legend(fontsize=7)
    if (folder / "text.jsonl").exists():
        text = [row for row in read(folder / "text.jsonl") if row["stage"] == "text"]
        axes.flat[-2].plot([row["step"] for row in text], [row["cosine"] for row in text])
        axes.flat[-2].set_title("text, first stage: cosine to the teacher")
    if (folder / "places.jsonl").exists():
        placed = [row for row in read(folder / "places.jsonl") if "place" in row]
        axes.flat[-1].plot([row["step"] for row in placed], [row["place"] for row in placed])
        axes.flat[-1].set_title("text, second stage: distance to the place")
    for axis in axes.flat:
        axis.set_visible(axis.has_data())
    figure.tight_layout()
    figure.savefig(folder / "curves.png", dpi=80)


if __name__ == "__main__":
    main()
