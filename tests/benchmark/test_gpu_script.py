"""The script that measures devices goes on where it stopped, counts decisions rightly, and prints what it found."""

from __future__ import annotations

import argparse
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from vlmad_core.contracts.data import Prediction

GPU = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "gpu.py"))


def predictions(*scores):
    return [Prediction(score, np.full((2, 2), score, np.float32), (2, 2)) for score in scores]


def test_plain_runs_come_before_compiled_ones_and_what_is_there_is_not_run_again():
    given = argparse.Namespace(recipes=["a", "b"], precisions=["fp32", "bf16"], modes=["default", "none"])
    known = {("m", "a", "fp32", "none"), ("m", "b", "fp32", "default"), ("m", "b", "bf16", "default")}
    assert list(GPU["planned"](given, "m", known)) == [
        ("a", [("bf16", "none")]),
        ("b", [("fp32", "none"), ("bf16", "none")]),
        ("a", [("fp32", "default"), ("bf16", "default")]),
    ]


def test_a_decision_changes_with_its_score_or_with_its_threshold():
    reference = predictions(1.0, 2.0, 3.0), 1.5
    assert GPU["agreement"](reference, (predictions(1.0, 2.0, 3.5), 1.5)) == {
        "images": 3,
        "score_difference": 0.5,
        "map_difference": 0.5,
        "changed": 0,
    }
    assert GPU["agreement"](reference, (predictions(1.6, 2.0, 3.0), 1.5))["changed"] == 1
    assert GPU["agreement"](reference, (predictions(1.0, 2.0, 3.0), 2.5))["changed"] == 1


def test_the_peak_is_that_of_a_product_that_was_run(monkeypatch):
    clock = iter([0.0, 2.0] * 40)
    monkeypatch.setattr(GPU["_timed"].__globals__["time"], "perf_counter", lambda: next(clock))
    assert GPU["gemm_peak"](torch.device("cpu"), torch.float32) == pytest.approx(2 * 1024**3 / 2.0 / 1e12)


def test_the_table_has_a_line_for_each_row():
    row = {"recipe": "pocket", "precision": "bf16", "compile": "none", "p50_ms": 10.0, "p95_ms": 12.0}
    row |= {"images_per_second": 200.0, "batch": 32, "files_per_second": 150.0, "share_of_gemm": 0.25}
    row |= {"gemm_tflops": 400.0, "score_difference": 0.01, "map_difference": 0.02, "changed": 1, "images": 20}
    lines = GPU["table"]([row, row]).splitlines()
    assert lines[2] == lines[3]
    assert lines[2] == (
        "| pocket | bf16 | none | 10.0, 12.0 | 200.0 (32) | 150.0 | 25% of 400 TFLOP/s | 1.0e-02, 2.0e-02 | 1 of 20 |"
    )
