"""Real pictures to report on: where they are, what is known of each. Nothing of vlmad was trained or tuned on them."""

from __future__ import annotations

import csv
import random
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

__all__ = ["RealSet", "real_sets"]


@dataclass(frozen=True)
class RealSet:
    """One kind of object.

    Args:
        name: As in the table.
        thing: What the pictures show, for the prompts.
        normals: References are drawn from these; none of them is judged.
        test: Path to label, 1 for defective.
        masks: Path to mask, for the defective ones; empty where there are none.
    """

    name: str
    thing: str
    normals: tuple[Path, ...]
    test: dict[Path, int]
    masks: dict[Path, Path]


def real_sets(folder: Path, most: int) -> list[RealSet]:
    """Every set here: a folder in the MVTec layout, and the wheels ``elpv-dataset`` and ``conformal-clip-data``.

    Args:
        folder: Holds ``set/category/{train,test,ground_truth}``.
        most: Judged images of each label and set; more are drawn by a fixed seed.
    """
    things = {"cookie": "cookie", "PA_": "paper"}
    categories = sorted(path.parent for path in folder.glob("*/*/test"))
    named = [next((word for start, word in things.items() if c.name.startswith(start)), c.name) for c in categories]
    folders = [_mvtec(category, thing) for category, thing in zip(categories, named, strict=True)]
    return [*folders, _cells("mono", most), _cells("poly", most), _textile(most)]


def _mvtec(folder: Path, thing: str) -> RealSet:
    good, bad = sorted((folder / "test/good").iterdir()), sorted((folder / "test/defect").iterdir())
    masks = {path: folder / "ground_truth/defect" / f"{path.stem}_mask.png" for path in bad}
    test = dict.fromkeys(good, 0) | dict.fromkeys(bad, 1)
    return RealSet(
        f"{folder.parent.name}/{folder.name}", thing, tuple(sorted((folder / "train/good").iterdir())), test, masks
    )


def _cells(kind: str, most: int) -> RealSet:
    data = Path(str(files("elpv_dataset"))) / "data"
    by_label: dict[str, list[Path]] = {"0.0": [], "1.0": []}  # the cells that the experts were sure of
    for line in csv.reader((data / "labels.csv").read_text().splitlines(), delimiter=" ", skipinitialspace=True):
        if line[-1] == kind and line[1] in by_label:
            by_label[line[1]].append(data / line[0])
    return _split(f"elpv/{kind}", "solar cell", by_label["0.0"], by_label["1.0"], most)


def _textile(most: int) -> RealSet:
    data = Path(str(files("conformal_clip_data"))) / "data/textile_images/simulated"
    good, local, whole = (sorted((data / kind).iterdir()) for kind in ("nominal", "local", "global"))
    return _split("textile", "woven fabric", good, local + whole, most)


def _split(name: str, thing: str, good: list[Path], bad: list[Path], most: int) -> RealSet:
    draw = random.Random(0)
    draw.shuffle(good)
    draw.shuffle(bad)
    normals, judged = good[:64], good[64 : 64 + most]
    return RealSet(name, thing, tuple(normals), dict.fromkeys(judged, 0) | dict.fromkeys(bad[:most], 1), {})
