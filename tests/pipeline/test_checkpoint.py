"""Save and load: the same detector comes back, and whatever was changed, damaged or replaced in between is refused."""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from vlmad_core import Pipeline, build, load
from vlmad_core.builtin.templates import Templates
from vlmad_core.errors import ConfigError
from vlmad_core.pipeline import checkpoint as store
from vlmad_core.registry import Component, Config
from vlmad_core.testing import memory_registry, tiny_backbone

REGISTRY = memory_registry()
BOTH = {
    "backbone": "tiny",
    "extractor": {"use": "patches", "config": {"layers": [2, 3], "space": "both"}},
    "prompts": "templates",
    "scorers": [{"use": "text-match", "config": {"levels": ["block*"]}}, {"use": "memory", "config": {"top": 0.1}}],
    "output": {"smooth": 1.0},
}
PICTURES = [np.random.default_rng(i).integers(0, 256, (32, 32, 3), dtype=np.uint8) for i in range(4)]


@pytest.fixture
def detector() -> Pipeline:
    return build(BOTH, registry=REGISTRY).fit(PICTURES[:2], class_name="metal nut")


@pytest.fixture
def folder(detector, tmp_path) -> Path:
    return detector.save(tmp_path / "deep" / "down")


def again(folder: Path, **options) -> Pipeline:
    return load(folder, registry=REGISTRY, **options)


def edit(folder: Path, **changes) -> None:
    path = folder / "detector.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def state_of(folder: Path) -> Path:
    (path,) = folder.glob("state-*.safetensors")
    return path


def put_state(folder: Path, data: bytes) -> None:
    """Another state, with a hash that fits: as someone would who means it."""
    path = state_of(folder)
    path.write_bytes(data)
    edit(folder, state={"file": path.name, "sha256": hashlib.sha256(data).hexdigest()})


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
import vlmad_core.pipeline.checkpoint as checkpoint

real = checkpoint.write_whole

def write_whole(path, data, **how):
    if path.name == "detector.json":
        os.kill(os.getpid(), signal.SIGKILL)
    real(path, data, **how)

