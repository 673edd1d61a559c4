"""What a detector learned from is saved with it, shown, and asked for; published checkpoints come with the same."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace

import pytest
import torch

import vlmad_core
from vlmad_core import import_checkpoint
from vlmad_core.datasets.content import FileHashes, contents_of, hash_of
from vlmad_core.errors import ConfigError
from vlmad_core.pipeline.trained import fingerprint, was_trained_on

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "epoch_3.pth"
    torch.save({"weight": torch.full((16, 16), 0.5), "bias": torch.arange(16.0)}, path)
    return path


def test_the_record_is_saved_loaded_and_shown(make, data, tmp_path, registry):
    detector = make()
    report = vlmad_core.train(detector, data, tmp_path / "out", epochs=2, seed=7)
    saved = json.loads((tmp_path / "out" / "detector.json").read_text())["trained"]
    loaded = vlmad_core.load(tmp_path / "out", backbone=detector.backbone, registry=registry)
    assert detector.trained == loaded.trained == saved
    assert saved["how"] == "trained"
    assert saved["data"]["name"] == "tiny-set"
    assert saved["data"]["categories"] == {"thing_0": 6, "thing_1": 6}
    assert (saved["data"]["images"], saved["data"]["splits"], saved["epochs"], saved["seed"]) == (12, ["test"], 2, 7)
    assert saved["loss"] == report.loss
    assert saved["data"]["sha256"] == fingerprint(data)
    message = f"trained    on tiny-set (2 categories, 12 images), epochs 2, seed 7, loss {report.loss:.4g}"
    assert message in loaded.summary()
    # what is loaded judges as what was trained
    image = data.samples[1].image
    assert loaded.predict(image, "thing").score == detector.predict(image, "thing").score


def test_a_detector_that_learned_nothing_says_nothing(make):
    assert "trained" not in make().summary()
    assert not make().was_trained_on("mvtec-ad")


def test_what_it_was_trained_on_is_asked_by_name_or_by_list(make, data, make_data, tmp_path):
    detector = make()
    vlmad_core.train(detector, data, tmp_path / "out", epochs=1)
    assert detector.was_trained_on("Tiny Set") and detector.was_trained_on("tiny_set")
    assert not detector.was_trained_on("tiny")
    assert not detector.was_trained_on()
    assert detector.was_trained_on(sha256=fingerprint(data))
    assert detector.was_trained_on("other-name", sha256=fingerprint(data.select(category="thing_1")))
    assert not detector.was_trained_on(sha256=fingerprint(make_data(seed=1)))


def test_the_fingerprint_is_of_the_contents_and_not_of_place_or_names(folder, tmp_path):
    here = vlmad_core.read_dataset(folder, "mvtec-ad")
    first = fingerprint(here)
    assert first != fingerprint(here.samples[1:])
    assert first != fingerprint([replace(here.samples[0], split="validation"), *here.samples[1:]])
    assert first != fingerprint([replace(here.samples[0], label=None), *here.samples[1:]])
    there = vlmad_core.read_dataset(folder.rename(tmp_path / "elsewhere"), "mvtec-ad")
    assert first == fingerprint(there) == fingerprint(reversed(there.samples))
    mask = next(sample.masks[0] for sample in there if sample.masks)
    mask.write_bytes(mask.read_bytes() + b" ")
    assert first != fingerprint(there)


def test_a_renamed_copy_is_known_and_other_images_of_the_same_name_are_not(make, make_data, tmp_path):
    data = make_data()
    detector = make()
    vlmad_core.train(detector, data, tmp_path / "out", epochs=1)
    copy = data.of("another name", [replace(sample, category="renamed") for sample in data.samples[3:]])
    other = make_data(seed=1)
    assert detector.was_trained_on(copy.name, contents=contents_of(copy))
    assert other.name == data.name
    assert not detector.was_trained_on(other.name, contents=contents_of(other))


def test_a_record_without_hashes_cannot_say_whether_it_was_these_images(make, data, tmp_path):
    """That of an imported checkpoint: neither the same name nor another one is an answer."""
    detector = make()
    detector.trained = {"how": "imported", "data": {"name": "Tiny Set"}}
    contents = contents_of(data)
    assert detector.was_trained_on("tiny-set") is True  # asked for the name alone
    assert detector.was_trained_on("tiny-set", contents=contents) is None
    assert detector.was_trained_on("another", contents=contents) is None
    assert detector.was_trained_on("another", sha256=fingerprint(data)) is None
    vlmad_core.train(detector, data, tmp_path / "out", epochs=1)  # it learns more, from images that are known
    assert detector.was_trained_on("tiny-set", contents=contents) is True
    assert detector.was_trained_on("tiny-set", contents=["0" * 16]) is None


def test_a_file_is_hashed_once_while_it_does_not_change(folder):
    data = vlmad_core.read_dataset(folder, "mvtec-ad")
    files = [path for sample in data for path in (sample.image, *sample.masks)]
    for path in files:
        os.utime(path, (1e9, 1e9))
    hashes = FileHashes()
    for _ in range(3):
        fingerprint(data, hashes)
        contents_of(data, hashes=hashes)
    assert hashes.read == len(set(files))
    files[0].write_bytes(files[1].read_bytes())
    assert hash_of(files[0], hashes) == hash_of(files[1], hashes)


def test_hashes_are_kept_for_another_process_and_a_changed_file_is_read_again(folder, tmp_path):
    files = sorted(folder.rglob("*.png"))
    for path in files:
        os.utime(path, (1e9, 1e9))
    first, second = FileHashes(), FileHashes()
    found = [first.of(path) for path in files]
    first.save(tmp_path / "hashes.json", files)
    second.load(tmp_path / "hashes.json")
    os.utime(files[0], (1e9, 1e9 + 1))
    assert [second.of(path) for path in files] == found
    assert second.read == 1
    (tmp_path / "hashes.json").write_text("[")
    second.load(tmp_path / "hashes.json")  # a damaged one is no loss


def test_training_on_keeps_what_was_before(make, data, make_data, tmp_path, checkpoint, registry):
    detector = import_checkpoint(make(), checkpoint, recipe="tiny-map", trained_on="visa", registry=registry)
    vlmad_core.train(detector, data, tmp_path / "out", epochs=1)
    assert detector.was_trained_on("visa") and detector.was_trained_on("tiny-set")
    assert detector.trained["before"]["file"] == "epoch_3.pth"


def test_a_published_checkpoint_becomes_a_detector(make, tmp_path, checkpoint, registry):
    detector = import_checkpoint(
        make(), checkpoint, recipe="tiny-map", trained_on="mvtec-ad", epoch=3, registry=registry
    )
    detector.save(tmp_path / "out")
    loaded = vlmad_core.load(tmp_path / "out", backbone=detector.backbone, registry=registry)
    assert torch.equal(loaded.extractor.linear.bias, torch.arange(16.0))
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    expected = {"how": "imported", "paper": "Nobody, 2020", "epoch": 3, "file": "epoch_3.pth", "sha256": digest}
    assert expected.items() <= loaded.trained.items()
    assert loaded.was_trained_on("MVTec AD")
    assert "trained    on mvtec-ad, epoch 3 (imported from epoch_3.pth)" in loaded.summary()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"weight": torch.zeros(8, 16), "bias": torch.zeros(16)},
            r"weight has shape \[8, 16\], and here it is \[16, 16\]",
        ),
        ({"weight": torch.zeros(16, 16)}, r"extractor\.linear\.bias is missing"),
        (
            {"weight": torch.zeros(16, 16), "bias": torch.zeros(16), "x": torch.zeros(1)},
            r"extractor\.linear\.x is not a part",
        ),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_and_changes_nothing(make, tmp_path, registry, content, message):
    torch.save(content, tmp_path / "a.pth")
    detector = make()
    before = detector.extractor.linear.weight.clone()
    with pytest.raises(ConfigError, match=f"does not fit this detector: .*{message}"):
        import_checkpoint(detector, tmp_path / "a.pth", recipe="tiny-map", trained_on="visa", registry=registry)
    assert torch.equal(detector.extractor.linear.weight, before) and not detector.trained


def test_a_recipe_without_checkpoints_names_those_with(make, tmp_path, registry):
    with pytest.raises(ConfigError, match="recipe 'patch-memory' reads no checkpoint; these do: tiny-map"):
        import_checkpoint(make(), tmp_path / "a.pth", recipe="patch-memory", trained_on="visa", registry=registry)


def test_a_file_that_is_not_there_is_told(make, tmp_path, registry):
    with pytest.raises(ConfigError, match=r"a\.pth: cannot be read \(No such file"):
        import_checkpoint(make(), tmp_path / "a.pth", recipe="tiny-map", trained_on="visa", registry=registry)


def test_records_of_any_age_are_asked(make):
    assert not was_trained_on({"data": {"name": "visa"}}, name="")
    assert was_trained_on({"data": {"name": "a"}, "before": {"data": {"sha256": "x"}}}, sha256="x")
