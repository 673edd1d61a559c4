"""A study of 16-bit pictures: whatever reads one, reads it with the bits or the window of the study."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlmad_core.contracts import decode
from vlmad_core.contracts.values import Values
from vlmad_core.errors import ConfigError
from vlmad_study.run import study
from vlmad_study.settings import StudySettings

ASKED = {"backbone": "tiny", "shots": (0, 1), "seeds": 1, "class_names": {"*": "steel plate"}, "epochs": 1}


@pytest.fixture
def grey(data: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Two data sets of 16-bit grey whose values end at 4095, with other pixels."""
    second = shutil.copytree(data, tmp_path / "second")
    for root, sign in ((data, 1), (second, -1)):
        for path in [*root.glob("*/train/*/*.png"), *root.glob("*/test/*/*.png")]:
            values = np.asarray(Image.open(path).convert("L"))[::sign]
            Image.fromarray(values.astype(np.uint16) * 16).save(path)
    return data, second


@pytest.fixture
def bits_used(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """What the decoder is given for the files that are read."""
    used, real = set[int](), decode.kind_of

    def kind_of(image: Image.Image, bits: int | None = None) -> object:
        if image.mode.startswith("I;16"):
            used.add(bits or 0)
        return real(image, bits)

    monkeypatch.setattr(decode, "kind_of", kind_of)
    monkeypatch.setattr("vlmad_study.cost._SECONDS", 0.05)
    return used


@pytest.mark.slow
def test_every_step_reads_with_the_bits_of_the_study(grey, tmp_path, registry, bits_used):
    for name in ("learned-prompts", "dpam", "compositional"):
        registry.add(f"vlmad_{name.replace('-', '_')}.plugin", f"vlmad-{name}")
    asked = {**ASKED, "sections": ("prompts", "shots", "efficiency"), "train": grey[1], "train_images": 4, "bits": 12}
    report = study(grey[0], tmp_path / "out", registry=registry, **asked)
    assert bits_used == {12}
    assert (tmp_path / "out/prompts/ablation.json").exists()
    assert list((tmp_path / "out/images/examples").rglob("*.jpg"))
    assert list((tmp_path / "out/trained").rglob("detector.json"))
    assert "--bits 12" in report.markdown.read_text()


def test_scores_examples_and_costs_are_of_the_bits_of_the_study(grey, tmp_path, registry, bits_used):
    report = study(grey[0], tmp_path / "out", registry=registry, sections=("efficiency",), bits=12, **ASKED)
    assert bits_used == {12}
    assert "--bits 12" in report.markdown.read_text()


@pytest.mark.filterwarnings("ignore:.*fits in 12 of its 16 bits")
def test_without_bits_the_file_decides(grey, tmp_path, registry, bits_used):
    study(grey[0], tmp_path / "out", registry=registry, sections=("alignment",), **ASKED)
    assert bits_used == {0}


def test_options_of_the_command_reach_the_settings(typed, vlmad, tmp_path, monkeypatch):
    asked = {}

    def stop(chosen, *args, **kwargs):
        asked.update(StudySettings.model_validate(chosen).model_dump())
        raise KeyboardInterrupt

    monkeypatch.setattr("vlmad_study.run.study", stop)
    more = ("--bits", 12, "--workers", 3, "--batch-size", 5, "--device", "cpu", "--image-size", "16x24", "--model", "M")
    vlmad(*typed, "--out", tmp_path / "out", *more, "--weights", "w.pt")
    assert [asked[name] for name in ("bits", "workers", "batch_size", "device")] == [12, 3, 5, "cpu"]
    assert asked["backbone"]["config"] == {"image_size": (16, 24), "model": "M", "pretrained": "w.pt"}


def test_scores_examples_and_costs_are_of_the_window_of_the_study(grey, tmp_path, registry, monkeypatch):
    used, real = set[tuple[float, float] | None](), Values.to_rgb
    monkeypatch.setattr(Values, "to_rgb", lambda self, stored: used.add(self.window) or real(self, stored))
    monkeypatch.setattr("vlmad_study.cost._SECONDS", 0.05)
    monkeypatch.setattr(decode, "_decode_file", None)  # what reads the images in another way
    settings = {**ASKED, "bits": "window=0:4095;channels=1", "sections": ("efficiency",)}
    report = study(grey[0], tmp_path / "out", registry=registry, **settings)
    assert used == {(0, 4095)}
    assert "--window 0,4095 --channels 1" in report.markdown.read_text()
    with pytest.raises(ConfigError, match=r"made by another study: study\.bits was"):
        study(grey[0], tmp_path / "out", registry=registry, **{**settings, "bits": "window=0:2000;channels=1"})


def test_window_and_channels_of_the_command_reach_the_settings(typed, vlmad, tmp_path, monkeypatch):
    asked = {}

    def stop(chosen, *args, **kwargs):
        asked.update(StudySettings.model_validate(chosen).model_dump())
        raise KeyboardInterrupt

    monkeypatch.setattr("vlmad_study.run.study", stop)
    vlmad(*typed, "--out", tmp_path / "out", "--window", "0,4000", "--channels", "2")
    assert asked["bits"] == "window=0:4000;channels=2"
