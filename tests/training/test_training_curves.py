"""Curves as CSV always, as a picture and for TensorBoard where they can be."""

from __future__ import annotations

import csv
import sys
from importlib import util

import pytest
from PIL import Image

import vlmad_core
from vlmad_core.training.curves import Curves


def test_both_tables_and_the_picture(make, data, tmp_path):
    pytest.importorskip("matplotlib")
    vlmad_core.train(make(), data, tmp_path / "out", epochs=2, batch_size=6, validation=0.3)
    with (tmp_path / "out" / "losses.csv").open(newline="") as file:
        steps = list(csv.DictReader(file))
    assert [row["step"] for row in steps] == ["1", "2", "3", "4"]
    assert list(steps[0]) == ["step", "epoch", "loss", "focal", "dice", "lr"]
    with (tmp_path / "out" / "epochs.csv").open(newline="") as file:
        epochs = list(csv.DictReader(file))
    named = ["epoch", "loss", "validation_loss", "image_auroc", "pixel_auroc", "seconds", "through_tower"]
    assert list(epochs[0]) == named
    with Image.open(tmp_path / "out" / "curves.png") as picture:
        assert picture.size == (1000, 400)
        assert len(picture.convert("L").getcolors()) > 10  # lines, letters, and no blank sheet


def test_without_matplotlib_there_is_no_picture_and_no_complaint(make, data, tmp_path, monkeypatch):
    _without("matplotlib", monkeypatch)
    vlmad_core.train(make(), data, tmp_path / "out", epochs=1)
    assert (tmp_path / "out" / "losses.csv").exists()
    assert not (tmp_path / "out" / "curves.png").exists()


def test_tensorboard_gets_every_number(make, data, tmp_path, undrawn):
    pytest.importorskip("tensorboard")
    vlmad_core.train(make(), data, tmp_path / "out", epochs=2, batch_size=6, tensorboard=True)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "out" / "tensorboard"))
    events.Reload()
    with (tmp_path / "out" / "losses.csv").open(newline="") as file:
        expected = [float(row["loss"]) for row in csv.DictReader(file)]
    assert [event.value for event in events.Scalars("step/loss")] == pytest.approx(expected, abs=1e-6)
    assert len(events.Scalars("epoch/loss")) == 2


def test_tensorboard_that_is_not_installed_is_refused(make, data, tmp_path, monkeypatch):
    _without("tensorboard", monkeypatch)
    with pytest.raises(vlmad_core.errors.ConfigError, match=r"pip install 'vlmad-core\[tensorboard\]'"):
        vlmad_core.train(make(), data, tmp_path / "out", epochs=1, tensorboard=True)


def test_rows_after_the_state_are_forgotten(tmp_path):
    curves = Curves(tmp_path)
    for i in range(1, 6):
        curves.step(i, {"loss": i / 3})
    curves.epoch(1, {"loss": 1.0, "pixel_auroc": None})
    curves.write()
    again = Curves(tmp_path, steps=3, epochs=1)
    assert again.steps == [{"step": i, "loss": i / 3} for i in (1, 2, 3)]
    assert again.epochs == [{"epoch": 1, "loss": 1.0, "pixel_auroc": None}]
    assert Curves(tmp_path).steps == []


def _without(name, monkeypatch):
    real = util.find_spec
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr("vlmad_core.training.curves.find_spec", lambda what: None if what == name else real(what))
