"""Whatever stops a training, the same call goes on and ends where an uninterrupted one does."""

from __future__ import annotations

import csv
import errno
import importlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

import vlmad_core
from vlmad_core.training import state
from vlmad_core.training.loop import Loop

train_module = importlib.import_module("vlmad_core.training.train")  # the name `train` of the package is the function
WORKER = Path(__file__).with_name("worker.py")
pytestmark = pytest.mark.usefixtures("undrawn")
CHANGES = {"extractor": "tiny-noise", "epochs": 4, "batch_size": 5, "lr": 0.01, "validation": 0.25, "mosaic": 0.2}


def start(out, changes, **environment):
    return subprocess.Popen(
        [sys.executable, "-W", "error", str(WORKER), str(out), json.dumps(changes)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "VLMAD_PLUGINS": "", **environment},
    )


def losses(out):
    with (out / "losses.csv").open(newline="") as file:
        return [(int(row["step"]), float(row["loss"])) for row in csv.DictReader(file)]


def tensors(out):
    record = json.loads((out / "detector.json").read_text())
    return safetensors.torch.load_file(out / record["state"]["file"])


def in_this_process(make, data, out, changes, progress=None):
    options = {name: value for name, value in changes.items() if name != "extractor"}
    return vlmad_core.train(make(changes["extractor"]), data, out, options=options, progress=progress)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_killed_and_resumed_gives_the_same_losses(make, data, tmp_path):
    """Dropout, mosaics, validation and Adam's memory, killed in the middle of the second epoch."""
    changes = {**CHANGES, "cache": "disk", "minutes": 1e-9}  # a state after each step
    worker = start(tmp_path / "killed", changes)
    for _ in range(3):
        assert worker.stdout.readline(), worker.stderr.read()
    worker.kill()
    worker.communicate(timeout=60)
    assert worker.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "detector.json").exists()
    report = in_this_process(make, data, tmp_path / "killed", changes)
    assert report.resumed
    assert_equal_to_a_whole_one(make, data, tmp_path, changes, tmp_path / "killed")


@pytest.mark.parametrize("cache", ["memory", "disk", "off"])
def test_broken_off_in_each_epoch_gives_the_same_losses(make, data, tmp_path, cache):
    """What was kept in memory is gone, and seen again in other batches."""
    changes = {**CHANGES, "cache": cache, "minutes": 1e-9}
    for calls in (4, 3, 2):  # the state is that of the step before
        with pytest.raises(ZeroDivisionError):
            in_this_process(make, data, tmp_path / "broken", changes, progress=_failing(calls))
    in_this_process(make, data, tmp_path / "broken", changes)
    assert_equal_to_a_whole_one(make, data, tmp_path, changes, tmp_path / "broken")


def assert_equal_to_a_whole_one(make, data, tmp_path, changes, out):
    in_this_process(make, data, tmp_path / "whole", changes)
    assert [step for step, _ in losses(out)] == list(range(1, 9))
    whole = [loss for _, loss in losses(tmp_path / "whole")]
    assert [loss for _, loss in losses(out)] == pytest.approx(whole, abs=1e-6)
    ours, theirs = tensors(out), tensors(tmp_path / "whole")
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-6, equal_nan=True) for name in theirs)


def _failing(calls):
    left = iter(range(calls - 1, -1, -1))
    return lambda now: 1 / next(left)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_state_and_says_how_to_go_on(make, data, tmp_path, how):
    before = signal.getsignal(how)
    with pytest.raises(KeyboardInterrupt, match=r"stopped in epoch 2 of 4, step 1; the state is safe in .* goes on"):
        vlmad_core.train(make(), data, tmp_path / "out", epochs=4, batch_size=6, progress=_after(3, how))
    assert signal.getsignal(how) is before
    assert not list((tmp_path / "out").glob("*.part"))
    message = []
    report = vlmad_core.train(make(), data, tmp_path / "out", epochs=4, batch_size=6, on_message=message.append)
    assert report.resumed and message[0].startswith("goes on in epoch 2, step 2")
    vlmad_core.train(make(), data, tmp_path / "whole", epochs=4, batch_size=6)
    assert losses(tmp_path / "out") == losses(tmp_path / "whole")


