"""The loop learns, and neither batches, nor caches, nor where things are kept change what it learns."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch

import vlmad_core
from vlmad_core.metrics.image import auroc
from vlmad_core.testing.tiny import TinyVision
from vlmad_core.training.data import split_validation
from vlmad_core.training.loop import Loop, lr_at
from vlmad_core.training.losses import dice, focal
from vlmad_core.training.options import TrainingOptions

pytestmark = pytest.mark.usefixtures("undrawn")


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def losses(out):
    return [float(row["loss"]) for row in rows(out / "losses.csv")]


def learned(detector):
    return {name: p.detach().clone() for name, p in detector.named_parameters()}


@pytest.fixture
def encoded(monkeypatch):
    """Images with something on them that went through the tower's first layer."""
    seen = []
    embed = TinyVision.embed

    def counting(self, images):
        seen.append(sum(bool(image.any()) for image in images))
        return embed(self, images)

    monkeypatch.setattr(TinyVision, "embed", counting)
    return seen


def test_loss_falls_and_maps_find_the_squares(make, data, tmp_path):
    detector = make()
    detector.trained = {"data": {"name": "random parameters"}}  # without it nothing is predicted
    before = [result.raw_map for result in detector.predict([s.image for s in data], class_name="thing")]
    detector.trained = {}
    report = vlmad_core.train(detector, data, tmp_path / "out", epochs=30, lr=0.01, batch_size=4)
    after = [result.raw_map for result in detector.predict([s.image for s in data], class_name="thing")]
    epochs = rows(tmp_path / "out" / "epochs.csv")
    assert len(epochs) == report.epochs == 30
    assert report.loss == float(epochs[-1]["loss"]) < 0.7 * float(epochs[0]["loss"])
    truth = [s.masks[0] if s.masks else np.zeros((32, 32)) for s in data]
    assert auroc(np.stack(after), np.stack(truth)) > max(0.97, auroc(np.stack(before), np.stack(truth)))


def test_only_the_parts_own_tensors_are_learned_and_saved(make, data, tmp_path):
    detector = make()
    frozen = {name: t.clone() for name, t in detector.backbone.state_dict().items()}
    vlmad_core.train(detector, data, tmp_path / "out", epochs=1)
    assert all(torch.equal(t, frozen[name]) for name, t in detector.backbone.state_dict().items())
    (state,) = (tmp_path / "out").glob("state-*.safetensors")
    import safetensors.torch

    assert set(safetensors.torch.load_file(state)) == {
        "extractor.linear.weight",
        "extractor.linear.bias",
        "normal_range",
    }


@pytest.mark.parametrize("cache", ["memory", "disk"])
def test_each_image_goes_through_the_tower_once(make, data, tmp_path, encoded, cache):
    vlmad_core.train(make(), data, tmp_path / "out", epochs=4, batch_size=5, cache=cache, validation=0.3)
    assert sum(encoded) == len(data)
    assert [int(row["through_tower"]) for row in rows(tmp_path / "out" / "epochs.csv")][1:] == [0, 0, 0]


def test_without_a_cache_each_epoch_goes_through_the_tower(make, data, tmp_path, encoded):
    vlmad_core.train(make(), data, tmp_path / "out", epochs=3, cache="off")
    assert sum(encoded) == 3 * len(data)


def test_a_cache_with_a_limit_keeps_what_fits(make, data, tmp_path, encoded):
    each = (4 * 4 * 16 + 16) * 4  # tokens and the whole image, float32
    vlmad_core.train(make(), data, tmp_path / "out", epochs=3, cache="memory", cache_gb=5.5 * each / 1e9)
    assert sum(encoded) == len(data) + 2 * (len(data) - 5)


@pytest.mark.parametrize("cache", ["memory", "disk"])
def test_a_cache_changes_no_loss(make, data, tmp_path, cache):
    vlmad_core.train(make(), data, tmp_path / "off", epochs=3, batch_size=5, cache="off")
    vlmad_core.train(make(), data, tmp_path / "on", epochs=3, batch_size=5, cache=cache)
    assert losses(tmp_path / "on") == pytest.approx(losses(tmp_path / "off"), abs=1e-6)


def test_the_disk_is_left_clean_unless_asked(make, data, tmp_path):
    vlmad_core.train(make(), data, tmp_path / "a", epochs=1, cache="disk")
    assert not (tmp_path / "a" / "cache").exists()
    vlmad_core.train(make(), data, tmp_path / "b", epochs=1, cache="disk", keep_cache=True)
    assert len(list((tmp_path / "b" / "cache").glob("*/*.safetensors"))) == len(data)


