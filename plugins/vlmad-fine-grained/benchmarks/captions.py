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
from vlmad_core.datasets.base import Dataset, Sample
from vlmad_core.metrics import auroc, auroc_interval
from vlmad_core.pipeline import Pipeline

NORMALS, SEED, COUNT, SEEDS = 16, 5000, 12, (0, 1, 2)
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
    elif method in ("captions-trained", "fine-grained"):  # a memory stays out of training, so the prompts are the same
        trained = vlmad_core.load(folder)
        assert detector.prompts is not None and trained.prompts is not None
        detector.prompts.load_state_dict(trained.prompts.state_dict())
        detector.trained = trained.trained
    return detector if method in WORDS else detector.fit(normals)


def rows_of(root: Path, method: str, folder: Path) -> list[list[Any]]:
    """Image AUROC of each set, for each seed where something is learned."""
    files = sorted((root / "train" / "good").glob("*.jpg"))
    half = len(files) // 2
    normal, tested = Scenes(files[half:]), Scenes(files[:half])
    trays = [normal.draw("good", SEED + i) for i in range(NORMALS)]
    test = {kind: [tested.draw(kind, SEED + 100 + i) for i in range(COUNT)] for kind in KINDS}
    single = {kind: sorted((root / "test" / kind).glob("*.jpg")) for kind in ("good", "defect")}
    found = []
    for seed in SEEDS if method in ("captions-trained", "fine-grained") else SEEDS[:1]:
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
    """How well "fits the cookie's sentences better than the tray's" tells cookie from tray, patch by patch."""
    from vlmad_core.contracts.images import read, stack

    files = sorted((root / "train" / "good").glob("*.jpg"))
    scenes = Scenes(files[len(files) // 2 :])
    images = [scenes.draw("good", SEED + 200 + i) for i in range(COUNT)]
    for name in ("cookie", "biscuit", "screw", "bottle", "carpet", "object"):
        for method in ("captions", "captions-trained") if name == "cookie" else ("captions",):
            captions = {**TRAY, "parts": [{**TRAY["parts"][0], "name": name, "texture": ""}]}  # type: ignore[dict-item]
            if name == "cookie" and method == "captions-trained":
                captions = TRAY
            normals = [scenes.draw("good", SEED + i) for i in range(NORMALS)]
            detector = detector_of(method, captions, normals, 0, folder / "trained-trays-0")
            scorer: Any = detector.scorers[0]
            pixels = stack(next(iter(read(images, detector.preprocess, batch_size=COUNT, workers=1))))
            with torch.no_grad():
                features, texts = detector.extract(pixels)
                fits, _ = scorer._fits(features, texts)
                chosen = scorer.assign(features, texts)
            truth = np.stack([is_cookie(image, features[scorer.level].grid) for image in images]).ravel()
            gap = (fits[..., 0] - fits[..., 1]).numpy().ravel()
            right = float(((chosen.numpy().ravel() == 1) == truth).mean())
            means = [
                float(fits[..., i].numpy().ravel()[truth == side].mean()) for i in (0, 1) for side in (True, False)
            ]
            sys.stdout.write(
                f"{method} '{name}': patch AUROC {auroc(gap, truth):.3f}, right {right:.3f}; "
                f"{name} sentences on cookie {means[0]:.3f}, on tray {means[1]:.3f}; "
                f"tray sentences on cookie {means[2]:.3f}, on tray {means[3]:.3f}\n"
            )
            sys.stdout.flush()


def main(root: str, out: str, *methods: str) -> None:
    """Each method that is not in the table yet."""
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    if methods == ("alignment",):
        return alignment(Path(root), folder)
    table = folder / "results.csv"
    done = {row[0] for row in csv.reader(table.open())} if table.exists() else set()
    for method in methods or METHODS:
        if method not in done:
            found = rows_of(Path(root), method, folder)
            with table.open("a", newline="") as stream:
                csv.writer(stream).writerows(found)
    return None


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