def _after(count, how=signal.SIGINT):
    calls = []

    def show(now):
        calls.append(now)
        if len(calls) == count:
            signal.raise_signal(how)

    return show


def test_a_second_signal_stops_at_once(make, data, tmp_path):
    def twice(now):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        vlmad_core.train(make(), data, tmp_path / "out", epochs=4, progress=twice)


def test_what_is_finished_is_not_done_again(make, data, tmp_path):
    first = make()
    vlmad_core.train(first, data, tmp_path / "out", epochs=2, lr=0.05)
    before = (tmp_path / "out" / "detector.json").read_bytes()
    steps, again = [], make()
    report = vlmad_core.train(again, data, tmp_path / "out", epochs=2, lr=0.05, progress=steps.append)
    assert steps == [] and report.resumed and report.epochs == 2
    assert torch.equal(again.extractor.linear.weight, first.extractor.linear.weight)
    assert again.trained == first.trained
    assert (tmp_path / "out" / "detector.json").read_bytes() == before


@pytest.mark.parametrize("patience", [0, 1])
@pytest.mark.parametrize("number", [1, 2])
def test_a_kill_between_the_last_two_writes_is_gone_on_from(make, data, tmp_path, monkeypatch, number, patience):
    """After the detector and before the record that says so, or between the last state and the detector."""
    changes = {"epochs": 3, "lr": 0.01, "validation": 0.3, "patience": patience}
    if patience:  # stops after the second epoch
        monkeypatch.setattr(Loop, "validate", lambda loop: {"validation_loss": 1.0})
    vlmad_core.train(make(), data, tmp_path / "whole", options=changes)
    calls, real = [], train_module.write_state

    def killed(*given):
        calls.append(given)
        if len(calls) == number:
            raise SystemExit
        real(*given)

    with monkeypatch.context() as patch:
        patch.setattr(train_module, "write_state", killed)
        with pytest.raises(SystemExit):
            vlmad_core.train(make(), data, tmp_path / "out", options=changes)
    assert (tmp_path / "out" / "detector.json").exists() is (number == 2)
    report = vlmad_core.train(make(), data, tmp_path / "out", options=changes)
    assert report.epochs == (2 if patience else 3)
    assert losses(tmp_path / "out") == losses(tmp_path / "whole")
    ours, theirs = tensors(tmp_path / "out"), tensors(tmp_path / "whole")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs if "range" not in name)
    assert json.loads((tmp_path / "out" / "training.json").read_text())["position"]["finished"]


def test_corrected_masks_are_refused_with_what_changed(make, folder, tmp_path):
    chosen = vlmad_core.read_dataset(folder, "mvtec-ad").select(split="test")
    vlmad_core.train(make(), chosen, tmp_path / "out", epochs=1)
    mask = next(sample.masks[0] for sample in chosen if sample.masks)
    Image.fromarray(np.asarray(Image.open(mask))[::-1]).save(mask)
    with pytest.raises(vlmad_core.errors.ConfigError, match="images, labels or masks have changed since"):
        vlmad_core.train(make(), chosen, tmp_path / "out", epochs=1)


def test_a_run_that_may_only_take_longer_goes_on(make, data, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        vlmad_core.train(make(), data, tmp_path / "out", epochs=2, cache="disk", progress=_after(1), batch_size=6)
    report = vlmad_core.train(make(), data, tmp_path / "out", epochs=2, cache="off", minutes=1, batch_size=6)
    assert report.resumed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": 0.5}, r"training\.lr was 0\.001 and is now 0\.5"),
        ({"seed": 3}, r"training\.seed was 0 and is now 3"),
        ({"epochs": 9}, r"training\.epochs was 2 and is now 9"),
    ],
)
def test_other_settings_are_refused(make, data, tmp_path, change, message):
    vlmad_core.train(make(), data, tmp_path / "out", epochs=2)
    before = sorted(path.name for path in (tmp_path / "out").iterdir())
    with pytest.raises(vlmad_core.errors.ConfigError, match=f"other settings: {message}.*Use another --out"):
        vlmad_core.train(make(), data, tmp_path / "out", **{"epochs": 2, **change})
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == before