def test_an_extractor_that_does_not_split_learns_the_same_without_a_cache(make, data, tmp_path, encoded):
    message = []
    vlmad_core.train(make(), data, tmp_path / "split", epochs=2)
    once = sum(encoded)
    vlmad_core.train(make("tiny-whole"), data, tmp_path / "whole", epochs=2, on_message=message.append)
    assert (once, sum(encoded) - once) == (len(data), 2 * len(data))
    assert losses(tmp_path / "whole") == pytest.approx(losses(tmp_path / "split"), abs=1e-5)
    assert any("nothing is cached" in text for text in message)


def test_accumulated_batches_equal_a_larger_one(make, data, tmp_path):
    """Also where the last step is short: 12 images in steps of 8."""
    large, small = make(), make()
    vlmad_core.train(large, data, tmp_path / "large", epochs=2, batch_size=8, lr=0.01)
    vlmad_core.train(small, data, tmp_path / "small", epochs=2, batch_size=2, accumulate=4, lr=0.01)
    assert losses(tmp_path / "small") == pytest.approx(losses(tmp_path / "large"), abs=1e-5)
    for name, value in learned(large).items():
        assert torch.allclose(value, learned(small)[name], atol=1e-5)


def test_prompts_alone_can_learn(make, data, tmp_path):
    detector = make(extractor="patches", prompts="tiny-word")
    report = vlmad_core.train(detector, data, tmp_path / "out", epochs=20, lr=0.05, cross_entropy=1.0, dice_normal=1)
    epochs = rows(tmp_path / "out" / "epochs.csv")
    assert report.loss < 0.8 * float(epochs[0]["loss"])
    steps = rows(tmp_path / "out" / "losses.csv")
    assert list(steps[0]) == [
        "step",
        "epoch",
        "loss",
        "focal",
        "dice",
        "dice_normal",
        "cross_entropy",
        "lr",
    ]
    for row in steps[:3]:
        parts = sum(float(row[name]) for name in ("focal", "dice", "dice_normal", "cross_entropy"))
        assert float(row["loss"]) == pytest.approx(parts, abs=1e-5)


def test_a_memory_beside_it_stays_out_and_is_fitted_afterwards(make, data, tmp_path):
    detector = make(scorers=[{"use": "text-match"}, {"use": "memory"}])
    vlmad_core.train(detector, data, tmp_path / "out", epochs=1)
    normal = [s.image for s in data if not s.label]
    detector.fit(normal, class_name="thing")
    assert detector.predict(normal[0]).score < 1
    assert detector.was_trained_on("tiny-set")


def test_labels_alone_are_enough_for_cross_entropy(make, data, tmp_path):
    bare = [replace(sample, masks=()) for sample in data]
    detector = make(prompts="tiny-word")
    report = vlmad_core.train(
        detector, data.of("bare", bare), tmp_path / "out", epochs=2, focal=0, dice=0, cross_entropy=1
    )
    assert report.epochs == 2


def test_mosaics_are_learned_from(make, data, tmp_path, encoded):
    vlmad_core.train(make(), data, tmp_path / "out", epochs=2, mosaic=1.0)
    assert sum(encoded) == 2 * len(data)  # new pictures each time, so none comes from the cache


