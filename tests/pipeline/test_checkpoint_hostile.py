"""Detectors of earlier versions, of other hands, and of two processes at once: loaded right, or refused in words."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from vlmad_core import Pipeline, build, load
from vlmad_core.errors import ConfigError, VlmadError
from vlmad_core.pipeline.checkpoint import read_checkpoint, write_checkpoint
from vlmad_core.testing import memory_registry

REGISTRY = memory_registry()
SPEC = {
    "backbone": {"use": "tiny", "config": {"width": 8, "dim": 4, "depth": 2}},
    "extractor": {"use": "patches", "config": {"layers": [1, 2], "space": "raw"}},
    "scorers": [{"use": "memory", "config": {"top": 0.1}}],
}
IMAGES = [np.random.default_rng(i).integers(0, 256, (32, 32, 3), dtype=np.uint8) for i in range(4)]
OLD = Path(__file__).with_name("detector_of_0.1")
NAMES_OF_EXCEPTIONS = ("Error:", "Exception", "InvalidVersion", "IndexError", "AttributeError", "RecursionError")


@pytest.fixture
def detector() -> Pipeline:
    return build(SPEC, registry=REGISTRY).fit(IMAGES[:2], class_name="nut")


@pytest.fixture
def folder(detector: Pipeline, tmp_path: Path) -> Path:
    return detector.save(tmp_path / "detector")


def record_of(folder: Path) -> dict:
    return json.loads((folder / "detector.json").read_text())


def edit(folder: Path, **changes) -> None:
    (folder / "detector.json").write_text(json.dumps({**record_of(folder), **changes}))


def put(folder: Path, **changes: torch.Tensor) -> None:
    """Other tensors, with a hash that fits."""
    record, tensors = read_checkpoint(folder)
    write_checkpoint(folder, record, {**tensors, **changes})


def refusal(folder: Path) -> str:
    with pytest.raises(VlmadError) as message:
        load(folder, registry=REGISTRY)
    text = str(message.value)
    assert not [name for name in NAMES_OF_EXCEPTIONS if name in text]
    return text


# -- earlier versions


def test_detector_that_0_1_wrote_gives_the_score_that_0_1_gave():
    detector = load(OLD, registry=REGISTRY)
    assert detector.class_name == "metal nut"
    assert detector.extractor.layers == (1, 2)
    found = detector.predict(IMAGES[3])
    assert found.score == pytest.approx(float.fromhex("0x1.006b440000000p-3"), rel=1e-5)
    assert found.raw_map[0, :3] == pytest.approx([0.14245985, 0.14255819, 0.14387883], rel=1e-4)


def test_detector_that_0_1_wrote_is_saved_in_the_present_form(tmp_path):
    record = record_of(load(OLD, registry=REGISTRY).save(tmp_path))
    assert record["format"] == 2
    assert record["class_name"] == "metal nut"
    assert record["spec"]["extractor"]["config"] == {"layers": [1, 2], "space": "both"}
    assert load(tmp_path, registry=REGISTRY).class_name == "metal nut"


# -- tensors that no detector has


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_not_finite_are_refused(folder, value):
    bank = read_checkpoint(folder)[1]["scorers.0.bank_raw1"]
    bank[3, 2] = value
    put(folder, **{"scorers.0.bank_raw1": bank})
    assert "tensor 'scorers.0.bank_raw1' holds values that are not finite numbers. Fit again." in refusal(folder)


@pytest.mark.parametrize("kind", [torch.complex64, torch.bool, torch.int64, torch.uint8])
def test_tensor_of_another_kind_is_refused(folder, kind):
    bank = read_checkpoint(folder)[1]["scorers.0.bank_raw1"]
    put(folder, **{"scorers.0.bank_raw1": bank.to(kind)})
    assert f"tensor 'scorers.0.bank_raw1' is of type {kind}, and must be torch.float32" in refusal(folder)


def test_range_of_normal_images_is_finite_or_unknown_as_a_whole(folder):
    put(folder, normal_range=torch.tensor([0.1, float("nan")]))
    assert "tensor 'normal_range' holds values that are not finite" in refusal(folder)
    put(folder, normal_range=torch.tensor([float("nan")] * 2))
    assert load(folder, registry=REGISTRY).normal_range.isnan().all()


# -- records that no detector has


DEEP: dict = {}
for _ in range(300):
    DEEP = {"before": DEEP, "data": {}}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"plugins": {"in-memory": "x.y.z"}}, None),
        ({"plugins": {"vlmad-core": 3}}, "plugins.vlmad-core must be a version, got 3"),
        ({"plugins": {"vlmad-far": "x.y.z"}}, "needs plugin vlmad-far"),
        ({"class_name": ["nut"]}, "class_name must be a name, got ['nut']"),
        ({"trained": {"data": 5}}, "trained must say on which data"),
        ({"trained": {"data": {}, "before": [1]}}, "trained must say on which data"),
        ({"trained": DEEP}, "trained is nested too deeply"),
        ({"spec": {**SPEC, "output": {"smooth": 1e300}}}, "output.smooth: must be less than or equal to 1000"),
        ({"spec": {**SPEC, "output": {"smooth": float("nan")}}}, "output.smooth"),
        ({"spec": {**SPEC, "extractor": {"use": "patches", "config": {"layers": [10**30]}}}}, "extractor 'patches'"),
        ({"spec": {**SPEC, "extractor": {"use": "patches", "config": {"layers": [0]}}}}, "extractor 'patches'"),
        ({"spec": {**SPEC, "scorers": []}}, "scorers: must have at least 1 item"),
        ({"spec": {**SPEC, "scorers": {"0": "memory"}}}, "scorers.0.use: is missing"),
        ({"state": {}}, "cannot be read"),
        ({"state": {"file": "/etc/passwd", "sha256": "0"}}, "detector/passwd: cannot be read"),
        ({"state": {"file": "\0", "sha256": "0"}}, "cannot be read"),
    ],
)
def test_record_with_an_impossible_value_is_refused_in_a_sentence(folder, changes, text):
    edit(folder, **changes)
    if text is None:  # a version of no known form fits any
        assert load(folder, registry=REGISTRY).class_name == "nut"
    else:
        assert text in refusal(folder)


@pytest.mark.parametrize(
    "content",
    [
        "[" * 100_000,
        '{"format": ' + "9" * 5000 + "}",
        '{"format": 1e999, "vlmad": "", "state": {}}',
        "\ud800".encode("utf-8", "surrogatepass"),
    ],
    ids=["deep", "long number", "infinite format", "half a letter"],
)
def test_record_that_breaks_a_reader_of_json_is_refused(folder, content):
    data = content if isinstance(content, bytes) else content.encode()
    (folder / "detector.json").write_bytes(data)
    assert "detector.json" in refusal(folder)


def test_record_of_gigabytes_is_not_read(folder):
    with (folder / "detector.json").open("r+b") as file:
        file.truncate(3_000_000_000)  # without a byte on the disk
    assert "has 3000 MB; at most 16 MB are read" in refusal(folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes as files")
@pytest.mark.parametrize("which", ["detector.json", "state"])
def test_pipe_in_the_place_of_a_file_is_refused_and_not_waited_for(folder, which):
    path = folder / (record_of(folder)["state"]["file"] if which == "state" else which)
    path.unlink()
    os.mkfifo(path)
    assert "is not a regular file, so it is not read" in refusal(folder)


# -- recipes as files


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes as files")
def test_pipe_in_the_place_of_a_recipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "recipe.yaml")
    with pytest.raises(ConfigError, match="is not a regular file"):
        build(tmp_path / "recipe.yaml", registry=REGISTRY)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, r"anchors \(& and \*\) are not allowed"),
        ("a: &a {b: *a}", r"anchors \(& and \*\) are not allowed"),
        ("[" * 1500, "is nested too deeply|neither YAML nor JSON"),
        ("{" * 1500, "is nested too deeply|neither YAML nor JSON"),
        ("backbone: 2024-99-99", "neither YAML nor JSON"),
        ("backbone: !!python/object/apply:os.system [true]", "neither YAML nor JSON"),
        ("backbone: !!binary x", "neither YAML nor JSON"),
        ("? [a]\n: b", "neither YAML nor JSON|no such option"),
    ],
)
def test_recipe_that_breaks_a_reader_of_yaml_is_refused(tmp_path, text, message):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        build(path, registry=REGISTRY)


@pytest.mark.parametrize("path", ["scorers." + "9" * 5000, "scorers.²", "scorers.1e9", "scorers.-1"])
def test_path_with_an_impossible_number_is_refused(path):
    with pytest.raises(ConfigError, match="must be a number from 0 to 0"):
        build(SPEC, overrides={f"{path}.use": "memory"}, registry=REGISTRY)


# -- one folder, several processes


def test_saving_deletes_its_own_file_alone(detector, folder):
    others = [folder / "state-mine.safetensors", folder / "state-000000000000.safetensors", folder / "notes.txt"]
    for path in others:
        path.write_text("mine")
    before = record_of(folder)["state"]["file"]
    detector.fit(IMAGES[2:]).save(folder)
    assert not (folder / before).exists()
    assert [path.read_text() for path in others] == ["mine"] * 3


def test_saving_beside_a_record_that_names_a_foreign_file_leaves_that_file(detector, folder):
    (folder / "notes.txt").write_text("mine")
    edit(folder, state={"file": "notes.txt", "sha256": ""})
    detector.save(folder)
    assert (folder / "notes.txt").read_text() == "mine"


def test_detectors_saved_at_once_leave_a_whole_one_and_a_reader_never_meets_half(tmp_path):
    detectors = [build(SPEC, registry=REGISTRY).fit(IMAGES[i : i + 1], class_name=str(i)) for i in range(3)]
    banks = {one.class_name: one.scorers[0].bank("raw1") for one in detectors}
    detectors[0].save(tmp_path)
    stop, wrong = threading.Event(), []

    def write(detector: Pipeline) -> None:
        while not stop.is_set():
            detector.save(tmp_path)

    writers = [threading.Thread(target=write, args=(one,)) for one in detectors]
    for writer in writers:
        writer.start()
    try:
        for _ in range(25):
            found = load(tmp_path, registry=REGISTRY)
            if not torch.equal(found.scorers[0].bank("raw1"), banks[found.class_name]):
                wrong.append(found.class_name)
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert wrong == []
    last = load(tmp_path, registry=REGISTRY)
    assert torch.equal(last.scorers[0].bank("raw1"), banks[last.class_name])
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".safetensors"]


def test_checkpoint_of_other_things_than_detectors(tmp_path):
    write_checkpoint(tmp_path, {"step": 3}, {"m": torch.arange(4)}, file="training.json")
    record, tensors = read_checkpoint(tmp_path, file="training.json", needed=["step"])
    assert (record["step"], tensors["m"].tolist()) == (3, [0, 1, 2, 3])
    with pytest.raises(ConfigError, match="it lacks epoch"):
        read_checkpoint(tmp_path, file="training.json", needed=["epoch"])
    assert safetensors.torch.load_file(tmp_path / record["state"]["file"])["m"].tolist() == [0, 1, 2, 3]