def test_other_data_are_refused(make, make_data, tmp_path):
    vlmad_core.train(make(), make_data(), tmp_path / "out", epochs=1)
    with pytest.raises(vlmad_core.errors.ConfigError, match=r"data\.sha256 was"):
        vlmad_core.train(make(), make_data(seed=1), tmp_path / "out", epochs=1)


def test_a_detector_that_came_otherwise_is_not_replaced(make, data, tmp_path):
    make().save(tmp_path / "out")
    with pytest.raises(vlmad_core.errors.ConfigError, match="was not trained here; use another --out"):
        vlmad_core.train(make(), data, tmp_path / "out", epochs=1)


def test_a_file_in_place_of_the_folder_is_refused(make, data, tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(vlmad_core.errors.ConfigError, match="is a file; --out must name a folder"):
        vlmad_core.train(make(), data, tmp_path / "out", epochs=1)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda out: next(out.glob("resume-*")).write_bytes(b"x"), "is damaged"),
        (lambda out: next(out.glob("resume-*")).unlink(), "cannot be read"),
        (lambda out: (out / "training.json").write_text("{"), "cannot be read as JSON"),
        (lambda out: (out / "training.json").write_text("[]"), "is not a record of this vlmad"),
    ],
)
def test_a_damaged_state_is_told(make, data, tmp_path, damage, message):
    vlmad_core.train(make(), data, tmp_path / "out", epochs=1)
    damage(tmp_path / "out")
    with pytest.raises(vlmad_core.errors.ConfigError, match=message):
        vlmad_core.train(make(), data, tmp_path / "out", epochs=1)


def test_a_full_disk_is_told_and_the_last_state_stands(make, data, tmp_path, monkeypatch):
    written, real = [], state.write_whole

    def small_disk(path, content, *, sync=False):
        written.append(path.name)
        if sum(name.startswith("resume-") for name in written) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, content, sync=sync)

    monkeypatch.setattr(state, "write_whole", small_disk)
    with pytest.raises(vlmad_core.errors.ConfigError, match=r"the disk is full\. Free some space"):
        vlmad_core.train(make(), data, tmp_path / "out", epochs=3, batch_size=4, minutes=1e-9)
    monkeypatch.setattr(state, "write_whole", real)
    assert json.loads((tmp_path / "out" / "training.json").read_text())["position"]["steps"] == 2
    vlmad_core.train(make(), data, tmp_path / "out", epochs=3, batch_size=4)
    vlmad_core.train(make(), data, tmp_path / "whole", epochs=3, batch_size=4)
    assert losses(tmp_path / "out") == losses(tmp_path / "whole")


def test_a_cache_that_finds_no_room_goes_on_without(make, data, tmp_path, monkeypatch):
    from vlmad_core.training import cache

    def no_room(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache, "write_whole", no_room)
    assert vlmad_core.train(make(), data, tmp_path / "out", epochs=2, cache="disk").epochs == 2


def test_two_trainings_do_not_share_a_folder(make, data, tmp_path):
    pytest.importorskip("fcntl")

    def another(now):
        with pytest.raises(vlmad_core.errors.ConfigError, match="another run is writing here"):
            vlmad_core.train(make(), data, tmp_path / "out", epochs=1)
        tried.append(now)

    tried = []
    vlmad_core.train(make(), data, tmp_path / "out", epochs=1, batch_size=12, progress=another)
    assert len(tried) == 1


def test_nothing_is_pickled(make, data, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        vlmad_core.train(make(), data, tmp_path / "out", epochs=2, progress=_after(1), cache="disk")
    kinds = {path.suffix for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert kinds == {".json", ".csv", ".safetensors", ""}
