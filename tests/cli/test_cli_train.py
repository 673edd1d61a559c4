"""`vlmad train` and `vlmad import`: from a folder to a detector that predicts."""

from __future__ import annotations

import json
import signal

import numpy as np
import pytest
import torch
from PIL import Image

PARTS = """
import torch
from dataclasses import replace
from torch import nn
from vlmad_core.contracts import Extractor, Features
from vlmad_core.builtin.patches import Patches

class Map(Patches):
    def __init__(self, config, backbone):
        super().__init__(config, backbone)
        self.map = nn.Linear(backbone.vision.dim, backbone.vision.dim)

    def extract_frozen(self, vision, images):
        return Patches.forward(self, vision, images)

    def apply_learned(self, features):
        levels = tuple(replace(level, vectors=self.map(level.vectors)) for level in features.levels)
        return Features(levels, features.image)

    def forward(self, vision, images):
        return self.apply_learned(self.extract_frozen(vision, images))

def convert(path):
    return {f"extractor.map.{name}": t for name, t in torch.load(path, weights_only=True).items()}
"""
PLUGIN = """
from vlmad_core.registry import Component, Recipe, hookimpl
from vlmad_core.builtin.plugin import PatchesConfig
from vlmad_core.testing.registry import TINY

@hookimpl
def vlmad_backbones():
    yield TINY

@hookimpl
def vlmad_extractors():
    yield Component(name="map", target="vlmad_tinyparts:Map", config=PatchesConfig, summary="A map.")

@hookimpl
def vlmad_recipes():
    spec = {"backbone": "tiny", "extractor": "map", "prompts": "templates", "scorers": ["text-match"]}
    yield Recipe(name="map", spec=spec, summary="A map.", training={"epochs": 2, "lr": 0.02},
                 checkpoint="vlmad_tinyparts:convert")
"""


@pytest.fixture
def train(vlmad, site, tmp_path):
    (site / "vlmad_tinyparts.py").write_text(PARTS)
    (site / "vlmad_tinytest.py").write_text(PLUGIN)
    rng = np.random.default_rng(0)
    for category in ("nut", "screw"):
        for i in range(4):
            image = rng.integers(60, 120, (32, 32, 3), np.uint8)
            mask = np.zeros((32, 32), np.uint8)
            mask[8:24, 8:24] = 255
            kind = "hole" if i % 2 else "good"
            image[mask > 0] = 250 if i % 2 else 90
            for where, pixels in (("test", image), ("ground_truth", mask), ("train", image)):
                if (where == "ground_truth") > (kind == "hole") or (where == "train") > (kind == "good"):
                    continue
                path = tmp_path / "mvtec" / category / where / kind / f"{i}{'_mask' * (where == 'ground_truth')}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)

    def call(*more):
        return vlmad("train", "--recipe", "map", "--data", tmp_path / "mvtec", "--out", tmp_path / "out", *more)

    return call


def test_trains_saves_and_predicts(train, vlmad, tmp_path):
    done = train("--seed", 3)
    assert done.code == 0, done.err
    assert "learns 272 parameters from 8 images." in done.err
    assert "trained    on " in done.out and "epochs 2, seed 3" in done.out
    judged = vlmad(
        "predict", tmp_path / "mvtec/nut/test", "--detector", tmp_path / "out", "-c", "nut", "-o", tmp_path / "results"
    )
    assert judged.code == 0, judged.err
    assert len((tmp_path / "results" / "results.jsonl").read_text().splitlines()) == 4


def test_a_trained_detector_takes_normal_images(train, vlmad, tmp_path):
    assert train("--scorer", "text-match", "--scorer", "memory", "--epochs", 1).code == 0
    good, images = tmp_path / "mvtec/nut/train/good", tmp_path / "mvtec/nut/test"
    given = vlmad("predict", images, "-d", tmp_path / "out", "-n", good, "-c", "nut", "--json")
    assert given.code == 0, given.err
    fitted = vlmad("fit", good, "-d", tmp_path / "out", "-c", "nut", "-o", tmp_path / "fitted")
    assert fitted.code == 0, fitted.err
    loaded = vlmad("predict", images, "-d", tmp_path / "fitted", "--json")
    scores = [[json.loads(line)["score"] for line in done.out.splitlines()] for done in (given, loaded)]
    assert len(scores[0]) == 4 and scores[0] == pytest.approx(scores[1])
    again = vlmad("predict", images, "-d", tmp_path / "fitted", "-n", good)
    assert again.code == 2
    assert "has its normal images already" in " ".join(again.err.replace("│", " ").split())
    other = vlmad("fit", tmp_path / "mvtec/screw/train/good", "-d", tmp_path / "fitted", "-o", tmp_path / "other")
    assert other.code == 0, other.err
    assert vlmad("predict", images, "-d", tmp_path / "other", "--json").out != loaded.out