def test_the_same_seed_gives_the_same_and_another_one_another(make, data, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        torch.rand(3)  # the state of the program around it does not matter
        vlmad_core.train(make("tiny-noise"), data, tmp_path / name, epochs=2, seed=seed)
    assert losses(tmp_path / "a") == losses(tmp_path / "b") != losses(tmp_path / "c")


def test_the_generator_of_the_program_is_left_alone(make, data, tmp_path):
    detector = make("tiny-noise")
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    vlmad_core.train(detector, data, tmp_path / "out", epochs=1)
    assert torch.equal(torch.rand(3), expected)
    assert not detector.training


def test_stops_early_and_keeps_the_best(make, data, tmp_path, monkeypatch):
    held = iter([5.0, 4.0, 3.0, 3.5, 3.0, 3.2, 1.0])
    monkeypatch.setattr(Loop, "validate", lambda loop: {"validation_loss": next(held)})
    detector, message = make(), []
    chosen = {"validation": 0.4, "lr": 0.05, "batch_size": 4}
    report = vlmad_core.train(
        detector, data, tmp_path / "out", epochs=50, patience=3, on_message=message.append, options=chosen
    )
    assert (report.epochs, report.best_epoch, report.validation_loss) == (6, 3, 3.0)
    assert report.loss == float(rows(tmp_path / "out" / "epochs.csv")[2]["loss"])
    assert report.held_out + report.images == len(data)
    assert "has not fallen for 3 epochs" in message[-1]
    # what is kept is what stood after the third epoch
    held, other = iter([3.0, 2.0, 1.0]), make()
    vlmad_core.train(other, data, tmp_path / "short", epochs=3, options=chosen)
    for name, value in learned(detector).items():
        assert torch.equal(value, learned(other)[name])


def test_validation_tells_loss_and_both_areas(make, data, tmp_path):
    detector = make()
    vlmad_core.train(detector, data, tmp_path / "out", epochs=1, validation=0.5, lr=1e-9, batch_size=4)
    (row,) = rows(tmp_path / "out" / "epochs.csv")
    held = [data.samples[i] for i in split_validation(data.samples, 0.5, seed=0)[1]]
    results = [detector.predict(sample.image, class_name=sample.class_name) for sample in held]
    labels = [sample.label for sample in held]
    masks = np.stack([sample.masks[0] if sample.masks else np.zeros((32, 32)) for sample in held])
    maps = torch.from_numpy(np.stack([result.raw_map for result in results]))
    assert float(row["image_auroc"]) == auroc([result.score for result in results], labels)
    assert float(row["pixel_auroc"]) == pytest.approx(auroc(maps, masks), abs=1e-6)
    truth = torch.from_numpy(masks)
    assert float(row["validation_loss"]) == pytest.approx(float(focal(maps, truth) + dice(maps, truth)), abs=1e-5)


def test_bf16_learns_about_the_same(make, data, tmp_path):
    vlmad_core.train(make(), data, tmp_path / "fp32", epochs=2)
    vlmad_core.train(make(), data, tmp_path / "bf16", epochs=2, precision="bf16")
    assert losses(tmp_path / "bf16") != losses(tmp_path / "fp32")
    assert losses(tmp_path / "bf16") == pytest.approx(losses(tmp_path / "fp32"), abs=0.05)


def test_clipping_changes_steps_that_are_too_long(make, data, tmp_path):
    for name, clip in (("free", 0.0), ("loose", 1e6), ("tight", 1e-12)):
        vlmad_core.train(make(), data, tmp_path / name, epochs=1, batch_size=4, lr=0.1, clip=clip)
    assert losses(tmp_path / "loose") == losses(tmp_path / "free")
    assert losses(tmp_path / "tight")[0] == losses(tmp_path / "free")[0]
    assert losses(tmp_path / "tight")[1:] != losses(tmp_path / "free")[1:]


@pytest.mark.parametrize(
    ("options", "rates"),
    [
        ({}, [1, 1, 1, 1]),
        ({"schedule": "linear"}, [1, 0.75, 0.5, 0.25]),
        ({"schedule": "cosine"}, [1, 0.8536, 0.5, 0.1464]),
        ({"schedule": "linear", "warmup": 2}, [1 / 3, 2 / 3, 1, 0.5]),
    ],
)
def test_rates(options, rates):
    chosen = TrainingOptions(lr=1.0, **options)
    assert [lr_at(i, 4, chosen) for i in range(4)] == pytest.approx(rates, abs=1e-4)


def test_progress_counts_every_image(make, data, tmp_path):
    seen = []
    vlmad_core.train(make(), data, tmp_path / "out", epochs=2, batch_size=5, progress=seen.append)
    assert [now.done for now in seen] == [5, 10, 12, 17, 22, 24]
    assert {now.total for now in seen} == {24}
    assert [now.epoch for now in seen] == [1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("extractor", ["tiny-map", "tiny-whole", "patches"])
def test_the_frozen_and_the_learned_part_are_forward(make, extractor):
    """Also by default: an extractor without the two encodes with all it has and learns nothing after."""
    detector = make(extractor, prompts="tiny-word")
    vision = detector.backbone.vision
    pixels = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    whole = detector.extractor(vision, pixels)
    parts = detector.extractor.apply_learned(detector.extractor.extract_frozen(vision, pixels))
    assert torch.equal(parts.levels[0].vectors, whole.levels[0].vectors)
    assert torch.equal(parts.image, whole.image)
