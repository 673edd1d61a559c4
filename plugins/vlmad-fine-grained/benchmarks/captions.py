"""Captions on trays of cookies and on single cookies, trained on normal images, beside other detectors.

``python captions.py FOLDER OUT [METHOD ...]``: FOLDER is a category in the layout of MVTec AD, whose good training
images are whole cookies on a tray. Writes one row a method and set to ``OUT/results.csv`` and goes on after a stop.
``python captions.py FOLDER OUT alignment`` measures whether the patches of a part are nearer to its sentences.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scenes import KINDS, Scenes
from scipy import ndimage

import vlmad_core
from vlmad_core.contracts import l2_normalize
from vlmad_core.contracts.images import read, stack
from vlmad_core.datasets.base import Dataset, Sample
from vlmad_core.metrics import auroc, auroc_interval
from vlmad_core.pipeline import Pipeline

NORMALS, SEED, COUNT, SEEDS = 16, 5000, 12, 3
TRAY = {
    "class_name": "tray of cookies",
    "foreground": "six chocolate chip cookies in two rows",
    "background": "dark tray",
    "parts": [
        {"name": "cookie", "number": 6, "relation": "two rows of three", "texture": "light brown with dark chips"}
    ],
}
COOKIE = {
    "class_name": "cookie",
    "foreground": "one chocolate chip cookie",
    "background": "dark tray",
    "parts": [
        {"name": "cookie", "number": 1, "texture": "light brown"},
        {"name": "chocolate chip", "number": 8, "relation": "on the cookie", "texture": "dark brown"},
    ],
}
NAMES = ("cookie", "biscuit", "screw", "bottle", "carpet", "object")
LEARNED = {"captions-trained", "fine-grained"}
WORDS = {"pocket", "captions", "captions-trained"}
"""Methods without a memory."""
METHODS = (
    "parts",
    "pocket",
    "pocket-few-shot",
    "subspace",
    "captions",
    "captions-trained",
    "fine-grained-0",
    "fine-grained",
)
Images = list[Any]


def detector_of(method: str, captions: dict[str, Any], normals: Images, seed: int, folder: Path) -> Pipeline:
    """Built, with prompts that were trained where the method has such, and fitted where it has a memory."""
    own = method.startswith(("captions", "fine-grained"))
    overrides: dict[str, Any] = {"prompts.config.captions": captions} if own else {}
    if method in ("captions", "fine-grained-0"):
        overrides["prompts.config.n_context"] = 0
    if method.startswith("captions"):
        overrides |= {"scorers": [{"use": "vlmad-fine-grained:captions", "config": {"level": "block*"}}]}
    torch.manual_seed(seed)
    detector = vlmad_core.build("fine-grained" if own else method, overrides=overrides)
    detector.class_name = captions["class_name"]
    if method == "captions-trained" and not (folder / "detector.json").exists():
        data = Dataset.of("normals", [Sample(image, False, "product", "train", "good") for image in normals])
        report = vlmad_core.train(detector, data, folder, recipe="fine-grained", seed=seed)
        sys.stdout.write(f"  {method} {seed}: loss {report.loss:.4f}, {report.seconds:.0f} s\n")
    elif method in LEARNED:  # a memory stays out of training, so the prompts are the same
        trained = vlmad_core.load(folder)
        assert detector.prompts is not None and trained.prompts is not None
        detector.prompts.load_state_dict(trained.prompts.state_dict())
        detector.trained = trained.trained
    return detector if method in WORDS else detector.fit(normals)


def rows_of(root: Path, method: str, seed: int, folder: Path) -> list[list[Any]]:
    """Image AUROC of each set."""
    files = sorted((root / "train" / "good").glob("*.jpg"))
    half = len(files) // 2
    normal, tested = Scenes(files[half:]), Scenes(files[:half])
    trays = [normal.draw("good", SEED + i) for i in range(NORMALS)]
    test = {kind: [tested.draw(kind, SEED + 100 + i) for i in range(COUNT)] for kind in KINDS}
    single = {kind: sorted((root / "test" / kind).glob("*.jpg")) for kind in ("good", "defect")}
    found = []
    for name, captions, normals, images in (
        ("trays", TRAY, trays, test),
        ("cookies", COOKIE, files[:NORMALS], single),
    ):
        detector = detector_of(method, captions, normals, seed, folder / f"trained-{name}-{seed}")
        scores = {kind: [one.score for one in detector.predict(some)] for kind, some in images.items()}
        good = scores.pop("good")
        for kind, bad in scores.items():
            area = auroc(np.array(good + bad), np.array([0] * len(good) + [1] * len(bad)))
            low, high = auroc_interval(area, len(bad), len(good))
            found.append([method, seed, f"{name} {kind}", f"{area:.3f}", f"{low:.2f}", f"{high:.2f}"])
            sys.stdout.write(f"{' '.join(map(str, found[-1]))}\n")
            sys.stdout.flush()
    return found


def is_cookie(image: Image.Image, grid: tuple[int, int]) -> NDArray[np.bool_]:
    """Patches that are mostly cookie: warm colours, which the tray has not."""
    values = np.asarray(image.convert("RGB").resize((16 * grid[1], 16 * grid[0])), np.float32)
    warm = ndimage.gaussian_filter(values[..., 0] - values[..., 2], 2) > 28
    cells: NDArray[np.bool_] = warm.reshape(grid[0], 16, grid[1], 16).mean((1, 3)) > 0.5
    return cells


def alignment(root: Path, folder: Path) -> None:
    """How well sentences about the cookie tell cookie from tray, patch by patch, and how well other names do."""
    files = sorted((root / "train" / "good").glob("*.jpg"))
    scenes = Scenes(files[len(files) // 2 :])
    images = [scenes.draw("good", SEED + 200 + i) for i in range(COUNT)]
    part = {"number": 6, "relation": "", "texture": ""}
    cases = [("captions", name, {**part, "name": name}) for name in NAMES]
    cases += [(method, "cookie, all fields", TRAY["parts"][0]) for method in ("captions", "captions-trained")]  # type: ignore[index]
    for method, label, one in cases:
        detector = detector_of(method, {**TRAY, "parts": [one]}, [], 0, folder / "trained-trays-0")
        scorer: Any = detector.scorers[0]
        pixels = stack(next(iter(read(images, detector.preprocess, batch_size=COUNT, workers=1))))
        with torch.no_grad():
            features, texts = detector.extract(pixels)
            assert texts is not None
            vectors = l2_normalize(features[scorer.level].vectors)
            cosines = torch.einsum("bmd,bsd->bms", vectors, texts.vectors).flatten(0, 1).numpy()
            chosen = scorer.assign(features, texts).numpy().ravel()
        truth = np.stack([is_cookie(image, features[scorer.level].grid) for image in images]).ravel()
        own, ground = cosines[:, 2] + cosines[:, 3], cosines[:, 4] + cosines[:, 5]
        abnormal = auroc(cosines[:, 3] - cosines[:, 2], truth)
        sys.stdout.write(
            f"{method} | {label} | {auroc(own, truth):.3f} | {auroc(own - ground, truth):.3f} | "
            f"{(chosen == 1)[truth].mean():.2f} | {(chosen == 1)[~truth].mean():.2f} | {abnormal:.3f}\n"
        )
        sys.stdout.flush()


def main(root: str, out: str, *methods: str) -> None:
    """Each method that is not in the table yet."""
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    if methods == ("alignment",):
        return alignment(Path(root), folder)
    table = folder / "results.csv"
    done = {(row[0], row[1]) for row in csv.reader(table.open())} if table.exists() else set()
    for seed in range(SEEDS):
        for method in methods or METHODS:
            if (method, str(seed)) not in done and (seed == 0 or method in LEARNED):
                found = rows_of(Path(root), method, seed, folder)
                with table.open("a", newline="") as stream:
                    csv.writer(stream).writerows(found)
    return None


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
