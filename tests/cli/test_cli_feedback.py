"""`vlmad feedback` in this process."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlmad_core import load

Vlmad = Callable[..., object]


def draw(folder: Path, count: int, seed: int, *, defect: bool = False) -> list[Path]:
    folder.mkdir()
    rng = np.random.default_rng(seed)
    for i in range(count):
        pixels = np.clip(128 + rng.normal(0, 10, (40, 40, 3)), 0, 255).astype(np.uint8)
        if defect:
            pixels[8:28, 8:28] = (255, 0, 0)
        Image.fromarray(pixels).save(folder / f"{folder.name}-{i:02}.png")
    return sorted(folder.iterdir())


def write(path: Path, labels: dict[Path, str]) -> Path:
    images = [
        {"path": str(image), "sha256": hashlib.sha256(image.read_bytes()).hexdigest(), "label": label}
        for image, label in labels.items()
    ]
    path.write_text(json.dumps({"format": "vlmad-feedback", "version": 1, "images": images}))
    return path


@pytest.fixture
def detector(vlmad: Vlmad, tmp_path: Path) -> Path:
    draw(tmp_path / "good", 19, 0)
    done = vlmad("fit", tmp_path / "good", "-r", "remember", "-c", "noise", "-o", tmp_path / "nut.vlmad")
    assert done.code == 0, done.err
    return tmp_path / "nut.vlmad"


def test_labels_change_the_detector_and_undo_brings_it_back(vlmad: Vlmad, detector: Path, tmp_path: Path):
    good, bad = draw(tmp_path / "more", 2, 1), draw(tmp_path / "bad", 1, 2, defect=True)
    feedback = write(tmp_path / "feedback.json", {good[0]: "good", good[1]: "good", bad[0]: "defect"})
    before = {path.name: path.read_bytes() for path in detector.iterdir()}
    done = vlmad("feedback", detector, feedback, "--false-alarms", "0.1")
    assert done.code == 0, done.err
    assert "joined     2 good images, remembered from now on" in done.out
    assert "defects    1 image joined the known ones" in done.out
    lines = {line.split()[0]: line for line in done.out.splitlines()}
    assert "false alarms among 21 good images, 0 missed of 1 defect" in lines["before"]
    assert "false alarms among 21 good images, 0 missed of 1 defect" in lines["after"]
    assert "chosen after their verdicts" in done.err and "nut.vlmad.former" in done.err
    assert len(load(detector).calibration.references) == 21
    assert "nothing is proved" in vlmad("predict", bad[0], "-d", detector).err
    undone = vlmad("feedback", detector, "--undo")
    assert undone.code == 0 and {path.name: path.read_bytes() for path in detector.iterdir()} == before
    assert len(load(detector).calibration.references) == 19


def test_json_has_the_numbers_and_nothing_changes_where_all_is_known(vlmad: Vlmad, detector: Path, tmp_path: Path):
    known = write(tmp_path / "feedback.json", {tmp_path / "good" / "good-00.png": "good"})
    done = vlmad("feedback", detector, known, "--json")
    found = json.loads(done.out)
    assert (found["n_unchanged"], found["former"], found["after"]["n_good"]) == (1, None, 19)
    assert not Path(f"{detector}.former").exists()


def test_what_is_wrong_is_a_sentence_and_the_files_stay(vlmad: Vlmad, detector: Path, tmp_path: Path):
    (good,) = draw(tmp_path / "more", 1, 1)
    feedback = write(tmp_path / "feedback.json", {good: "good"})
    whole, before = feedback.read_text(), {path.name: path.read_bytes() for path in detector.iterdir()}
    cases = [
        (whole[:40], ["feedback", detector, feedback], 1, "is not JSON"),
        ('{"images": []}', ["feedback", detector, feedback], 1, "is not feedback of vlmad"),
        (whole, ["feedback", detector], 2, "give the file that the page exported"),
        (whole, ["feedback", detector, feedback, "--undo"], 2, "takes the detector alone"),
        (whole, ["feedback", detector, "--undo"], 1, "has no former version"),
        (whole, ["feedback", tmp_path / "good", feedback], 1, "holds no detector"),
        (whole, ["feedback", detector, feedback, "--group", "tray"], 1, "matches nothing"),
        (whole.replace(good.name, "gone.png"), ["feedback", detector, feedback], 1, "not found"),
    ]
    for text, arguments, code, expected in cases:
        feedback.write_text(text)
        done = vlmad(*arguments)
        assert done.code == code and expected in " ".join(done.err.split()), (expected, done.err)
    good.write_bytes(good.read_bytes() + b"\0")
    feedback.write_text(whole)
    done = vlmad("feedback", detector, feedback)
    assert done.code == 1 and "more-00.png" in done.err and "replaced since it was scored" in " ".join(done.err.split())
    assert {path.name: path.read_bytes() for path in detector.iterdir()} == before
