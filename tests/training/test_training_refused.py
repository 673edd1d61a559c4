"""What cannot be trained is refused in a sentence, before an image is read or a file is written."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import vlmad_core
from vlmad_core import Sample, VlmadError, train
from vlmad_core.errors import ConfigError, ImageError, IncompatibleError
from vlmad_core.training.cache import FeatureCache
from vlmad_core.training.data import Item, Mosaics
from vlmad_core.training.data_loader import DataLoader
from vlmad_core.training.losses import batch_losses
from vlmad_core.training.model import TrainableModel

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture
def opened(monkeypatch):
    """Images that were opened."""
    from vlmad_core.contracts import images

    seen, real = [], images.decode
    monkeypatch.setattr(images, "decode", lambda source, **options: seen.append(source) or real(source, **options))
    return seen


@pytest.mark.parametrize(
    ("parts", "options", "error", "message"),
    [
        ({"extractor": "patches"}, {}, IncompatibleError, r"nothing to learn: none of the parts \(patches, templates"),
        ({"prompts": None, "scorers": "memory"}, {}, IncompatibleError, "a memory is fitted, not trained"),
        ({}, {"lrr": 1}, ConfigError, r"training\.lrr: no such option of 'training'\. Did you mean 'lr'\?"),
        ({}, {"epochs": 0}, ConfigError, r"training\.epochs: must be greater than 0"),
        ({}, {"patience": 2}, ConfigError, "patience needs images to validate on; give validation a share"),
        ({}, {"focal": 0, "dice": 0}, ConfigError, "all losses have weight 0"),
        ({}, {"betas": (0.9, 1.0)}, ConfigError, "betas must be at least 0 and below 1"),
        ({}, {"precision": "fp16"}, ConfigError, "fp16 needs a GPU; a CPU trains in bf16 or fp32"),
        ({}, {"focal": 0, "dice": 0, "cross_entropy": 1}, ConfigError, "do not depend on anything that learns here"),
        (
            {"scorers": {"use": "text-match", "config": {"image": "max", "combine": "sum"}}, "extractor": "tiny-twice"},
            {"cross_entropy": 1},
            IncompatibleError,
            "the losses need probabilities, and the image scores run from",
        ),
    ],
)
def test_refused_before_an_image_is_opened(make, data, tmp_path, opened, parts, options, error, message):
    with pytest.raises(error, match=message) as caught:
        train(make(**parts), data, tmp_path / "out", **options)
    assert str(caught.value).endswith(".")
    assert opened == []
    assert not list((tmp_path / "out").glob("*.json"))


def test_no_masks(make, data, tmp_path, opened):
    bare = [replace(sample, masks=()) for sample in data]
    with pytest.raises(ConfigError, match=r"6 of 6 images with defects have no mask.*training\.cross_entropy=1\."):
        train(make(), data.of("bare", bare), tmp_path / "out")
    assert opened == []


def test_no_abnormal_images(make, data, tmp_path):
    with pytest.raises(ConfigError, match=r"none of the 6 chosen images shows a defect.*split 'test'"):
        train(make(), data.select(label=False), tmp_path / "out")


def test_no_images(make, data, tmp_path):
    with pytest.raises(ConfigError, match="no image with a label"):
        train(make(), data.select(split="train"), tmp_path / "out")


def test_images_without_a_label_are_left_out_and_told(make, data, tmp_path):
    message = []
    unknown = [replace(sample, label=None) for sample in data.samples[:2]]
    report = train(
        make(), data.of("some", [*unknown, *data.samples[2:]]), tmp_path / "out", epochs=1, on_message=message.append
    )
    assert report.images == 10
    assert message[0] == "2 images have no label and are left out."


def test_pipeline_put_together_by_hand(make, data, tmp_path):
    built = make()
    detector = vlmad_core.Pipeline(built.backbone, built.extractor, list(built.scorers), built.prompts)
    with pytest.raises(ConfigError, match="put together by hand"):
        train(detector, data, tmp_path / "out")


def test_an_image_that_cannot_be_read_is_named(make, data, tmp_path):
    (tmp_path / "torn.png").write_bytes(b"\x89PNG")
    samples = [replace(data.samples[0], image=tmp_path / "torn.png"), *data.samples[1:]]
    with pytest.raises(ImageError, match=r"an image to learn from cannot be read: .*torn\.png"):
        train(make(), data.of("torn", samples), tmp_path / "out", epochs=1)


def test_a_mask_that_cannot_be_read_is_named(make, data, tmp_path):
    samples = [data.samples[0], replace(data.samples[1], masks=(tmp_path / "gone.png",)), *data.samples[2:]]
    with pytest.raises(ImageError, match=r"gone\.png: no such file"):
        train(make(), data.of("gone", samples), tmp_path / "out", epochs=1)


def test_a_loss_that_is_no_number_stops(make, data, tmp_path, monkeypatch):
    calls = []

    def breaks_down(*given):
        calls.append(given)
        return {name: term * (math.nan if len(calls) == 5 else 1) for name, term in batch_losses(*given).items()}

    monkeypatch.setattr("vlmad_core.training.loop.batch_losses", breaks_down)
    with pytest.raises(VlmadError, match=r"the loss is nan in epoch 2, step 2\. Lower training\.lr"):
        train(make(), data, tmp_path / "out", epochs=20, batch_size=4)


def test_masks_are_joined_and_resized(make, tmp_path):
    """Two files at another size than the detector's, with 1 for marked as VisA has it."""
    halves = [np.zeros((64, 64), np.uint8) for _ in range(2)]
    halves[0][:, :16] = 1
    halves[1][:16] = 7
    for i, half in enumerate(halves):
        Image.fromarray(half).save(tmp_path / f"{i}.png")
    sample = Sample(np.zeros((64, 64, 3), np.uint8), True, "a", "test", "x", (tmp_path / "0.png", tmp_path / "1.png"))
    model = TrainableModel(make())
    cache = FeatureCache("off", model.encode(torch.zeros(1, 3, 32, 32)), tmp_path, limit=0)
    data_loader = DataLoader([sample], model, cache, Mosaics([sample]), masks=True, autocast=nullcontext)
    for _ in range(2):  # read, and kept as bits
        (batch,) = data_loader([[Item(0)]])
        expected = np.zeros((32, 32), bool)
        expected[:, :8] = expected[:8] = True
        assert (batch.masks[0].numpy() == expected).all()
