"""Two processes on one CPU (gloo, through accelerate) learn what one process with the doubled batch learns."""

from __future__ import annotations

import csv
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

import vlmad_core

WORKER = Path(__file__).with_name("worker.py")
pytestmark = pytest.mark.usefixtures("undrawn")


def launch(out, changes):
    """As torchrun does it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    return [
        subprocess.Popen(
            [sys.executable, str(WORKER), str(out), json.dumps(changes)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": "2"},
        )
        for rank in range(2)
    ]


def test_two_processes_equal_one_with_the_doubled_batch(make, data, tmp_path):
    """12 images in steps of 8: the last step of an epoch is short. Sums in another order differ by rounding: 1e-5."""
    pytest.importorskip("accelerate")
    changes = {"epochs": 3, "lr": 0.01, "batch_size": 4, "validation": 0.2, "cross_entropy": 1.0}
    workers = launch(tmp_path / "two", changes)
    said = [worker.communicate(timeout=300) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], said
    assert "in 2 processes" in said[0][1] and "learns" not in said[1][1]

    vlmad_core.train(make(), data, tmp_path / "one", options={**changes, "batch_size": 8})
    tables = []
    for name in ("one", "two"):
        with (tmp_path / name / "epochs.csv").open(newline="") as file:
            tables.append([(float(row["loss"]), float(row["validation_loss"])) for row in csv.DictReader(file)])
    assert torch.allclose(torch.tensor(tables[0]), torch.tensor(tables[1]), atol=1e-5)
    one, two = (
        safetensors.torch.load_file(next((tmp_path / name).glob("state-*.safetensors"))) for name in ("one", "two")
    )
    assert all(torch.allclose(one[name], two[name], atol=1e-5, equal_nan=True) for name in one)


def test_several_processes_need_accelerate(make, data, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(vlmad_core.errors.ConfigError, match=r"pip install 'vlmad-core\[distributed\]'"):
        vlmad_core.train(make(), data, tmp_path / "out", epochs=1)
