"""Data sets in miniature, each in the layout in which its authors publish it."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

NUMBER = count()


def draw(path: Path, size: tuple[int, int] = (8, 8), mode: str = "RGB") -> Path:
    """A picture like no other one: its first pixels are a number that grows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(next(NUMBER)).integers(0, 255, (*size, 3), np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)
    return path


def mark(path: Path, value: int = 255, size: tuple[int, int] = (8, 8), rows: int = 2) -> Path:
    """A mask whose first rows are marked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros(size, np.uint8)
    pixels[:rows] = value
    Image.fromarray(pixels).save(path)
    return path


def mvtec(
    root: Path, category: str = "bottle", good: str = "good", bad: str = "scratch", ending: str = "_mask"
) -> Path:
    folder = root / category
    for i in range(3):
        draw(folder / f"train/{good}/{i:03}.png")
    for i in range(2):
        draw(folder / f"test/{good}/{i:03}.png")
        draw(folder / f"test/{bad}/{i:03}.png")
        mark(folder / f"ground_truth/{bad}/{i:03}{ending}.png")
    return root


def mvtec_ad(root: Path) -> Path:
    return mvtec(mvtec(root), "metal_nut", bad="bent")


def btad(root: Path) -> Path:
    return mvtec(mvtec(root, "01", "ok", "ko", ""), "03", "ok", "ko", "")


def mpdd(root: Path) -> Path:
    return mvtec(root, "bracket_black", bad="hole")


def visa_converted(root: Path) -> Path:
    return mvtec(root, "pcb1", bad="bad", ending="")


def mvtec_loco(root: Path) -> Path:
    folder = root / "pushpins"
    for i in range(2):
        draw(folder / f"train/good/{i:03}.png")
        draw(folder / f"validation/good/{i:03}.png")
        draw(folder / f"test/good/{i:03}.png")
        draw(folder / f"test/logical_anomalies/{i:03}.png")
        mark(folder / f"ground_truth/logical_anomalies/{i:03}/000.png", 255)
        mark(folder / f"ground_truth/logical_anomalies/{i:03}/001.png", 254, rows=4)
    draw(folder / "test/structural_anomalies/000.png")
    mark(folder / "ground_truth/structural_anomalies/000/000.png", 253, rows=1)
    config = [
        {"defect_name": "missing", "pixel_value": 255, "saturation_threshold": 10, "relative_saturation": False},
        {"defect_name": "extra", "pixel_value": 254, "saturation_threshold": 0.5, "relative_saturation": True},
        {"defect_name": "broken", "pixel_value": 253, "saturation_threshold": 100, "relative_saturation": False},
    ]
    (folder / "defects_config.json").write_text(json.dumps(config))
    return root


def mvtec_ad_2(root: Path) -> Path:
    folder = root / "vial"
    for part in ("train/good", "validation/good", "test_public/good", "test_public/bad"):
        draw(folder / part / "000_regular.png")
    mark(folder / "test_public/ground_truth/bad/000_regular_mask.png")
    draw(folder / "test_private/000_regular.png")
    draw(folder / "test_private_mixed/000_mixed.png")
    return root


def visa(root: Path) -> Path:
    rows = ["object,split,label,image,mask"]
    for i in range(3):
        image = draw(root / f"candle/Data/Images/Normal/{i:04}.JPG").relative_to(root)
        rows.append(f"candle,{'train' if i < 2 else 'test'},normal,{image},")
    image = draw(root / "candle/Data/Images/Anomaly/000.JPG").relative_to(root)
    mask = mark(root / "candle/Data/Masks/Anomaly/000.png", 1).relative_to(root)
    rows.append(f"candle,test,anomaly,{image},{mask}")
    (root / "split_csv").mkdir()
    for name in ("1cls", "2cls_fewshot"):
        (root / f"split_csv/{name}.csv").write_text("\n".join(rows) + "\n")
    (root / "candle/image_anno.csv").write_text(f'image,label,mask\n{image},"wax melted out,other",{mask}\n')
    return root


def real_iad(root: Path) -> Path:
    folder = root / "realiad_1024/audiojack"
    good = [f"OK/S000{i}/audiojack_000{i}_OK_C1.jpg" for i in range(3)]
    bad, mask = "NG/BX/S0004/audiojack_0004_NG_BX_C1.jpg", "NG/BX/S0004/audiojack_0004_NG_BX_C1.png"
    for name in (*good, bad):
        draw(folder / name)
    mark(folder / mask)

    def item(name: str, kind: str, mask: str | None = None) -> dict[str, str | None]:
        return {"category": "audiojack", "anomaly_class": kind, "image_path": name, "mask_path": mask}

    split = {
        "meta": {"prefix": "audiojack/", "normal_class": "OK", "pre_transform": []},
        "train": [item(name, "OK") for name in good[:2]],
        "test": [item(good[2], "OK"), item(bad, "BX", mask)],
    }
    (root / "realiad_jsons").mkdir()
    (root / "realiad_jsons/audiojack.json").write_text(json.dumps(split))
    return root


def kolektor_sdd(root: Path) -> Path:
    for item in ("kos01", "kos02"):
        for i in range(2):
            draw(root / item / f"Part{i}.jpg", (12, 5), "L")
            mark(root / item / f"Part{i}_label.bmp", 255 * (item == "kos02" and i == 1), (12, 5))
    return root


def kolektor_sdd2(root: Path) -> Path:
    for split, start in (("train", 10000), ("test", 20000)):
        for i in range(start, start + 3):
            draw(root / split / f"{i}.png", (12, 5))
            mark(root / split / f"{i}_GT.png", 255 * (i == start), (12, 5))
    return root


def dagm(root: Path) -> Path:
    for name in ("Class1", "Class2", "Class10"):
        for part in ("Train", "Test"):
            for i in range(1, 4):
                draw(root / name / part / f"000{i}.PNG", mode="L")
            mark(root / name / part / "Label/0002_label.PNG")
            (root / name / part / "Label/Labels.txt").write_text("1\n")
    return root


def elpv(root: Path) -> Path:
    lines = []
    for i, (label, kind) in enumerate(((0.0, "mono"), (1 / 3, "mono"), (2 / 3, "poly"), (1.0, "poly"), (0.0, "poly"))):
        draw(root / f"images/cell000{i + 1}.png", mode="L")
        lines.append(f"images/cell000{i + 1}.png  {label:<18} {kind}")
    (root / "labels.csv").write_text("\n".join(lines) + "\n")
    return root


def mvtec_layout(root: Path) -> Path:
    return mvtec(root, "own_part")


def folders(root: Path) -> Path:
    for i in range(4):
        draw(root / f"good/{i}.png")
    draw(root / "defects/loose.png")
    mark(root / "masks/loose.png")
    draw(root / "defects/crack/a.png")
    mark(root / "masks/crack/a_mask.png")
    return root


def manifest(root: Path) -> Path:
    draw(root / "a.png")
    draw(root / "b.png")
    mark(root / "c.png")
    (root / "manifest.csv").write_text(
        "image,label,category,split,kind,mask\na.png,good,cap,train,,\nb.png,1,cap,,dent,c.png\n"
    )
    return root


TREES: dict[str, Callable[[Path], Path]] = {
    "mvtec-ad": mvtec_ad,
    "mvtec-ad-2": mvtec_ad_2,
    "mvtec-loco": mvtec_loco,
    "visa": visa,
    "visa-converted": visa_converted,
    "btad": btad,
    "mpdd": mpdd,
    "real-iad": real_iad,
    "kolektor-sdd": kolektor_sdd,
    "kolektor-sdd2": kolektor_sdd2,
    "dagm": dagm,
    "elpv": elpv,
    "mvtec-layout": mvtec_layout,
    "folders": folders,
    "manifest": manifest,
}


@pytest.fixture
def tree(tmp_path: Path) -> Callable[[str], Path]:
    """``tree("btad")``: the root of a new miniature."""

    def plant(name: str) -> Path:
        root = tmp_path / name
        root.mkdir()
        return TREES[name](root)

    return plant


@pytest.fixture
def paint() -> Callable[..., Path]:
    return draw


@pytest.fixture
def mask() -> Callable[..., Path]:
    return mark


@pytest.fixture
def layouts() -> tuple[str, ...]:
    return tuple(TREES)