def test_the_recipes_options_hold_unless_changed(train, tmp_path):
    done = train("--category", "nut", "--epochs", 1, "--set", "training.dice=0.5", "--json")
    message = json.loads(done.out)
    chosen = message["trained"]["options"]
    assert (chosen["epochs"], chosen["lr"], chosen["dice"]) == (1, 0.02, 0.5)
    assert message["trained"]["data"]["categories"] == {"nut": 4}
    assert message["images"] == 4 and message["resumed"] is False


def test_the_same_command_again_is_done_at_once_and_another_is_refused(train):
    train()
    assert json.loads(train("--json").out)["resumed"] is True
    other = train("--seed", 9)
    assert other.code == 1
    assert "training.seed was 0 and is now 9. Use another --out" in other.err


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--category", "bolt"], 1, "has no category 'bolt'; it has: nut, screw."),
        (["--split", "train"], 1, "none of the 4 chosen images shows a defect"),
        (["--split", "validation"], 1, "no image in split 'validation'; there are images in: test, train."),
        (["--set", "training.lrr=1"], 1, "Did you mean 'lr'?"),
        (["--set", "training.lr"], 2, "--set wants PATH=VALUE"),
        (["--extractor", "patches"], 1, "nothing to learn"),
        (["--layout", "mvtec"], 1, "Did you mean 'mvtec-ad'?"),
    ],
)
def test_refusals(train, tmp_path, more, code, message):
    done = train(*more)
    assert done.code == code
    assert message in " ".join(done.err.replace("│", " ").split())
    assert not (tmp_path / "out" / "detector.json").exists()


def test_a_bar_tells_epoch_and_loss(train):
    done = train("--progress")
    assert "epoch 2 of 2, loss" in done.err


def test_a_memory_beside_it_is_no_hindrance(train):
    done = train("--scorer", "text-match", "--scorer", "memory", "--epochs", 1)
    assert done.code == 0, done.err
    assert "normal images (none yet)" in done.out


def test_ctrl_c_says_how_to_go_on(train, monkeypatch):
    monkeypatch.setattr("vlmad_core.cli.report.Bar.say", lambda bar, text: signal.raise_signal(signal.SIGINT))
    done = train()
    assert done.code == 130
    assert "stopped in epoch 1 of 2, step 1; the state is safe in" in done.err


def test_quiet_says_nothing(train):
    done = train("--quiet")
    assert (done.code, done.out, done.err) == (0, "", "")


def test_imports_a_checkpoint(train, vlmad, tmp_path):
    torch.save({"weight": torch.eye(16), "bias": torch.zeros(16)}, tmp_path / "epoch_3.pth")
    arguments = ["import", tmp_path / "epoch_3.pth", "-r", "map", "--trained-on", "mvtec-ad", "--epoch", 3]
    done = vlmad(*arguments, "--out", tmp_path / "imported")
    assert done.code == 0, done.err
    assert "trained    on mvtec-ad, epoch 3 (imported from epoch_3.pth)" in done.out
    record = json.loads((tmp_path / "imported" / "detector.json").read_text())["trained"]
    assert record["data"] == {"name": "mvtec-ad"}


def test_import_refuses_before_the_backbone_is_built(train, vlmad, tmp_path):
    missing = vlmad("import", tmp_path / "x.pth", "-r", "map", "--trained-on", "visa", "--out", tmp_path / "imported")
    assert missing.code == 2 and "no such file" in missing.err
    other = vlmad("import", __file__, "-r", "patch-memory", "--trained-on", "visa", "--out", tmp_path / "imported")
    assert other.code == 1 and "reads no checkpoint; these do: map." in other.err