checkpoint.write_whole = write_whole
checkpoint.write_checkpoint(sys.argv[1], {"class_name": "x"}, {"bank": torch.full((40, 9), 7.0)})
"""


def test_what_a_killed_save_left_is_gone_after_the_next_one_and_nothing_else_is(detector, folder):
    killed = subprocess.run([sys.executable, "-c", KILLED, str(folder)], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    (kept,) = {json.loads((folder / "detector.json").read_text())["state"]["file"]}
    (orphan,) = {path.name for path in folder.glob("state-*.safetensors")} - {kept}
    assert again(folder).predict(PICTURES[3]).score == detector.predict(PICTURES[3]).score
    parts = {f"{orphan}.12345.140213.part", f"{orphan}.12345.part"}  # of this version, and of those before it
    for name in parts:
        (folder / name).write_bytes(b"half of it")
    mine = ["state-0123456789ab.safetensors", "state-of-mine.safetensors", "notes.part", "state-backup.safetensors"]
    for name in mine:
        (folder / name).write_bytes(b"the user's own")
    detector.save(folder)
    there = {path.name for path in folder.iterdir()}
    assert not {orphan, *parts} & there
    assert there >= {kept, *mine}
    assert again(folder).predict(PICTURES[3]).score == detector.predict(PICTURES[3]).score


def test_tensors_of_a_calibration_are_no_orphans(folder, detector):
    pictures = [np.random.default_rng(i).integers(0, 256, (32, 32, 3), np.uint8) for i in range(10, 16)]
    detector.calibrate(pictures).save(folder)
    detector.save(folder)
    assert again(folder).calibration == detector.calibration


# -- round trip


def test_loaded_detector_predicts_the_same(detector, folder):
    twin = again(folder)
    for one, other in zip(detector.predict(PICTURES), twin.predict(PICTURES), strict=True):
        assert one.score == other.score
        np.testing.assert_array_equal(one.raw_map, other.raw_map)


def test_loaded_detector_knows_what_the_saved_one_knew(detector, folder):
    twin = again(folder)
    assert (twin.class_name, twin.spec, twin.plugins) == ("metal nut", detector.spec, detector.plugins)
    assert torch.equal(twin.normal_range, detector.normal_range)
    assert not twin.training
    for name, tensor in detector.state_dict().items():
        assert torch.equal(tensor, twin.state_dict()[name])


def test_loaded_detector_can_be_fitted_on(folder):
    twin = again(folder)
    before = len(twin.scorers[1].bank("block3"))
    twin.fit(PICTURES[2:], keep=True)
    assert len(twin.scorers[1].bank("block3")) == 2 * before


def test_saving_twice_gives_the_same_files(detector, folder, tmp_path):
    other = again(folder).save(tmp_path / "other")
    for name in ("detector.json", state_of(folder).name):
        assert (folder / name).read_bytes() == (other / name).read_bytes()


def test_folder_holds_two_plain_files_and_no_backbone(folder):
    assert sorted(path.name for path in folder.iterdir()) == ["detector.json", state_of(folder).name]
    tensors = safetensors.torch.load_file(state_of(folder))
    banks = {f"scorers.1.bank_{level}{layer}" for level in ("block", "raw") for layer in (2, 3)}
    origins = {name.replace("bank_", "origins_") for name in banks}  # which normal image and region each row is of
    assert set(tensors) == {"normal_range"} | banks | origins


def test_detector_without_a_memory_is_saved_too(tmp_path):
    words = build({**BOTH, "scorers": ["text-match"]}, registry=REGISTRY)
    twin = again(words.save(tmp_path))
    assert twin.predict(PICTURES[0], "nut").score == words.predict(PICTURES[0], "nut").score
    assert twin.class_name is None


def test_memory_that_saw_nothing_stays_empty(tmp_path):
    empty = build({**BOTH, "scorers": ["memory"], "prompts": None}, registry=REGISTRY)
    assert not again(empty.save(tmp_path)).scorers[0].is_fitted


class LearnedTemplates(Templates):
    """Sentences beside something that is learned."""

    def __init__(self, config, backbone):
        super().__init__(config, backbone)
        self.shift = nn.Parameter(torch.zeros(16))


def test_what_a_part_learns_is_saved(tmp_path, monkeypatch):
    monkeypatch.setattr("vlmad_core.builtin.templates.LearnedTemplates", LearnedTemplates, raising=False)
    from vlmad_core.builtin.plugin import TemplatesConfig

    part = Component(
        name="learned",
        target="vlmad_core.builtin.templates:LearnedTemplates",
        config=TemplatesConfig,
        summary="For tests.",
    )
    registry = memory_registry(prompts=[part])
    learned = build({**BOTH, "prompts": "learned", "scorers": ["text-match"]}, registry=registry)
    with torch.no_grad():
        learned.prompts.shift.add_(3)
    assert load(learned.save(tmp_path), registry=registry).prompts.shift.tolist() == [3.0] * 16


def test_options_that_are_no_json_are_saved_in_words(tmp_path):
    class PathConfig(Config):
        weights: Path = Path("nowhere")

    part = Component(
        name="filed", target="vlmad_core.testing.tiny:tiny_from_config", config=PathConfig, summary="For tests."
    )
    spec = {**BOTH, "backbone": {"use": "filed", "config": {"weights": Path("a/b")}}}
    filed = build(spec, backbone=tiny_backbone(), registry=memory_registry(backbones=[part]))
    filed.fit(PICTURES[:1], class_name="nut")
    filed.spec = filed.spec.model_copy(update={"backbone": type(filed.spec.backbone).model_validate(spec["backbone"])})
    assert json.loads((filed.save(tmp_path) / "detector.json").read_text())["spec"]["backbone"]["config"] == {
        "weights": "a/b"
    }


def test_shared_backbone_is_used_when_loading(detector, folder):
    assert again(folder, backbone=detector.backbone).backbone is detector.backbone


def test_spec_can_be_changed_while_loading(folder):
    assert again(folder, overrides={"output.smooth": 0}).fuse.smooth == 0


def test_pipeline_put_together_by_hand_is_not_saved(detector, tmp_path):
    by_hand = Pipeline(detector.backbone, detector.extractor, list(detector.scorers), detector.prompts)
    with pytest.raises(ConfigError, match=r"was put together by hand; build it with vlmad_core\.build to save it"):
        by_hand.save(tmp_path / "x")
    assert not (tmp_path / "x").exists()


# -- another world than the one it was saved in


def test_other_backbone_weights_are_refused(folder):
    with pytest.raises(ConfigError, match=r"other backbone weights \(sha256 [0-9a-f]{64}, these are [0-9a-f]{64}\)"):
        again(folder, backbone=tiny_backbone(seed=1))
    with pytest.raises(ConfigError, match="What it was fitted on would mean nothing here"):
        again(folder, overrides={"backbone.config.seed": 1})


def test_option_that_does_not_exist_is_refused(folder):
    with pytest.raises(ConfigError, match=r"scorers\.1\.config\.tpo: no such option of 'memory'\. Did you mean 'top'"):
        again(folder, overrides={"scorers.1.config.tpo": 1})


def test_missing_plugin_is_told_with_what_to_install(folder):
    edit(folder, plugins={"vlmad-far": "1.2"})
    with pytest.raises(
        ConfigError, match=r"needs plugin vlmad-far>=1,<2\. Install it: pip install 'vlmad-far>=1,<2'\."
    ):
        again(folder)


@pytest.mark.parametrize(
    ("saved", "here", "outcome"),
    [
        ("1.2.0", "1.2.0", "same"),
        ("1.2.0", "1.2.9", "same"),
        ("1.2.0", "1.3.0", "warned"),
        ("1.3.0", "1.2.0", "warned"),
        ("1.2.0", "2.0.0", "refused"),
        ("2.0.0", "1.9.0", "refused"),
        ("0.1.0", "0.1.4", "same"),
        ("0.1.0", "0.2.0", "refused"),
        ("0.1.0", "1.0.0", "refused"),
        ("", "1.0.0", "same"),
        ("1.0.0", "", "same"),
    ],
)
def test_versions_of_plugins(detector, folder, monkeypatch, saved, here, outcome):
    from dataclasses import replace

    registry = memory_registry()
    registry.plugins = [replace(p, version=here) if p.name == "in-memory" else p for p in registry.plugins]
    edit(folder, plugins={"in-memory": saved})
    if outcome == "refused":
        with pytest.raises(ConfigError, match=f"needs in-memory>=.*, this is {here}. Try: pip install"):
            load(folder, registry=registry)
    elif outcome == "warned":
        with pytest.warns(UserWarning, match=f"was made with in-memory {saved}, this is {here}"):
            load(folder, registry=registry)
    else:
        assert load(folder, registry=registry).class_name == "metal nut"


def test_plugin_that_failed_in_part_still_counts_as_installed(folder):
    """One of its hooks is broken; the part that this detector needs is not."""
    registry = memory_registry(extractors=["not a component"])
    assert {plugin.name: plugin.status for plugin in registry.plugins}["in-memory"] == "failed"
    assert load(folder, registry=registry).class_name == "metal nut"


# -- damaged or changed


def test_changed_state_is_refused(folder):
    path = state_of(folder)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=r"its hash differs\): damaged or changed\. Fit again\."):
        again(folder)


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("unpickled",))


@pytest.mark.parametrize("hidden", [False, True], ids=["as it is", "with a hash that fits"])
def test_pickle_is_never_opened(folder, hidden):
    data = pickle.dumps(Bomb())
    if hidden:
        put_state(folder, data)
    else:
        state_of(folder).write_bytes(data)
    with pytest.raises(ConfigError, match=r"is not the file|holds no tensors"):
        again(folder)


def without(tensors: dict, name: str) -> dict:
    return {key: tensor for key, tensor in tensors.items() if key != name}


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: {},
        lambda tensors: without(tensors, "normal_range"),
        lambda tensors: without(tensors, "scorers.1.bank_raw3"),
        lambda tensors: {**tensors, "more": torch.zeros(1)},
        lambda tensors: {**tensors, "scorers.1.bank_raw3": torch.zeros(4, 7)},
        lambda tensors: {**tensors, "scorers.1.bank_raw3": torch.zeros(4)},
    ],
)
def test_state_of_another_detector_is_refused(detector, folder, change):
    put_state(folder, safetensors.torch.save(change(dict(detector.state_dict()))))
    with pytest.raises(ConfigError, match="what was saved does not fit this detector: "):
        again(folder)


@pytest.mark.parametrize("data", [b"", b"x" * 7, b"\xff" * 100])
def test_state_that_is_no_safetensors_is_refused(folder, data):
    put_state(folder, data)
    with pytest.raises(ConfigError, match="holds no tensors that can be read"):
        again(folder)


def test_missing_file_is_told(folder):
    state_of(folder).unlink()
    with pytest.raises(ConfigError, match=r"state-\w+\.safetensors: cannot be read \(No such"):
        again(folder)
    (folder / "detector.json").unlink()
    with pytest.raises(ConfigError, match=r"holds no detector \(detector\.json is missing\)"):
        again(folder)


def test_state_outside_of_the_folder_is_not_read(detector, folder, tmp_path):
    data = safetensors.torch.save(dict(detector.state_dict()))
    (tmp_path / "state-elsewhere.safetensors").write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    edit(folder, state={"file": "../state-elsewhere.safetensors", "sha256": digest})
    with pytest.raises(ConfigError, match=r"state-elsewhere\.safetensors: cannot be read"):
        again(folder)


def test_saving_again_leaves_one_state(detector, folder):
    first = state_of(folder)
    detector.fit(PICTURES[3:], class_name="metal nut").save(folder)
    assert state_of(folder) != first


def test_detector_on_a_shared_backbone_is_loaded_with_its_options(tmp_path):
    memory = {"extractor": "patches", "scorers": "memory"}
    first = build({"backbone": {"use": "tiny", "config": {"width": 64}}, **memory}, registry=REGISTRY)
    second = build({"backbone": "tiny", **memory}, backbone=first.backbone, registry=REGISTRY).fit(PICTURES[:1])
    assert again(second.save(tmp_path / "shared")).backbone.vision.width == 64


def test_folder_that_does_not_exist_is_told(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere: holds no detector \(detector\.json is missing\)\. `vlmad fit`"):
        again(tmp_path / "nowhere")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"{'a': 1}"])
def test_record_that_is_no_json_is_refused(folder, content):
    (folder / "detector.json").write_bytes(content)
    with pytest.raises(ConfigError, match=r"detector\.json: is not JSON: "):
        again(folder)


@pytest.mark.parametrize("content", ["{}", "[]", "5", "null", '"winclip"', '{"format": 1}'])
def test_record_of_something_else_is_refused(folder, content):
    (folder / "detector.json").write_text(content)
    with pytest.raises(ConfigError, match=r"detector\.json: is not a detector; it lacks backbone, "):
        again(folder)


@pytest.mark.parametrize("field", ["spec", "plugins", "backbone", "state"])
@pytest.mark.parametrize("value", [None, 3, [], "x"])
def test_record_with_a_field_of_the_wrong_kind_is_refused(folder, field, value):
    edit(folder, **{field: value})
    with pytest.raises(ConfigError, match=rf"detector\.json: {field} must be a mapping, got "):
        again(folder)


@pytest.mark.parametrize("number", [0, 3, "1", None, 1e99, True])
def test_other_format_is_refused(folder, number):
    edit(folder, format=number)
    with pytest.raises(
        ConfigError, match=f"has format {re.escape(repr(number))}, this vlmad reads 1 to 2; upgrade vlmad-core"
    ):
        again(folder)


def test_newer_format_of_this_vlmad_is_written_down(detector, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "_FORMAT", 7)
    folder = detector.save(tmp_path)
    assert json.loads((folder / "detector.json").read_text())["format"] == 7


def test_spec_that_was_spoilt_is_told_with_the_file(folder):
    spec = json.loads((folder / "detector.json").read_text())["spec"]
    edit(folder, spec={**spec, "extractr": 1})
    with pytest.raises(ConfigError, match=r"detector\.json\.extractr: no such option\. Did you mean 'extractor'"):
        again(folder)


# -- writing


def test_detector_that_is_there_is_replaced(detector, folder):
    detector.fit(PICTURES[3:], class_name="cable").save(folder)
    twin = again(folder)
    assert twin.class_name == "cable"
    assert twin.predict(PICTURES[0]).score == detector.predict(PICTURES[0]).score


def test_stop_in_the_middle_of_a_file_leaves_the_old_one(detector, folder, monkeypatch):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def stop(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        detector.fit(PICTURES[3:], class_name="cable").save(folder)
    monkeypatch.undo()
    assert {name: (folder / name).read_bytes() for name in before} == before
    assert again(folder).class_name == "metal nut"


def test_place_that_is_a_file_is_told(detector, tmp_path):
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file", tmp_path / "file" / "inside"):
        with pytest.raises(ConfigError, match=r"file.*: cannot be made a folder \("):
            detector.save(place)
    assert (tmp_path / "file").read_text() == "mine"
